use std::sync::Arc;

use super::super::review::{access_review, rules_review, self_review};
use super::*;
use serde_json::{Value, json};

fn kind(group: &str, plural: &str, namespaced: bool, subresources: &[&str], origin: Origin) -> Resource {
    Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: String::new(),
        list_kind: String::new(),
        plural: plural.to_owned(),
        singular: String::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        subresources: subresources.iter().map(|&sub| sub.to_owned()).collect(),
        read_only: plural == "customresourcedefinitions",
        origin,
        schema: Arc::default(),
        columns: Vec::new(),
    }
}

fn policy() -> Policy {
    use Origin::{BuiltIn, Custom};
    Policy::new(&[
        kind("", "namespaces", false, &["status", "finalize"], BuiltIn),
        kind("", "secrets", true, &[], BuiltIn),
        kind("", "configmaps", true, &[], BuiltIn),
        kind("", "events", true, &[], BuiltIn),
        kind("events.k8s.io", "events", true, &[], BuiltIn),
        kind("coordination.k8s.io", "leases", true, &[], BuiltIn),
        kind("apps", "controllerrevisions", true, &[], BuiltIn),
        kind("certificates.k8s.io", "certificatesigningrequests", false, &["status", "approval"], BuiltIn),
        kind("apiextensions.k8s.io", "customresourcedefinitions", false, &["status"], BuiltIn),
        kind("example.dev", "apps", true, &["status"], Custom),
        kind("example.dev", "nodes", false, &["status"], Custom),
    ])
}

fn admin() -> Identity {
    Identity::new("root".into(), vec!["system:masters".into()], Role::Admin)
}

fn viewer() -> Identity {
    Identity::new("vera".into(), vec![], Role::Viewer)
}

fn editor() -> Identity {
    let namespaces = ["plant-a", "plant-b"].map(str::to_owned).into();
    Identity::new("eddy".into(), vec![], Role::Editor { namespaces })
}

fn nobody() -> Identity {
    Identity::new("bob".into(), vec![], Role::Nobody)
}

/// `verb group/resource[/subresource] [namespace[/name]]`, or `verb //path`.
fn attributes(text: &str) -> Attributes<'_> {
    let mut words = text.split(' ');
    let verb = words.next().unwrap_or_default();
    let what = words.next().unwrap_or_default();
    if let Some(path) = what.strip_prefix('/').filter(|path| path.starts_with('/')) {
        return Attributes { verb, path, ..Attributes::default() };
    }
    let mut parts = what.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let (group, resource, subresource) = (part(), part(), part());
    let (namespace, name) =
        words.next().map_or(("", ""), |place| place.split_once('/').unwrap_or((place, "")));
    Attributes { verb, group, resource, subresource, namespace, name, path: "" }
}

