//! Where every app on the box stands, for whoever asks on the box itself.

use std::collections::BTreeMap;

use skerry_agent_core::{AppStatus, WallMillis};
use skerry_terms::AppKey;

use super::Source;

/// One app, those that the controller does not know included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub status: AppStatus,
    pub source: Source,
    /// Since when it is so, by the box's clock.
    pub since: WallMillis,
}

/// All apps.
pub type Standings = BTreeMap<AppKey, Standing>;
