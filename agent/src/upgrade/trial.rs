//! The new agent's side: it starts as it will, held to what the old one had reached, and says how far it is, line by line on standard output.
//! Standard input tells it what it is held to, and ends when the trial does: then it ends, too, and leaves the box as it is.
//!
//! An agent on trial is not trusted: it says nothing to systemd, moves no file aside, and takes no step of a plan that would disturb what rests.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _, Write as _};

use serde::{Deserialize, Serialize};
use skerry_agent_core::{AtRest, ContainerId, Plan, World, disturbed};
use skerry_terms::AppKey;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::supervisor::NodeStanding;

/// Terms of the largest node: a thousand apps of many containers each.
const TERMS_MAX: u64 = 16 << 20;
/// How many apps are named where many would be disturbed.
const NAMED: usize = 5;

/// What the old agent had reached, and a new one has to reach. Fields are added, never changed: agents of all versions read it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terms {
    /// Docker answered.
    pub docker: bool,
    /// The controller was connected.
    pub connected: bool,
    /// The command line could ask it.
    pub door: bool,
    /// The apps with nothing left to do, by `namespace/name`.
    pub at_rest: BTreeMap<String, Left>,
}

/// An app at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub revision: String,
    /// By Docker's id, whether it runs.
    pub containers: BTreeMap<String, bool>,
}

impl From<AtRest> for Left {
    fn from(AtRest { revision, containers }: AtRest) -> Self {
        Self { revision, containers: containers.into_iter().map(|(id, runs)| (id.0, runs)).collect() }
    }
}

impl Terms {
    /// What a supervisor is held to, and where it tells what it would disturb.
    pub fn inquiry(&self) -> (Inquiry, oneshot::Receiver<Vec<AppKey>>) {
        let (tell, told) = oneshot::channel();
        (Inquiry { before: self.before(), tell }, told)
    }

    fn before(&self) -> BTreeMap<AppKey, AtRest> {
        let app = |(key, left): (&String, &Left)| {
            let containers = left.containers.iter().map(|(id, runs)| (ContainerId(id.clone()), *runs));
            let rest = AtRest { revision: left.revision.clone(), containers: containers.collect() };
            // A name that this agent does not take for one is of no app that it could disturb.
            Some((key.parse().ok()?, rest))
        };
        self.at_rest.iter().filter_map(app).collect()
    }
}

/// One line from an agent on trial. Fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    /// Absent: not decided yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<bool>,
    /// Why it does not stand, or what it waits for.
    #[serde(default)]
    pub why: String,
}

/// This process is a new agent on trial.
#[derive(Debug)]
pub struct Trial {
    terms: Terms,
    /// Cancelled when the trial is over.
    pub over: CancellationToken,
}

impl Trial {
    /// Reads what it is held to.
    pub fn begin() -> io::Result<Self> {
        let mut line = String::new();
        io::stdin().lock().take(TERMS_MAX).read_line(&mut line)?;
        let terms = serde_json::from_str(&line)?;
        let over = CancellationToken::new();
        let told = over.clone();
        // Not tokio's: its pool is small, and this waits for the whole trial.
        std::thread::Builder::new().name("trial".to_owned()).spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            told.cancel();
        })?;
        Ok(Self { terms, over })
    }

    /// What the supervisor is held to, and where it tells what it would disturb.
    pub fn inquiry(&self) -> (Inquiry, oneshot::Receiver<Vec<AppKey>>) {
        self.terms.inquiry()
    }

    /// Says when this agent stands, or why it does not. Returns when that is said.
    pub async fn judge(
        self,
        has_door: bool,
        first_plan: oneshot::Receiver<Vec<AppKey>>,
        node: watch::Receiver<NodeStanding>,
    ) {
        match stands(&self.terms, has_door, first_plan, node).await {
            Ok(()) => say(&Word { stands: Some(true), why: String::new() }),
            Err(why) => fails(&why),
        }
    }
}

/// Says that this agent does not stand.
pub fn fails(why: &str) {
    say(&Word { stands: Some(false), why: why.to_owned() });
}

