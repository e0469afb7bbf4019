//! The desired set of one node, from the apps and the node's labels. Called for every node that a change may concern; payloads are
//! shared, so a set costs a map of pointers.

use skerry_terms::{AppKey, Digest, PayloadSet};

use crate::placement::{App, Labels};

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

/// What a node with these labels must run. `has` says whether the node has an app at present, as its status tells.
pub fn desired_set<'a>(
    apps: impl IntoIterator<Item = &'a App>,
    labels: &Labels,
    has: impl Fn(&AppKey) -> bool,
    limits: SetLimits,
) -> Result<DesiredSet, Withheld> {
    let mut set = PayloadSet::new();
    for app in apps {
        if app.is_frozen() && has(&app.key) {
            return Err(Withheld::Frozen(app.key.clone()));
        }
        if let Some(content) = app.content.as_ref().filter(|content| content.selects(labels)) {
            set.insert(app.key.clone(), content.payload.clone());
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

    use proptest::prelude::*;

    use super::*;
    use crate::placement::tests::{app, labels};

    const LIMITS: SetLimits = SetLimits { apps: 10, bytes: 1000 };

    #[test]
    fn payloads_are_shared_and_not_copied() {
        let apps = [app("web", "x:1", "{}")];
        let sets: Vec<_> =
            (0..2).map(|_| desired_set(&apps, &labels(&[]), |_| false, LIMITS).expect("a set")).collect();
        let payload = |i: usize| sets[i].apps().values().next().expect("one app");
        assert!(std::ptr::eq(payload(0).as_ptr(), payload(1).as_ptr()));
    }

    #[test]
    fn a_frozen_app_holds_back_only_the_nodes_that_have_it() {
        let mut frozen = app("web", "x:1", "{}");
        frozen.content = None;
        let apps = [frozen, app("api", "x:1", "{}")];
        let set = |has: bool| desired_set(&apps, &labels(&[]), |key| has && key.name() == "web", LIMITS);
        assert_eq!(set(true), Err(Withheld::Frozen(apps[0].key.clone())));
        assert_eq!(set(false).expect("a set").apps().len(), 1);
    }

    #[test]
    fn a_set_over_the_limits_is_withheld() {
        let apps: Vec<_> = (0..11).map(|i| app(&format!("a{i}"), "x", "{}")).collect();
        assert!(matches!(
            desired_set(&apps, &labels(&[]), |_| false, LIMITS),
            Err(Withheld::TooLarge { apps: 11, .. })
        ));
    }

    proptest! {
        /// Which sites an app asks for and which the node has decide alone, whatever the order of the apps.
        #[test]
        fn the_set_is_exactly_the_selected_apps(wanted in prop::collection::vec(0..3u8, 0..8), site in 0..3u8) {
            let mut apps: Vec<_> = wanted
                .iter()
                .enumerate()
                .map(|(i, wanted)| app(&format!("a{i}"), "x", &format!(r#"{{"matchLabels": {{"site": "{wanted}"}}}}"#)))
                .collect();
            let node = labels(&[("site", &site.to_string())]);
            let set = desired_set(&apps, &node, |_| false, LIMITS).expect("a set");
            let expected = wanted.iter().filter(|wanted| **wanted == site).count();
            prop_assert_eq!(set.apps().len(), expected);
            apps.reverse();
            prop_assert_eq!(desired_set(&apps, &node, |_| false, LIMITS).expect("a set").digest(), set.digest());
        }
    }
}
