//! The desired set of one node, from the apps and where they are placed. Called for every node that a change may concern; payloads
//! are shared, so a set costs a map of pointers.

use skerry_terms::{AppKey, Digest, PayloadSet};

use crate::placement::{App, Trouble, Verdict};

/// Everything that one node must run, with its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSet {
    apps: PayloadSet,
    digest: Digest,
}

/// The most that one node is sent; the caps of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// Apps on one node.
    pub apps: usize,
    /// Bytes of all payloads together.
    pub bytes: usize,
}

/// Why a node gets no new set and keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The node has an app whose spec is wrong, and since this controller started no good one was seen. A set with the app
    /// cannot be made, and one without it would remove what runs.
    #[error(
        "app {0} on this node has an invalid spec and its last valid one is not known; the node keeps what it runs until \
         the spec is corrected or the app is deleted"
    )]
    Frozen(AppKey),
    /// The same of an app whose config the controller may not read.
    #[error(
        "app {0} on this node refers to ConfigMaps or Secrets that the controller may not read; the node keeps what it runs \
         until the controller may, or the app is deleted"
    )]
    Unreadable(AppKey),
    /// More than a node can take.
    #[error(
        "{apps} apps with {bytes} bytes are placed on this node, at most {} apps with {} bytes are possible; the node keeps \
         what it runs",
        limits.apps, limits.bytes
    )]
    TooLarge { apps: usize, bytes: usize, limits: SetLimits },
}

impl DesiredSet {
    pub fn new(apps: PayloadSet) -> Self {
        let digest = Digest::of(&apps);
        Self { apps, digest }
    }

    pub fn apps(&self) -> &PayloadSet {
        &self.apps
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// What a node must run. `placed` are the verdicts on its apps, `has` are the apps that it has at present, as it says itself.
pub fn desired_set<'a>(
    app: impl Fn(&AppKey) -> Option<&'a App>,
    placed: impl Iterator<Item = (&'a AppKey, &'a Verdict)>,
    has: impl Iterator<Item = &'a AppKey>,
    limits: SetLimits,
) -> Result<DesiredSet, Withheld> {
    for key in has {
        if let Some(app) = app(key).filter(|app| app.is_frozen()) {
            return Err(match app.trouble {
                Some(Trouble::Unreadable(_)) => Withheld::Unreadable(key.clone()),
                Some(Trouble::Invalid(_)) | None => Withheld::Frozen(key.clone()),
            });
        }
    }
    let mut set = PayloadSet::new();
    for (key, verdict) in placed {
        let content = app(key).and_then(|app| app.content.as_ref());
        match (verdict, content) {
            (Verdict::Runs { variant }, Some(content)) => {
                let payload = content.payloads.get(*variant).or(content.payloads.first());
                set.extend(payload.map(|payload| (key.clone(), payload.clone())));
            }
            (Verdict::Runs { .. }, None) | (Verdict::Waits | Verdict::Barred(_), _) => {}
        }
    }
    let bytes = set.values().map(|payload| payload.len()).sum();
    if set.len() > limits.apps || bytes > limits.bytes {
        return Err(Withheld::TooLarge { apps: set.len(), bytes, limits });
    }
    Ok(DesiredSet::new(set))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::placement::tests::{app, key};

    const LIMITS: SetLimits = SetLimits { apps: 10, bytes: 1000 };

    /// The set of a node with every app in its first variant.
    fn set(apps: &[App], has: &[&str]) -> Result<DesiredSet, Withheld> {
        let has: Vec<_> = has.iter().map(|name| key(name)).collect();
        let find = |key: &AppKey| apps.iter().find(|app| app.key == *key);
        let placed =
            apps.iter().filter(|app| !app.is_frozen()).map(|app| (&app.key, &Verdict::Runs { variant: 0 }));
        desired_set(find, placed, has.iter(), LIMITS)
    }

    #[test]
    fn payloads_are_shared_and_not_copied() {
        let apps = [app("web", "x:1", "{}")];
        let sets: Vec<_> = (0..2).map(|_| set(&apps, &[]).expect("a set")).collect();
        let payload = |i: usize| sets[i].apps().values().next().expect("one app");
        assert!(std::ptr::eq(payload(0).as_ptr(), payload(1).as_ptr()));
    }

    #[test]
    fn each_node_gets_the_payload_of_its_variant() {
        let mut web = app("web", "x:1", "{}");
        let content = web.content.as_mut().expect("content");
        content.payloads = ["amd", "arm"].map(|text| text.as_bytes().into()).to_vec();
        let find = |_: &AppKey| Some(&web);
        let cases = [
            (Verdict::Runs { variant: 0 }, Some("amd")),
            (Verdict::Runs { variant: 1 }, Some("arm")),
            (Verdict::Waits, None),
        ];
        for (verdict, text) in &cases {
            let set = desired_set(find, std::iter::once((&web.key, verdict)), std::iter::empty(), LIMITS);
            let set = set.expect("a set");
            assert_eq!(set.apps().get(&web.key).map(|payload| &**payload), text.map(str::as_bytes));
        }
    }

    #[test]
    fn a_frozen_app_holds_back_only_the_nodes_that_have_it() {
        let mut frozen = app("web", "x:1", "{}");
        frozen.content = None;
        let mut apps = [frozen, app("api", "x:1", "{}")];
        assert_eq!(set(&apps, &["web"]), Err(Withheld::Frozen(apps[0].key.clone())));
        assert_eq!(set(&apps, &[]).expect("a set").apps().len(), 1);
        apps[0].trouble = Some(Trouble::Unreadable("forbidden".into()));
        assert_eq!(set(&apps, &["web"]), Err(Withheld::Unreadable(apps[0].key.clone())));
    }

    #[test]
    fn a_set_over_the_limits_is_withheld() {
        let apps: Vec<_> = (0..11).map(|i| app(&format!("a{i}"), "x", "{}")).collect();
        assert!(matches!(set(&apps, &[]), Err(Withheld::TooLarge { apps: 11, .. })));
    }
}