fn waits_for(what: &str) {
    say(&Word { stands: None, why: format!("it waited for {what}") });
}

fn say(word: &Word) {
    let line = serde_json::to_string(word).unwrap_or_default();
    let mut stdout = io::stdout().lock();
    // Whoever does not listen any more ends the trial.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

async fn stands(
    terms: &Terms,
    has_door: bool,
    first_plan: oneshot::Receiver<Vec<AppKey>>,
    mut node: watch::Receiver<NodeStanding>,
) -> Result<(), String> {
    let ended = || "it ended before it stood".to_owned();
    if terms.door && !has_door {
        return Err("it cannot open the socket for the command line; its log says why".to_owned());
    }
    if terms.docker {
        waits_for("Docker");
        node.wait_for(|node| node.docker_ready).await.map_err(|_| ended())?;
        waits_for("a look at the containers");
        refuse(&first_plan.await.map_err(|_| ended())?)?;
    }
    if terms.connected {
        waits_for("the controller");
        node.wait_for(|node| node.connected).await.map_err(|_| ended())?;
    }
    Ok(())
}

fn refuse(disturbed: &[AppKey]) -> Result<(), String> {
    if disturbed.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = disturbed.iter().take(NAMED).map(ToString::to_string).collect();
    let more = disturbed.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!("it would replace containers of apps that are well: {}{more}", named.join(", ")))
}

/// What a supervisor on trial is held to, until its first plan.
#[derive(Debug)]
pub struct Inquiry {
    before: BTreeMap<AppKey, AtRest>,
    tell: oneshot::Sender<Vec<AppKey>>,
}

impl Inquiry {
    /// With nothing desired there is no plan, and nothing is disturbed.
    pub fn nothing_to_plan(self) {
        let _ = self.tell.send(Vec::new());
    }

    /// True if the plan may be carried out.
    pub fn allows(self, plan: &Plan, world: &World) -> bool {
        let disturbed = disturbed(plan, world, &self.before);
        let allowed = disturbed.is_empty();
        let _ = self.tell.send(disturbed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(docker_ready: bool, connected: bool) -> NodeStanding {
        NodeStanding { docker_ready, connected, ..NodeStanding::default() }
    }

    #[tokio::test]
    async fn a_new_agent_has_to_reach_what_the_old_one_had_reached_and_no_more() {
        let all = Terms { docker: true, connected: true, door: true, at_rest: BTreeMap::new() };
        let offline = Terms { connected: false, ..all.clone() };
        let blind = Terms { docker: false, ..offline.clone() };
        for (terms, has_door, node, plan, stands_so) in [
            (&all, true, standing(true, true), Some(vec![]), Some(Ok(()))),
            (&all, true, standing(true, false), Some(vec![]), None),
            (&all, true, standing(false, true), None, None),
            (&all, false, standing(true, true), Some(vec![]), Some(Err("socket"))),
            (&all, true, standing(true, true), Some(vec!["a/b"]), Some(Err("a/b"))),
            (&offline, true, standing(true, false), Some(vec![]), Some(Ok(()))),
            (&blind, true, standing(false, false), None, Some(Ok(()))),
        ] {
            let (tell, told) = oneshot::channel();
            let _held = match plan {
                Some(apps) => {
                    let apps = apps.into_iter().map(|app| app.parse().expect("a key")).collect();
                    tell.send(apps).expect("heard");
                    None
                }
                None => Some(tell),
            };
            let (_node, heard) = watch::channel(node);
            let limit = std::time::Duration::from_millis(50);
            let found = tokio::time::timeout(limit, stands(terms, has_door, told, heard)).await.ok();
            match (found, stands_so) {
                (None, None) | (Some(Ok(())), Some(Ok(()))) => {}
                (Some(Err(why)), Some(Err(words))) if why.contains(words) => {}
                (found, expected) => panic!("{terms:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn terms_of_another_version_are_understood() {
        let terms: Terms = serde_json::from_str(r#"{"connected": true, "later": 1}"#).expect("read");
        assert_eq!(terms, Terms { connected: true, ..Terms::default() });
    }
}
