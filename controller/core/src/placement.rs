//! Which nodes an app runs on. A pure match of the app's selector against a node's labels: there is no object per app and node,
//! so this is asked again whenever either changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use skerry_api::{EdgeAppSpec, FieldError};
use skerry_terms::{AppKey, Payload};

/// Labels of an EdgeNode.
pub type Labels = BTreeMap<String, String>;

/// One EdgeApp as placement, snapshots and status see it.
#[derive(Debug, Clone)]
pub struct App {
    /// Namespace and name of the object.
    pub key: AppKey,
    /// Its uid: a deleted and recreated app is another app.
    pub uid: String,
    /// Its metadata.generation, which the status names as observed.
    pub generation: i64,
    /// What is wrong with its spec as it stands now. Empty for a good one.
    pub errors: Vec<FieldError>,
    /// What the nodes shall have. While the spec is wrong it is the last good version; absent when the spec was wrong ever
    /// since this controller first saw it.
    pub content: Option<Content>,
}

/// A checked version of an app, ready to travel.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub spec: Arc<EdgeAppSpec>,
    /// Name of the revision of the template.
    pub revision: String,
    /// The encoded app: made once for a version, shared by every node that runs it.
    pub payload: Payload,
}

impl Content {
    /// True if a node with these labels runs the app.
    pub fn selects(&self, labels: &Labels) -> bool {
        let selector = self.spec.placement.as_ref().and_then(|placement| placement.node_selector.as_ref());
        selector.is_none_or(|selector| selector.matches(labels))
    }
}

impl App {
    /// True if a node with these labels shall run the app. An app that was never valid runs nowhere that it does not run already.
    pub fn runs_on(&self, labels: &Labels) -> bool {
        self.content.as_ref().is_some_and(|content| content.selects(labels))
    }

    /// True if nobody knows what the nodes that have this app should have: its spec is wrong, and no good one was seen.
    pub fn is_frozen(&self) -> bool {
        self.content.is_none()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An app with one container; `selector` is the JSON of a label selector.
    pub(crate) fn app(name: &str, image: &str, selector: &str) -> App {
        let json = format!(
            r#"{{"placement": {{"nodeSelector": {selector}}},
                "template": {{"spec": {{"containers": [{{"name": "main", "image": "{image}"}}]}}}}}}"#
        );
        let spec: EdgeAppSpec = serde_json::from_str(&json).expect("a spec");
        App {
            key: AppKey::new("default", name).expect("a key"),
            uid: format!("uid-{name}"),
            generation: 1,
            errors: Vec::new(),
            content: Some(Content {
                revision: skerry_api::revision_name(name, &spec.template),
                payload: Payload::from(image.as_bytes()),
                spec: Arc::new(spec),
            }),
        }
    }

    /// Labels from `key=value` pairs.
    pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_selector_decides_where_an_app_runs() {
        let cases = [
            ("{}", &[][..], true),
            (r#"{"matchLabels": {"site": "hz"}}"#, &[("site", "hz")][..], true),
            (r#"{"matchLabels": {"site": "hz"}}"#, &[("site", "sh")][..], false),
            (r#"{"matchLabels": {"site": "hz"}}"#, &[][..], false),
        ];
        for (selector, pairs, expected) in cases {
            assert_eq!(app("web", "x", selector).runs_on(&labels(pairs)), expected, "{selector} {pairs:?}");
        }
    }

    #[test]
    fn no_placement_at_all_means_every_node() {
        let mut web = app("web", "x", "{}");
        let content = web.content.as_mut().expect("content");
        Arc::make_mut(&mut content.spec).placement = None;
        assert!(web.runs_on(&labels(&[("any", "thing")])));
    }
}
