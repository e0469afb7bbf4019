//! After a history: everything is mended, everybody gets to do their work, and the world must come to what the API says, within a bound.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use skerry_terms::{AppKey, PayloadSet};

use crate::cluster::Kind;
use crate::content::{self, APPS, app_key};
use crate::stage::{NODES, REPLICAS, World, sound};
use crate::step::Step;

/// Rounds in which everybody does all that they can at that moment. Seen: below 60.
const ROUNDS: usize = 300;
/// Simulated time for all of them: retries of a set that a node refused come after five minutes, crash back-offs last as long.
const TIME: Duration = Duration::from_secs(3 * 3600);
/// Within a round, steps of one kind until none is left to do.
const OFTEN: usize = 200;

impl World {
    /// Mends everything, and waits for what must come of it. `replica` serves all nodes from now on.
    pub fn heal(&mut self, replica: usize) -> Result<()> {
        let serves = u8::try_from(replica % REPLICAS)?;
        for replica in 0..u8::try_from(REPLICAS)? {
            self.take(Step::StartReplica { replica })?;
        }
        for app in 0..APPS {
            // What no agent understands is nothing to converge to.
            if let Some(version) = self.cluster.apps.get(&app_key(app)).map(|object| object.version) {
                self.take(Step::Edit { app: u8::try_from(app)?, version: sound(version) })?;
            }
        }
        for node in 0..u8::try_from(NODES)? {
            for step in [Step::DiskMends { node }, Step::DockerUp { node }, Step::StartAgent { node }] {
                self.take(step)?;
            }
            let site = &mut self.boxes[usize::from(node)].site;
            site.missing_images.clear();
            site.lives.clear();
        }
        let began = self.now;
        // Seen by replicas whatever the versions were before.
        self.cluster.tick();
        for _ in 0..ROUNDS {
            let moved = self.round(serves)?;
            if moved {
                continue;
            }
            match self.differs(usize::from(serves))? {
                None => return Ok(()),
                Some(why) => {
                    ensure!(self.now - began < TIME, "not converged after {:?}: {why}", self.now - began);
                    self.cluster.tick();
                    self.pass(self.next_moment().unwrap_or(Duration::from_secs(10)))?;
                }
            }
        }
        bail!("not converged after {ROUNDS} rounds: {:?}", self.differs(usize::from(serves))?)
    }

    /// Everybody does what they can without time going by. True if that was something.
    fn round(&mut self, serves: u8) -> Result<bool> {
        let mut moved = false;
        for replica in 0..u8::try_from(REPLICAS)? {
            for kind in 0..u8::try_from(Kind::ALL.len())? {
                let lags = |world: &Self| {
                    let cache = world.replicas[usize::from(replica)].as_ref();
                    cache.is_some_and(|cache| cache.lags(crate::stage::kind_of(kind), &world.cluster))
                };
                while lags(self) {
                    self.take(Step::Watch { replica, kind, events: 8 })?;
                    moved = true;
                }
                // A bookmark: generations move on without changes of this kind.
                self.take(Step::Watch { replica, kind, events: 1 })?;
            }
        }
        for node in 0..u8::try_from(NODES)? {
            let at = usize::from(node);
            let elsewhere = |world: &Self| {
                let link = world.boxes[at].link.and_then(|link| world.links.get(&link));
                link.is_some_and(|link| link.replica != usize::from(serves))
            };
            if elsewhere(self) {
                self.take(Step::Cut { node })?;
                moved = true;
            }
            if self.boxes[at].link.is_none() {
                self.take(Step::Connect { node, replica: serves })?;
                moved = true;
            }
            moved |= self.accept(at);
        }
        while self.links.values().any(|link| !link.agent_end) {
            self.take(Step::Late { link: 0 })?;
            moved = true;
        }
        for node in 0..u8::try_from(NODES)? {
            let at = usize::from(node);
            for _ in 0..OFTEN {
                let link = self.boxes[at].link.and_then(|link| self.links.get(&link));
                let idle =
                    link.is_none_or(|link| link.up.is_empty() && link.down.is_empty() && link.replica_end);
                if idle && !self.boxes[at].is_busy() {
                    break;
                }
                moved = true;
                self.take(Step::Up { node, frames: 1 })?;
                self.take(Step::Down { node, frames: 1 })?;
                self.take(Step::Disk { node })?;
                for list in 0..3 {
                    self.take(Step::Work { node, list })?;
                }
                self.take(Step::Look { node })?;
            }
        }
        let replica = usize::from(serves);
        if let Some(mut own) = self.replicas[replica].take() {
            let Self { cluster, links, sent, now, .. } = self;
            let wrote = own.write(&mut crate::replica::Around { cluster, links, sent, now: *now })?;
            self.replicas[replica] = Some(own);
            moved |= wrote;
        }
        Ok(moved)
    }

