//! What the box has to tell afterwards: news into the outbox, batches onto the link, the outbox onto the disk. And the box's clock, which
//! the controller's greeting is held against.

use skerry_agent_core::outbox::{About, Kept, News, Outbox};
use skerry_agent_core::skew::{Report, Skew};
use skerry_agent_core::{AppStatus, Chronicle, Monotonic, WallMillis};
use skerry_terms::{AppKey, Chain, ProblemKind, reasons};
use tracing::warn;

use super::Supervisor;
use crate::clock::wall_now;
use crate::engine::Engine;
use crate::uplink::{random, transitions};

/// What the controller said when it greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeted {
    /// It takes transitions.
    pub takes_transitions: bool,
    /// Its time. Absent from a controller that does not tell.
    pub now: Option<WallMillis>,
}

impl Greeted {
    /// False for what a controller says that is older than this.
    pub fn says_something(self) -> bool {
        self.takes_transitions || self.now.is_some()
    }
}

/// The disk's answer to the outbox: what an earlier run kept, where that could be read only now and nothing was written; or why it did not
/// take it.
pub type OutboxSaved = Result<Option<Kept>, String>;

/// See the module.
#[derive(Debug)]
pub(super) struct Telling {
    pub outbox: Outbox,
    chronicle: Chronicle,
    skew: Skew,
    /// When the hello was sent.
    asked: Monotonic,
    /// A write of the outbox is under way.
    saving: bool,
}

impl Telling {
    pub fn new(kept: Kept, boot_id: String, now: Monotonic) -> Self {
        let run = u64::from(random()) << 32 | u64::from(random());
        let is_new_boot = !kept.boot_id.is_empty() && kept.boot_id != boot_id;
        let mut telling = Self {
            outbox: Outbox::new(run, boot_id, kept),
            chronicle: Chronicle::default(),
            skew: Skew::default(),
            asked: now,
            saving: false,
        };
        if is_new_boot {
            let words = "the box was started; its containers are started anew";
            telling.node("Box", reasons::BOX_BOOTED, words.to_owned(), true, now);
        }
        let words = format!("skerry-agent {} was started", env!("CARGO_PKG_VERSION"));
        telling.node("Agent", reasons::AGENT_STARTED, words, false, now);
        telling
    }

    /// Something happened to the box itself.
    pub fn node(&mut self, side: &str, reason: &str, message: String, warning: bool, now: Monotonic) {
        let news = News {
            about: About::Node(side.to_owned()),
            uid: String::new(),
            revision: String::new(),
            phase: None,
            reason: reason.to_owned(),
            message,
            warning,
            exit_code: None,
            restart_count: 0,
        };
        self.outbox.put(news, wall_now(), now);
    }

    /// Where the controller's apps stand now.
    pub fn follow(&mut self, statuses: &[AppStatus], uid: impl Fn(&AppKey) -> String, now: Monotonic) {
        for news in self.chronicle.follow(statuses, uid) {
            self.outbox.put(news, wall_now(), now);
        }
    }

    /// The hello was sent.
    pub fn asked(&mut self, now: Monotonic) {
        self.asked = now;
    }

    pub fn greeted(&mut self, greeted: Greeted, now: Monotonic) {
        let Greeted { takes_transitions, now: controller } = greeted;
        if let Some(controller) = controller {
            self.skew.measure(controller, self.asked, now);
        }
        if takes_transitions {
            self.outbox.opened();
        }
    }
}

impl<E: Engine> Supervisor<E> {
    /// Something is wrong with the box, or no longer is.
    pub(super) fn problem(&mut self, kind: ProblemKind, problem: Option<skerry_terms::Problem>) {
        let told = problem.as_ref().map(|problem| (problem.reason.clone(), problem.message.clone()));
        if !self.link.problem(kind, problem) {
            return;
        }
        let now = self.clock.now();
        match told {
            Some((reason, message)) => {
                self.telling.node(kind.as_str(), &reason, format!("{kind}: {message}"), true, now);
            }
            None => {
                let words = format!("{kind} is over");
                self.telling.node(kind.as_str(), reasons::NO_PROBLEM, words, false, now);
            }
        }
    }

    /// Whether Docker answers. What was not known before is no news when it is well.
    pub(super) fn docker_is(&mut self, ready: bool, version: String, message: String) {
        let before = self.link.docker_ready();
        let words = match ready {
            true => format!("docker {version} answers"),
            false => message.clone(),
        };
        self.link.docker_is(ready, version, message);
        let reason = match (before, ready) {
            (Some(false), true) => reasons::DOCKER_READY,
            (Some(true) | None, false) => reasons::DOCKER_UNAVAILABLE,
            (None | Some(true), true) | (Some(false), false) => return,
        };
        self.telling.node("Docker", reason, words, !ready, self.clock.now());
    }

    /// The box's clock may have been set since the last time that anything happened.
    pub(super) fn look_at_clock(&mut self) {
        match self.telling.skew.look(wall_now(), self.clock.now()) {
            Report::Same => {}
            Report::Skewed(problem) => self.problem(ProblemKind::ClockSkewed, Some(problem)),
            Report::Right => self.problem(ProblemKind::ClockSkewed, None),
        }
    }

    /// Sends what the controller may have, and keeps the rest.
    pub(super) fn tell(&mut self) {
        let now = self.clock.now();
        if let Some(batch) = self.telling.outbox.batch(now) {
            let offset = self.telling.skew.offset(wall_now(), now);
            self.link.post(transitions::message(batch, offset, now));
        }
        if !self.telling.saving
            && let Some(kept) = self.telling.outbox.to_save(now, false)
        {
            self.telling.saving = true;
            let (store, tell) = (self.store.clone(), self.taps.outbox_saved.clone());
            self.tasks.spawn(async move {
                let saved = tokio::task::spawn_blocking(move || store.save_outbox(&kept)).await;
                let saved = match saved {
                    Ok(Ok(before)) => Ok(before),
                    Ok(Err(error)) => Err(Chain(&error).to_string()),
                    Err(panic) => Err(panic.to_string()),
                };
                let _ = tell.send(saved).await;
            });
        }
    }

    pub(super) fn outbox_saved(&mut self, saved: OutboxSaved) {
        self.telling.saving = false;
        match saved {
            Ok(None) => {}
            Ok(Some(before)) => self.telling.outbox.recall(before, self.clock.now()),
            Err(why) => {
                warn!("what happened and is not yet told could not be stored: {why}; it is kept in memory");
                self.telling.outbox.not_saved(self.clock.now());
            }
        }
    }

    /// The last write, in order, when the agent ends.
    pub(super) fn keep_outbox(&mut self) {
        if let Some(kept) = self.telling.outbox.to_save(self.clock.now(), true) {
            let store = self.store.clone();
            self.tasks.spawn_blocking(move || {
                let saved = store.save_outbox(&kept).and_then(|before| match before {
                    Some(before) => store.save_outbox(&kept.after(before)).map(drop),
                    None => Ok(()),
                });
                if let Err(error) = saved {
                    warn!("what happened and is not yet told could not be stored: {}", Chain(&error));
                }
            });
        }
    }
}
