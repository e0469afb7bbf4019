//! What each role may do, as rules in the manner of Kubernetes' RBAC. They are made once, from the kinds that are served, so
//! that a kind added later is covered; `kubectl auth can-i --list` prints the same rules that decide.

use std::collections::BTreeMap;

use super::{Identity, Role};
use crate::resource::{Origin, Resource};
use crate::status::{ApiError, Details};

const READ: &[&str] = &["get", "list", "watch"];
const READ_WRITE: &[&str] =
    &["get", "list", "watch", "create", "delete", "deletecollection", "patch", "update"];
const ANY: &str = "*";

/// What a request is about, in the words of Kubernetes' authorizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes<'a> {
    /// get, list, watch, create, update, patch, delete, deletecollection; of a path: the method in lower case.
    pub verb: &'a str,
    /// Empty for core.
    pub group: &'a str,
    /// The plural. Empty for a request that is about a path.
    pub resource: &'a str,
    pub subresource: &'a str,
    /// Empty at the cluster scope. A request about one Namespace by name is in that namespace.
    pub namespace: &'a str,
    /// Empty if the request names none. A list by `metadata.name=x` names x.
    pub name: &'a str,
    /// Of a request that is about no resource: `/version`.
    pub path: &'a str,
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) verbs: Vec<&'static str>,
    pub(super) groups: Vec<String>,
    /// Plurals, and `plural/subresource`.
    pub(super) resources: Vec<String>,
    /// Paths; one that ends in `*` stands for all that begin so.
    pub(super) paths: Vec<&'static str>,
}

impl Rule {
    fn new(verbs: &[&'static str], groups: &[&str], resources: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self { verbs: verbs.to_vec(), groups: owned(groups), resources: owned(resources), paths: Vec::new() }
    }

    fn paths(verbs: &[&'static str], paths: &[&'static str]) -> Self {
        Self { paths: paths.to_vec(), ..Self::new(verbs, &[], &[]) }
    }

    fn covers(&self, asked: &Attributes<'_>) -> bool {
        let listed = |words: &[String], word: &str| words.iter().any(|own| own == ANY || own == word);
        if !self.verbs.iter().any(|&verb| verb == ANY || verb == asked.verb) {
            return false;
        }
        if asked.resource.is_empty() && !asked.path.is_empty() {
            return self.paths.iter().any(|path| match path.strip_suffix('*') {
                Some(start) => asked.path.starts_with(start),
                None => *path == asked.path,
            });
        }
        if asked.subresource.is_empty() {
            return listed(&self.groups, asked.group) && listed(&self.resources, asked.resource);
        }
        let whole = format!("{}/{}", asked.resource, asked.subresource);
        listed(&self.groups, asked.group) && listed(&self.resources, &whole)
    }
}

/// The rules of all roles.
#[derive(Debug)]
pub struct Policy {
    everybody: Vec<Rule>,
    admin: Vec<Rule>,
    viewer: Vec<Rule>,
    /// An editor anywhere.
    editor: Vec<Rule>,
    /// An editor in one of its namespaces.
    editor_in: Vec<Rule>,
}

impl Policy {
    /// The rules for these kinds.
    pub fn new<'a>(kinds: impl IntoIterator<Item = &'a Resource>) -> Self {
        let kinds: Vec<&Resource> = kinds.into_iter().collect();
        let select = |choose: fn(&Resource) -> bool| kinds.iter().copied().filter(move |kind| choose(kind));
        // Who approves a certificate decides who is let in, and a history that can be rewritten is none: both are the
        // admin's. Status says what was observed; nobody but the controller and the admin writes it, as in Kubernetes.
        Self {
            everybody: everybody(),
            admin: vec![Rule::new(&[ANY], &[ANY], &[ANY]), Rule::paths(&[ANY], &[ANY])],
            viewer: rules(READ, select(|kind| !is_secret(kind)), Depth::WithSubresources),
            editor: rules(
                READ,
                select(|kind| !kind.namespaced && (kind.origin == Origin::Custom || is_definition(kind))),
                Depth::WithSubresources,
            ),
            editor_in: [
                // At the cluster scope nothing of this counts, so that of Namespaces it is their own that is read.
                rules(READ, select(|kind| kind.namespaced || is_namespace(kind)), Depth::WithSubresources),
                rules(
                    READ_WRITE,
                    select(|kind| kind.namespaced && !kind.read_only && !is_history(kind)),
                    Depth::Objects,
                ),
            ]
            .concat(),
        }
    }

