//! Updates on the box: a changed app is on trial until every container is ready; else the box goes back to the revision before by itself,
//! and does not try the failed one again until it changes. Pure: the shell tells what is wanted, what each plan said and what time it is;
//! it asks which payloads are in force in place of the wanted ones, when to come back, and what is worth keeping on disk.
//!
//! An app's first revision has nothing to go back to: it is retried as any other.

mod images;
mod mark;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skerry_terms::{AppKey, Digest, Payload, PayloadSet, Phase, reasons};

use crate::housekeeping::{Held, Needed};
use crate::{AppPlan, AppStatus, Desired, DesiredApp, ImageId, Memory, Monotonic, Observed, Plan, ValidApp};
use images::seen;
pub use images::{Committed, Images};
use mark::{Mark, is_held, is_proven, is_ready, is_terminal, marks};

/// How long every container must be ready without a break before a revision counts as good. A command that is wrong ends within it, and
/// so does the first of Kubernetes' back-offs.
const STEADY: Duration = Duration::from_secs(10);

/// Everything about updates: by app, what runs for good, what is tried, what failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trials {
    courses: BTreeMap<AppKey, Course>,
    /// What was kept on disk of apps that nobody has asked for yet.
    recalled: Notes,
}

/// What is asked for of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub payload: Payload,
    /// Equal exactly when two payloads ask for the same.
    pub print: Digest,
    /// Name of the revision, for display.
    pub revision: String,
    /// Why it cannot be tried at all: this agent does not understand it, or the box's owner does not allow it.
    pub fault: Option<Fault>,
}

/// Why something cannot be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable word.
    pub reason: &'static str,
    pub why: String,
}

/// What outlives the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// The last payload of each app that was fully ready, or ended well.
    pub committed: BTreeMap<AppKey, Committed>,
    /// The payload that is wanted and was tried in vain.
    pub failed: BTreeMap<AppKey, FailedRevision>,
}

/// A revision that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRevision {
    pub print: Digest,
    pub revision: String,
    /// A stable word.
    pub reason: String,
    pub message: String,
}

/// What a round of the planner has decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Apps whose revision before is in force again.
    pub rolled_back: BTreeSet<AppKey>,
    /// Something is worth keeping on disk.
    pub noted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Course {
    wanted: Wanted,
    /// What the containers of what is wanted were last seen to run from.
    images: Images,
    committed: Option<Committed>,
    /// Its print is that of what is wanted.
    failed: Option<FailedRevision>,
    /// Absent when what is wanted is committed, has failed, or cannot be tried.
    trial: Option<Trial>,
}

/// How a revision does that is being tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Trial {
    /// When it last came further. Absent while the engine cannot be asked: that is nobody's failure.
    since: Option<Monotonic>,
    /// How far it ever came: only what is new is progress, so that a container that keeps crashing makes none.
    seen: BTreeSet<Mark>,
    /// Since when every container has been ready.
    steady_since: Option<Monotonic>,
    /// Every container was ready in the last round, by a look that may be older than the set in force.
    serves: bool,
}

impl Course {
    fn begin(wanted: Wanted, committed: Option<Committed>, failed: Option<FailedRevision>) -> Self {
        let failed = failed.filter(|failed| failed.print == wanted.print && committed.is_some());
        let settled = committed.as_ref().is_some_and(|committed| committed.print == wanted.print);
        let tried = !settled && failed.is_none() && wanted.fault.is_none();
        Self { wanted, images: Images::new(), committed, failed, trial: tried.then(Trial::default) }
    }

    /// The committed payload, when it and not the wanted one is in force.
    fn fallback(&self) -> Option<&Payload> {
        let committed = self.committed.as_ref()?;
        let differs = committed.print != self.wanted.print;
        (differs && (self.failed.is_some() || self.wanted.fault.is_some())).then_some(&committed.payload)
    }

    /// True if the committed payload is in force, whether it is the wanted one or not.
    fn runs_committed(&self) -> bool {
        self.committed.as_ref().is_some_and(|committed| committed.print == self.wanted.print)
            || self.fallback().is_some()
    }

    /// What is wanted has proved itself.
    fn commit(&mut self) {
        let Wanted { payload, print, revision: _, fault: _ } = &self.wanted;
        let (payload, print, images) = (payload.clone(), *print, self.images.clone());
        let before = self.committed.take().map(|old| old.images.into_values().collect());
        self.committed = Some(Committed { payload, print, images, before: before.unwrap_or_default() });
        (self.trial, self.failed) = (None, None);
    }

    fn deadline(&self, app: &ValidApp) -> Option<Monotonic> {
        let since = self.trial.as_ref()?.since?;
        (self.committed.is_some() && !app.progress_deadline.is_zero())
            .then(|| since.after(app.progress_deadline))
    }
}

impl Trials {
    /// What was kept on disk.
    pub fn recall(notes: Notes) -> Self {
        Self { courses: BTreeMap::new(), recalled: notes }
    }