#[test]
fn every_role_may_do_what_it_is_for_and_no_more() {
    let policy = policy();
    // Columns: admin, viewer, editor of plant-a and plant-b, nobody.
    for (asked, expected) in [
        ("list example.dev/apps", "av--"),
        ("list example.dev/apps plant-a", "ave-"),
        ("watch example.dev/apps plant-b", "ave-"),
        ("list example.dev/apps plant-c", "av--"),
        ("get example.dev/apps/status plant-a/x", "ave-"),
        ("create example.dev/apps plant-a", "a-e-"),
        ("patch example.dev/apps plant-a/x", "a-e-"),
        ("deletecollection example.dev/apps plant-a", "a-e-"),
        ("create example.dev/apps plant-c", "a---"),
        ("create example.dev/apps", "a---"),
        ("update example.dev/apps/status plant-a/x", "a---"),
        ("patch example.dev/apps/status plant-a/x", "a---"),
        ("list example.dev/nodes", "ave-"),
        ("get example.dev/nodes/status /x", "ave-"),
        ("update example.dev/nodes /x", "a---"),
        ("delete example.dev/nodes /x", "a---"),
        ("get /secrets plant-a/s", "a-e-"),
        ("list /secrets", "a---"),
        ("watch /secrets", "a---"),
        ("list /secrets plant-c", "a---"),
        ("update /secrets plant-b/s", "a-e-"),
        ("update /configmaps plant-b/s", "a-e-"),
        ("get /configmaps plant-c/s", "av--"),
        ("create events.k8s.io/events plant-a", "a-e-"),
        ("update coordination.k8s.io/leases plant-a/l", "a-e-"),
        ("list /namespaces", "av--"),
        ("watch /namespaces /plant-a", "av--"),
        ("get /namespaces plant-a/plant-a", "ave-"),
        ("get /namespaces plant-c/plant-c", "av--"),
        ("delete /namespaces plant-a/plant-a", "a---"),
        ("patch /namespaces plant-a/plant-a", "a---"),
        ("update /namespaces/finalize plant-a/plant-a", "a---"),
        ("create /namespaces", "a---"),
        ("get apps/controllerrevisions plant-a/r", "ave-"),
        ("delete apps/controllerrevisions plant-a/r", "a---"),
        ("list certificates.k8s.io/certificatesigningrequests", "av--"),
        ("create certificates.k8s.io/certificatesigningrequests", "a---"),
        ("update certificates.k8s.io/certificatesigningrequests/approval /c", "a---"),
        ("list apiextensions.k8s.io/customresourcedefinitions", "ave-"),
        ("create apiextensions.k8s.io/customresourcedefinitions", "a---"),
        ("list other.dev/things", "a---"),
        ("list other.dev/secrets", "a---"),
        ("get example.dev/apps/exec plant-a/x", "a---"),
        ("* example.dev/apps plant-a", "a---"),
        ("get example.dev/* plant-a", "a---"),
        ("get / plant-a", "a---"),
        ("create authorization.k8s.io/selfsubjectaccessreviews", "aven"),
        ("create authorization.k8s.io/selfsubjectrulesreviews", "aven"),
        ("create authentication.k8s.io/selfsubjectreviews", "aven"),
        ("create authorization.k8s.io/subjectaccessreviews", "a---"),
        ("get //version", "aven"),
        ("get //readyz", "aven"),
        ("get //apis", "aven"),
        ("get //apis/example.dev/v1", "aven"),
        ("get //openapi/v3/apis/example.dev/v1", "aven"),
        ("post //apis", "a---"),
        ("get //", "a---"),
        ("get //metrics", "a---"),
        ("get //apisx", "a---"),
    ] {
        let who = [admin(), viewer(), editor(), nobody()];
        let found: String = who
            .iter()
            .zip("aven".chars())
            .map(|(who, letter)| if policy.allows(who, &attributes(asked)) { letter } else { '-' })
            .collect();
        assert_eq!(found, expected, "{asked}");
    }
}

/// Each as kube-apiserver 1.37.2 answered it to an impersonated bob.
#[test]
fn refusals_are_word_for_word_kubernetes() {
    for (asked, message, details) in [
        (
            "list skerry.dev/edgeapps",
            r#"edgeapps.skerry.dev is forbidden: User "bob" cannot list resource "edgeapps" in API group "skerry.dev" at the cluster scope"#,
            json!({"group": "skerry.dev", "kind": "edgeapps"}),
        ),
        (
            "get skerry.dev/edgeapps y/a",
            r#"edgeapps.skerry.dev "a" is forbidden: User "bob" cannot get resource "edgeapps" in API group "skerry.dev" in the namespace "y""#,
            json!({"name": "a", "group": "skerry.dev", "kind": "edgeapps"}),
        ),
        (
            "deletecollection skerry.dev/edgeapps y",
            r#"edgeapps.skerry.dev is forbidden: User "bob" cannot deletecollection resource "edgeapps" in API group "skerry.dev" in the namespace "y""#,
            json!({"group": "skerry.dev", "kind": "edgeapps"}),
        ),
        (
            "patch skerry.dev/edgeapps/status y/a",
            r#"edgeapps.skerry.dev "a" is forbidden: User "bob" cannot patch resource "edgeapps/status" in API group "skerry.dev" in the namespace "y""#,
            json!({"name": "a", "group": "skerry.dev", "kind": "edgeapps"}),
        ),
        (
            "list /namespaces",
            r#"namespaces is forbidden: User "bob" cannot list resource "namespaces" in API group "" at the cluster scope"#,
            json!({"kind": "namespaces"}),
        ),
        (
            "list /namespaces /q",
            r#"namespaces "q" is forbidden: User "bob" cannot list resource "namespaces" in API group "" at the cluster scope"#,
            json!({"name": "q", "kind": "namespaces"}),
        ),
        (
            "get /namespaces y/y",
            r#"namespaces "y" is forbidden: User "bob" cannot get resource "namespaces" in API group "" in the namespace "y""#,
            json!({"name": "y", "kind": "namespaces"}),
        ),
        (
            "get /edgenodes /q<&",
            r#"edgenodes "q<&" is forbidden: User "bob" cannot get resource "edgenodes" in API group "" at the cluster scope"#,
            json!({"name": "q<&", "kind": "edgenodes"}),
        ),
        ("get //metrics", r#"forbidden: User "bob" cannot get path "/metrics""#, json!({})),
        ("get //x<&y>", r#"forbidden: User "bob" cannot get path "/x&lt;&amp;y&gt;""#, json!({})),
    ] {
        let refused = policy().check(&nobody(), &attributes(asked)).expect_err(asked);
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Forbidden", "details": details, "code": 403,
        });
        assert_eq!(refused.body(), expected, "{asked}");
    }
}

