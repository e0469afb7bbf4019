//! The name of an app revision: it changes exactly when the template does.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{EdgeAppSpec, PodTemplate};

/// The revision of an app's spec. That of its template, and of its variants if there are any: another image is another revision,
/// wherever it stands.
pub fn spec_revision(app: &str, spec: &EdgeAppSpec) -> String {
    if spec.variants.is_empty() {
        return revision_name(app, &spec.template);
    }
    named(app, &(&spec.template, &spec.variants))
}

/// `NAME-HASH`. The hash is over the template as the user wrote it, with its fields in a fixed order; fields that a
/// newer version adds are absent from older templates and change nothing.
pub fn revision_name(app: &str, template: &PodTemplate) -> String {
    named(app, template)
}

fn named(app: &str, content: &impl Serialize) -> String {
    let json = serde_json::to_vec(content).expect("templates and variants have only string keys");
    let hash = Sha256::digest(&json);
    let hex: String = hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{app}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(json: &str) -> PodTemplate {
        serde_json::from_str(json).expect("a template")
    }

    #[test]
    fn the_revision_follows_the_template_alone() {
        let one = template(r#"{"spec": {"containers": [{"name": "a", "image": "x:1"}]}}"#);
        let same = template(r#"{"spec": {"containers": [{"image": "x:1", "name": "a", "env": []}]}}"#);
        let other = template(r#"{"spec": {"containers": [{"name": "a", "image": "x:2"}]}}"#);
        assert_eq!(revision_name("web", &one), revision_name("web", &same));
        assert_ne!(revision_name("web", &one), revision_name("web", &other));
    }

    #[test]
    fn another_image_in_a_variant_is_another_revision() {
        let spec = |image: &str| -> EdgeAppSpec {
            let text = format!(
                r#"{{"template": {{"spec": {{"containers": [{{"name": "a", "image": "x:1"}}]}}}}, "variants": [{image}]}}"#
            );
            serde_json::from_str(&text).expect("a spec")
        };
        let none = EdgeAppSpec { variants: Vec::new(), ..spec("{}") };
        assert_eq!(spec_revision("web", &none), revision_name("web", &none.template));
        let arm = |tag: u8| spec(&format!(r#"{{"images": {{"a": "x:{tag}-arm"}}}}"#));
        assert_ne!(spec_revision("web", &arm(1)), spec_revision("web", &arm(2)));
    }

    #[test]
    fn the_revision_of_a_known_template_never_changes() {
        // A controller upgrade must not look like a new revision of every app.
        let known = template(
            r#"{"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "x:1",
                "command": ["c"], "args": ["d"], "env": [{"name": "E", "value": "f"}], "imagePullPolicy": "Never",
                "ports": [{"containerPort": 1, "hostPort": 1, "hostIP": "::1", "protocol": "UDP", "name": "p"}],
                "resources": {"limits": {"cpu": 1, "memory": "8Mi"}}}],
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}}"#,
        );
        assert_eq!(revision_name("web", &known), "web-056c0435a8");
    }
}