    /// Another set is wanted from now on. True if that changes what is worth keeping on disk.
    pub fn follow(&mut self, wanted: BTreeMap<AppKey, Wanted>) -> bool {
        let mut before = std::mem::take(&mut self.courses);
        let mut recalled = std::mem::take(&mut self.recalled);
        let mut changed = false;
        for (key, wanted) in wanted {
            let course = match before.remove(&key) {
                // A mere re-send, perhaps with another uid.
                Some(course)
                    if course.wanted.print == wanted.print && course.wanted.fault == wanted.fault =>
                {
                    let committed = course.committed.map(|committed| match committed.print == wanted.print {
                        true => Committed { payload: wanted.payload.clone(), ..committed },
                        false => committed,
                    });
                    Course { wanted, committed, ..course }
                }
                Some(Course { wanted: before, images, committed, failed, trial }) => {
                    changed |= failed.is_some();
                    // With nothing better to go back to, what serves at this moment is good enough.
                    let serves = trial.is_some_and(|trial| trial.serves);
                    let Wanted { payload, print, revision: _, fault: _ } = before;
                    let served =
                        serves.then(|| Committed { payload, print, images, before: BTreeSet::new() });
                    changed |= committed.is_none() && served.is_some();
                    Course::begin(wanted, committed.or(served), failed)
                }
                None => {
                    let (committed, failed) = (recalled.committed.remove(&key), recalled.failed.remove(&key));
                    let had_failed = failed.is_some();
                    let course = Course::begin(wanted, committed, failed);
                    changed |= had_failed && course.failed.is_none();
                    course
                }
            };
            self.courses.insert(key, course);
        }
        let forgotten = before.values().any(|course| course.committed.is_some());
        changed || forgotten || recalled != Notes::default()
    }

    /// The committed payloads that are in force in place of the wanted ones.
    pub fn fallbacks(&self) -> PayloadSet {
        let fallback = |(key, course): (&AppKey, &Course)| Some((key.clone(), course.fallback()?.clone()));
        self.courses.iter().filter_map(fallback).collect()
    }

    /// The images of the committed payloads that are in force: see [`Desired::images`].
    pub fn images(&self) -> BTreeMap<AppKey, Images> {
        let runs = self.courses.iter().filter(|(_, course)| course.runs_committed());
        let images =
            runs.filter_map(|(key, course)| Some((key.clone(), course.committed.as_ref()?.images.clone())));
        images.filter(|(_, images)| !images.is_empty()).collect()
    }

    /// The images that must not be lost, those of each committed revision and of the one before it.
    pub fn needed(&self) -> Needed {
        let mut needed = Needed::new();
        let mut need = |images: &mut dyn Iterator<Item = &ImageId>, held: Held| {
            for image in images {
                let before = needed.entry(image.clone()).or_insert(held);
                *before = held.max(*before);
            }
        };
        for committed in self.recalled.committed.values() {
            need(&mut committed.images.values().chain(&committed.before), Held::ByContainers);
        }
        for course in self.courses.values() {
            let Some(committed) = &course.committed else { continue };
            // What runs of it may be replaced in the next moment.
            let held = if course.trial.is_some() { Held::ByPin } else { Held::ByContainers };
            need(&mut committed.images.values(), held);
            need(&mut committed.before.iter(), Held::ByContainers);
        }
        needed
    }

    /// Takes in what a plan says of the apps on trial, and which images the others run from. `fresh`: the plan rests on a look that was made for
    /// the set in force.
    pub fn judge(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        plan: &Plan,
        memory: &Memory,
        fresh: bool,
        now: Monotonic,
    ) -> Decided {
        let mut decided = Decided::default();
        for (key, course) in &mut self.courses {
            let (Some(DesiredApp::Valid(app)), Some(app_plan)) = (desired.apps.get(key), plan.apps.get(key))
            else {
                continue;
            };
            let busy = memory.executing(key).is_some();
            decided.noted |= course.learn(app, app_plan, observed, Look { fresh, busy });
            match course.judge(app, app_plan, memory, Look { fresh, busy }, now) {
                None => {}
                Some(Verdict::Good) => {
                    course.commit();
                    decided.noted = true;
                }
                Some(Verdict::Bad { reason, message }) => {
                    let (print, revision) = (course.wanted.print, course.wanted.revision.clone());
                    course.failed = Some(FailedRevision { print, revision, reason, message });
                    course.trial = None;
                    decided.rolled_back.insert(key.clone());
                    decided.noted = true;
                }
            }
        }
        decided
    }

    /// When a trial ends even if nothing happens. After a judgement always in the future (A9).
    pub fn wake_at(&self, desired: &Desired) -> Option<Monotonic> {
        let wakes = self.courses.iter().filter_map(|(key, course)| {
            let trial = course.trial.as_ref()?;
            let Some(DesiredApp::Valid(app)) = desired.apps.get(key) else { return None };
            match trial.steady_since {
                Some(since) => Some(since.after(STEADY)),
                None => course.deadline(app),
            }
        });
        wakes.min()
    }