    /// Whether the request may be made.
    pub fn allows(&self, who: &Identity, asked: &Attributes<'_>) -> bool {
        self.rules(who, asked.namespace).any(|rule| rule.covers(asked))
    }

    /// Refuses a request that may not be made, in the words of Kubernetes.
    pub fn check(&self, who: &Identity, asked: &Attributes<'_>) -> Result<(), ApiError> {
        if self.allows(who, asked) { Ok(()) } else { Err(forbidden(who, asked)) }
    }

    /// All that somebody may do in a namespace, or at the cluster scope if it is empty.
    pub(super) fn rules<'a>(&'a self, who: &Identity, namespace: &str) -> impl Iterator<Item = &'a Rule> {
        let (anywhere, here): (&[Rule], &[Rule]) = match &who.role {
            Role::Admin => (&self.admin, &[]),
            Role::Viewer => (&self.viewer, &[]),
            Role::Editor { namespaces } if namespaces.contains(namespace) => (&self.editor, &self.editor_in),
            Role::Editor { .. } => (&self.editor, &[]),
            Role::Nobody => (&[], &[]),
        };
        self.everybody.iter().chain(anywhere).chain(here)
    }
}

fn is_secret(kind: &Resource) -> bool {
    kind.group.is_empty() && kind.plural == "secrets"
}

fn is_namespace(kind: &Resource) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

fn is_definition(kind: &Resource) -> bool {
    kind.group == "apiextensions.k8s.io" && kind.plural == "customresourcedefinitions"
}

fn is_history(kind: &Resource) -> bool {
    kind.group == "apps" && kind.plural == "controllerrevisions"
}

/// What Kubernetes allows all who are authenticated: its roles system:basic-user, system:discovery and
/// system:public-info-viewer.
fn everybody() -> Vec<Rule> {
    let reviews = &["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    vec![
        Rule::new(&["create"], &["authorization.k8s.io"], reviews),
        Rule::new(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
        Rule::paths(
            &["get"],
            &[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ],
        ),
    ]
}

/// Whether a rule holds for the subresources too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Objects,
    WithSubresources,
}

/// One rule for each group of the kinds.
fn rules<'a>(verbs: &[&'static str], kinds: impl Iterator<Item = &'a Resource>, depth: Depth) -> Vec<Rule> {
    let mut by_group: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let resources = by_group.entry(&kind.group).or_default();
        // A kind served in two versions is one resource.
        if resources.contains(&kind.plural) {
            continue;
        }
        resources.push(kind.plural.clone());
        if depth == Depth::WithSubresources {
            resources.extend(kind.subresources.iter().map(|sub| format!("{}/{sub}", kind.plural)));
        }
    }
    let rule = |(group, resources): (&str, Vec<String>)| Rule {
        verbs: verbs.to_vec(),
        groups: vec![group.to_owned()],
        resources,
        paths: Vec::new(),
    };
    by_group.into_iter().map(rule).collect()
}

/// The refusal, word for word Kubernetes'.
fn forbidden(who: &Identity, asked: &Attributes<'_>) -> ApiError {
    let user = &who.name;
    let Attributes { verb, group, resource, subresource, namespace, name, path } = *asked;
    let why = if resource.is_empty() && !path.is_empty() {
        format!("User {user:?} cannot {verb} path {path:?}")
    } else {
        let slash = if subresource.is_empty() { "" } else { "/" };
        let place = match namespace {
            "" => "at the cluster scope".to_owned(),
            _ => format!("in the namespace {namespace:?}"),
        };
        format!(
            "User {user:?} cannot {verb} resource \"{resource}{slash}{subresource}\" in API group {group:?} {place}"
        )
    };
    // Kubernetes escapes this part, and no other, for browsers that guess at HTML.
    let why = why.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let of = match (resource, group) {
        (_, "") => resource.to_owned(),
        _ => format!("{resource}.{group}"),
    };
    let message = match (of.as_str(), name) {
        ("", _) => format!("forbidden: {why}"),
        (_, "") => format!("{of} is forbidden: {why}"),
        _ => format!("{of} {name:?} is forbidden: {why}"),
    };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Details::default()
    };
    ApiError::new(403, "Forbidden", message).with(details)
}

#[cfg(test)]
mod tests;