#[test]
fn whoami_says_the_name_and_the_groups() {
    let review = self_review(&admin(), "2026-11-24T00:48:06Z");
    assert_eq!(
        review,
        json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": "2026-11-24T00:48:06Z"},
            "status": {"userInfo": {"username": "root", "groups": ["system:masters", "system:authenticated"]}},
        })
    );
}

fn review(spec: &Value) -> Value {
    json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec})
}

#[test]
fn can_i_is_answered_by_the_same_rules() {
    for (who, spec, allowed) in [
        (
            editor(),
            json!({"resourceAttributes": {"namespace": "plant-a", "verb": "create", "group": "example.dev", "resource": "apps"}}),
            true,
        ),
        (
            editor(),
            json!({"resourceAttributes": {"namespace": "plant-a", "verb": "update", "group": "example.dev", "resource": "apps", "subresource": "status"}}),
            false,
        ),
        (
            editor(),
            json!({"resourceAttributes": {"verb": "create", "group": "example.dev", "version": "v1", "resource": "apps"}}),
            false,
        ),
        (viewer(), json!({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}), false),
        (admin(), json!({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}), true),
        (admin(), json!({"resourceAttributes": {}}), true),
        (nobody(), json!({"resourceAttributes": {}}), false),
        (nobody(), json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}}), true),
        (nobody(), json!({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}), false),
        (nobody(), json!({"nonResourceAttributes": {}}), false),
        (
            editor(),
            json!({"resourceAttributes": {"namespace": "plant-a", "verb": "list", "resource": "secrets",
            "fieldSelector": {"rawSelector": "a=b"}, "labelSelector": {"requirements": []}}}),
            true,
        ),
    ] {
        let answer = access_review(&policy(), &who, &review(&spec)).expect("an answer");
        assert_eq!(answer["status"], json!({"allowed": allowed}), "{} {spec}", who.name);
        assert_eq!(answer["spec"], spec);
    }
}

#[test]
fn a_question_that_is_none_is_refused_as_kubernetes_does() {
    let both = json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}, "resourceAttributes": {"verb": "list"}});
    let what = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    for (asked, value) in [
        (review(&json!({})), "null"),
        (review(&Value::Null), "null"),
        (json!({}), "null"),
        (review(&both), r#"{"Path":"/version","Verb":"get"}"#),
    ] {
        let refused = access_review(&policy(), &admin(), &asked).expect_err("no answer");
        assert_eq!(
            refused.body(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
                "message": format!(".authorization.k8s.io \"\" is invalid: spec: Invalid value: {value}: {what}"),
                "details": {"group": "authorization.k8s.io", "causes": [
                    {"reason": "FieldValueInvalid", "message": format!("Invalid value: {value}: {what}"), "field": "spec"},
                ]},
            })
        );
    }
    for spec in [json!(7), json!({"resourceAttributes": {"verb": 7}})] {
        let refused = access_review(&policy(), &admin(), &review(&spec)).expect_err("no question");
        assert_eq!((refused.code, refused.reason), (400, "BadRequest"));
    }
    let mut named = review(&json!({"resourceAttributes": {"verb": "get"}}));
    named["metadata"] = json!({"name": "q"});
    assert_eq!(access_review(&policy(), &admin(), &named).expect_err("no name").code, 422);
}

#[test]
fn the_list_of_rules_is_that_which_decides() {
    let asked = json!({"spec": {"namespace": "plant-a"}});
    let answer = rules_review(&policy(), &editor(), &asked).expect("an answer");
    assert_eq!(answer["spec"], json!({}));
    assert_eq!(answer["status"]["incomplete"], json!(false));
    let rules = answer["status"]["resourceRules"].as_array().expect("rules");
    let writes = json!({"apiGroups": ["example.dev"], "resources": ["apps"], "verbs": READ_WRITE});
    assert!(rules.contains(&writes), "{rules:?}");
    assert!(rules.contains(
        &json!({"apiGroups": ["example.dev"], "resources": ["nodes", "nodes/status"], "verbs": READ})
    ));
    let elsewhere = json!({"spec": {"namespace": "plant-c"}});
    let answer = rules_review(&policy(), &editor(), &elsewhere).expect("an answer");
    assert!(!answer["status"]["resourceRules"].as_array().expect("rules").contains(&writes));
    let refused = rules_review(&policy(), &editor(), &json!({"spec": {}})).expect_err("no namespace");
    assert_eq!(refused, ApiError::bad_request("no namespace on request"));
}