    /// How long until something happens by itself.
    fn next_moment(&self) -> Option<Duration> {
        let timers = self.replicas.iter().flatten().filter_map(|replica| replica.next_timer());
        let timers = timers.map(|at| at.saturating_sub(self.now));
        let wakes = self.boxes.iter().filter_map(|edge| Some(edge.site.now.until(edge.wake_at()?)));
        timers.chain(wakes).min().map(|wait| wait.max(Duration::from_secs(1)))
    }

    /// What is not as the API says; None when everything is.
    fn differs(&self, serves: usize) -> Result<Option<String>> {
        let mut rolled_back: BTreeSet<AppKey> = BTreeSet::new();
        for edge in &self.boxes {
            let name = &edge.name;
            let Some(object) = self.cluster.nodes.get(name) else {
                return Ok(Some(format!("{name} has no object")));
            };
            let set = self.set_of(object.labels.get("site").map_or("", String::as_str));
            let held = edge.agent.as_ref().and_then(|agent| agent.held());
            if held.map(|held| &held.set) != Some(&set) {
                return Ok(Some(format!(
                    "{name} holds {held:?}, not {set:?}; {:?}",
                    object.status.conditions
                )));
            }
            let (running, due) = (edge.running(), edge.due(&set)?);
            if running != due {
                return Ok(Some(format!("{name} runs {running:?}, not {due:?}")));
            }
            let condition = |kind: &str| {
                let found = object.status.conditions.iter().find(|condition| condition.type_ == kind);
                found.map(|condition| condition.status.as_str())
            };
            if (condition("Connected"), condition("Ready"), condition("Stalled"))
                != (Some("True"), Some("True"), None)
            {
                return Ok(Some(format!("{name} is not well: {:?}", object.status.conditions)));
            }
            let told: BTreeSet<_> = object.status.apps.iter().map(|app| app.name.clone()).collect();
            if told != set.keys().map(|key| key.name().to_owned()).collect() {
                return Ok(Some(format!("the status of {name} tells of {told:?}")));
            }
            let back = edge.rolled_back();
            for app in &object.status.apps {
                let key = AppKey::new(&app.namespace, &app.name)?;
                let object = self.cluster.apps.get(&key).context("an app that is told of")?;
                let phase = if back.contains(&key) { "RolledBack" } else { "Running" };
                let revision = content::revision(&key, object.version);
                if (app.phase.as_str(), app.ready, &app.revision) != (phase, true, &revision) {
                    return Ok(Some(format!("{name} says {app:?}, not {phase} of {revision}")));
                }
            }
            rolled_back.extend(back);
        }
        let Some(replica) = &self.replicas[serves] else { return Ok(Some("no replica".to_owned())) };
        for key in self.cluster.apps.keys() {
            let status = replica.app_status(key, self.now).context("the replica knows the app")?;
            let counts = status.nodes.unwrap_or_default();
            let nodes = self.boxes.iter().filter(|edge| {
                let object = self.cluster.nodes.get(&edge.name);
                let site = object.and_then(|node| node.labels.get("site").cloned()).unwrap_or_default();
                self.set_of(&site).contains_key(key)
            });
            let nodes = i32::try_from(nodes.count())?;
            if (counts.desired, counts.ready, counts.unknown) != (nodes, nodes, 0) {
                return Ok(Some(format!("{key} is on {nodes} nodes, and its status says {counts:?}")));
            }
            if !rolled_back.contains(key) && counts.updated != nodes {
                return Ok(Some(format!("{key} is updated, and its status says {counts:?}")));
            }
        }
        Ok(None)
    }

    /// What a node of this site must run, straight from the objects.
    fn set_of(&self, site: &str) -> PayloadSet {
        let selects = |key: &AppKey| match key.name() {
            "a0" => true,
            "a1" => site == "s1",
            _ => site != "s2",
        };
        let apps = self.cluster.apps.iter().filter(|(key, _)| selects(key));
        apps.map(|(key, object)| (key.clone(), content::payload(key, object.version))).collect()
    }
}