    /// What is worth keeping on disk.
    pub fn notes(&self) -> Notes {
        let mut notes = self.recalled.clone();
        for (key, course) in &self.courses {
            if let Some(committed) = &course.committed {
                notes.committed.insert(key.clone(), committed.clone());
            }
            if let Some(failed) = &course.failed {
                notes.failed.insert(key.clone(), failed.clone());
            }
        }
        notes
    }

    /// Says of an app that runs on its revision before, that it does, and why. What the plan said is about that revision.
    pub fn amend(&self, status: &mut AppStatus) {
        let Some(course) = self.courses.get(&status.key).filter(|course| course.fallback().is_some()) else {
            return;
        };
        if status.phase == Phase::Unknown {
            return;
        }
        let runs = match status.ready {
            true => "runs".to_owned(),
            false => format!("is {} ({})", status.phase, status.reason),
        };
        let kept = match status.revision == course.wanted.revision {
            true => format!("the configuration before, which {runs}"),
            false => format!("revision {}, which {runs}", status.revision),
        };
        status.revision.clone_from(&course.wanted.revision);
        (status.phase, status.reason, status.message) = match (&course.failed, &course.wanted.fault) {
            (Some(FailedRevision { print: _, revision: _, reason, message }), _) => {
                (Phase::RolledBack, reason.clone(), format!("went back to {kept}: {message}"))
            }
            (None, Some(Fault { reason, why })) => {
                (Phase::Failed, (*reason).to_owned(), format!("{why}; the box stays with {kept}"))
            }
            (None, None) => return,
        };
    }
}

/// What a plan rests on.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// The look was made for the set in force.
    fresh: bool,
    /// Something is being done for the app since.
    busy: bool,
}

/// What has become of a trial.
enum Verdict {
    Good,
    Bad { reason: String, message: String },
}

impl Course {
    /// True if something was learnt that is worth keeping.
    fn learn(&mut self, app: &ValidApp, plan: &AppPlan, observed: &Observed, look: Look) -> bool {
        let seen = seen(app, observed);
        if !self.runs_committed() {
            self.images.extend(seen);
            return false;
        }
        let rests = look.fresh && !look.busy && plan.actions.is_empty();
        let proven = is_ready(&plan.verdict) || plan.verdict.phase == Phase::Succeeded;
        // By an agent that did not remember images; or what it ran from was removed, and it took what the name means now.
        rests && proven && self.committed.as_mut().is_some_and(|committed| committed.learn(&seen))
    }

    fn judge(
        &mut self,
        app: &ValidApp,
        plan: &AppPlan,
        memory: &Memory,
        look: Look,
        now: Monotonic,
    ) -> Option<Verdict> {
        let trial = self.trial.as_mut()?;
        let verdict = &plan.verdict;
        if verdict.phase == Phase::Unknown {
            (trial.since, trial.steady_since) = (None, None);
            trial.serves = false;
            return None;
        }
        trial.since.get_or_insert(now);
        let quiet = plan.actions.is_empty() && !look.busy;
        if quiet && look.fresh && verdict.phase == Phase::Succeeded {
            return Some(Verdict::Good);
        }
        trial.serves = quiet && is_ready(verdict) && is_proven(app, verdict, memory);
        match is_ready(verdict) {
            // A change of other apps makes a look stale; what was steady by then still is.
            true if trial.serves && (look.fresh || trial.steady_since.is_some()) => {
                if trial.steady_since.get_or_insert(now).after(STEADY) <= now {
                    return Some(Verdict::Good);
                }
            }
            // Ready as far as is known; what is under way, or a look that is due, tells more.
            true => (trial.since, trial.steady_since) = (Some(now), None),
            false if is_held(verdict) => (trial.since, trial.steady_since) = (Some(now), None),
            false => trial.steady_since = None,
        }
        for mark in marks(verdict) {
            if trial.seen.insert(mark) {
                trial.since = Some(now);
            }
        }
        let steady = trial.steady_since.is_some();
        let told = || format!("{}: {}", verdict.reason, verdict.message);
        if self.committed.is_some() && is_terminal(app, verdict) {
            let message = format!("revision {}: {}", self.wanted.revision, verdict.message);
            return Some(Verdict::Bad { reason: verdict.reason.to_owned(), message });
        }
        if !steady && self.deadline(app)? <= now {
            let (revision, limit) = (&self.wanted.revision, app.progress_deadline.as_secs());
            let message = format!("revision {revision} was not ready within {limit} s: {}", told());
            return Some(Verdict::Bad { reason: reasons::PROGRESS_DEADLINE_EXCEEDED.to_owned(), message });
        }
        None
    }
}
