//! What can happen, as data: a history is a list of steps, drawn from a seed, written to a log, read back, made shorter.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// One thing that happens. Numbers are taken modulo what there is, and what cannot happen at its turn does not: so every list of steps is a
/// history, and so is what is left of it when some are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// An app is created, or changed to this version.
    Edit {
        app: u8,
        version: u8,
    },
    Delete {
        app: u8,
    },
    Relabel {
        node: u8,
        site: u8,
    },
    DeleteNode {
        node: u8,
    },
    /// The cluster is backed up.
    Backup,
    /// The cluster is restored from the backup.
    Restore,
    /// The objects move to another cluster.
    Rebuild,
    /// Somebody does what a node's Stalled condition says.
    Accept {
        node: u8,
    },
    /// A replica's watch of a kind moves on by some events.
    Watch {
        replica: u8,
        kind: u8,
        events: u8,
    },
    List {
        replica: u8,
        kind: u8,
    },
    /// A replica writes the statuses that are worth it.
    Write {
        replica: u8,
    },
    CrashReplica {
        replica: u8,
    },
    StartReplica {
        replica: u8,
    },
    Connect {
        node: u8,
        replica: u8,
    },
    /// Frames of the node's newest link arrive at the replica.
    Up {
        node: u8,
        frames: u8,
    },
    /// Frames of the node's newest link arrive at the agent.
    Down {
        node: u8,
        frames: u8,
    },
    /// A replica hears the rest of a link that the agent has left, or its end.
    Late {
        link: u8,
    },
    /// The link breaks for the agent. What was under way to the replica may still arrive.
    Cut {
        node: u8,
    },
    /// The same, and what was under way is lost: the replica takes the link for good.
    CutSilently {
        node: u8,
    },
    /// The link breaks for the replica; the agent takes it for good.
    HalfOpen {
        node: u8,
    },
    /// The agent begins a look at the box, or ends the one that it has begun.
    Look {
        node: u8,
    },
    /// The executor takes the next step of a list.
    Work {
        node: u8,
        list: u8,
    },
    /// The disk answers.
    Disk {
        node: u8,
    },
    DiskBreaks {
        node: u8,
    },
    DiskMends {
        node: u8,
    },
    /// The agent is killed; what it was writing is on the disk or not.
    CrashAgent {
        node: u8,
        wrote: bool,
    },
    StartAgent {
        node: u8,
    },
    /// The state on disk becomes unreadable.
    Corrupt {
        node: u8,
    },
    DockerDown {
        node: u8,
    },
    DockerUp {
        node: u8,
    },
    /// A container ends by itself.
    Exit {
        node: u8,
        container: u8,
        code: u8,
    },
    /// An image can no longer be pulled, or can again.
    Registry {
        node: u8,
        version: u8,
    },
    /// The box's clock is set.
    Clock {
        node: u8,
        hours: i8,
    },
    Pass {
        seconds: u16,
    },
}

type Draw = fn(&mut Rng) -> Step;

/// How often each kind of step is drawn.
const WEIGHTS: &[(u32, Draw)] = &[
    (14, |r| Step::Edit { app: r.u8(..), version: r.u8(..) }),
    (3, |r| Step::Delete { app: r.u8(..) }),
    (3, |r| Step::Relabel { node: r.u8(..), site: r.u8(..) }),
    (1, |r| Step::DeleteNode { node: r.u8(..) }),
    (2, |_| Step::Backup),
    (2, |_| Step::Restore),
    (1, |_| Step::Rebuild),
    (4, |r| Step::Accept { node: r.u8(..) }),
    (40, |r| Step::Watch { replica: r.u8(..), kind: r.u8(..), events: r.u8(1..8) }),
    (6, |r| Step::List { replica: r.u8(..), kind: r.u8(..) }),
    (6, |r| Step::Write { replica: r.u8(..) }),
    (1, |r| Step::CrashReplica { replica: r.u8(..) }),
    (6, |r| Step::StartReplica { replica: r.u8(..) }),
    (20, |r| Step::Connect { node: r.u8(..), replica: r.u8(..) }),
    (60, |r| Step::Up { node: r.u8(..), frames: r.u8(1..6) }),
    (60, |r| Step::Down { node: r.u8(..), frames: r.u8(1..8) }),
    (12, |r| Step::Late { link: r.u8(..) }),
    (5, |r| Step::Cut { node: r.u8(..) }),
    (3, |r| Step::CutSilently { node: r.u8(..) }),
    (2, |r| Step::HalfOpen { node: r.u8(..) }),
    (60, |r| Step::Look { node: r.u8(..) }),
    (80, |r| Step::Work { node: r.u8(..), list: r.u8(..) }),
    (40, |r| Step::Disk { node: r.u8(..) }),
    (2, |r| Step::DiskBreaks { node: r.u8(..) }),
    (4, |r| Step::DiskMends { node: r.u8(..) }),
    (4, |r| Step::CrashAgent { node: r.u8(..), wrote: r.bool() }),
    (16, |r| Step::StartAgent { node: r.u8(..) }),
    (1, |r| Step::Corrupt { node: r.u8(..) }),
    (2, |r| Step::DockerDown { node: r.u8(..) }),
    (6, |r| Step::DockerUp { node: r.u8(..) }),
    (8, |r| Step::Exit { node: r.u8(..), container: r.u8(..), code: r.u8(..) }),
    (2, |r| Step::Registry { node: r.u8(..), version: r.u8(..) }),
    (1, |r| Step::Clock { node: r.u8(..), hours: r.i8(..) }),
    (16, |r| Step::Pass { seconds: r.u16(1..400) }),
];

/// Draws a history.
pub fn draw(rng: &mut Rng, steps: usize) -> Vec<Step> {
    let all = WEIGHTS.iter().map(|(weight, _)| weight).sum();
    let one = |rng: &mut Rng| {
        let mut at = rng.u32(0..all);
        let kind = WEIGHTS.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.wrapping_sub(*weight);
            here
        });
        kind.map(|(_, make)| make(rng))
    };
    (0..steps).filter_map(|_| one(rng)).collect()
}
