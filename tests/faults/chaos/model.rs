//! Chooses the steps, and knows what is to come of them. It sees nothing of what happens: the same seed gives the same steps.

use std::collections::{BTreeMap, BTreeSet};

use skerry_terms::labels::SANDBOX;

use crate::apps::{App, Fate, Kind};
use crate::clock::{HOUR, YEAR};

/// One thing that is done to the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new app, or a new revision of one.
    Put(App),
    Take(String),
    /// The container's process is killed.
    Crash {
        app: String,
        role: &'static str,
    },
    /// Somebody removes the container by hand.
    Remove {
        app: String,
        role: &'static str,
    },
    KillAgent,
    /// SIGTERM, and its end is waited for.
    EndAgent,
    StartAgent,
    PauseAgent {
        milliseconds: u64,
    },
    /// Of what is stored, while no agent runs.
    Damage {
        byte: usize,
        bit: u8,
    },
    SetClock {
        offset: i64,
    },
    FillDisk,
    FreeDisk,
    /// SIGKILL, and up again.
    KillDocker,
    /// SIGTERM, and up again.
    RestartDocker,
    PauseDocker {
        milliseconds: u64,
    },
    /// Agent, dockerd and every container end at once; the box boots.
    CutPower,
    Rest {
        milliseconds: u64,
    },
    /// Everything is healed, and the checker looks.
    Check,
}

/// Apps that come and go, each of one kind for ever.
const APPS: [(&str, Kind); 4] =
    [("alone", Kind::Single), ("beside", Kind::SideBySide), ("pod", Kind::Pod), ("twin", Kind::Pod)];
/// Between two checks.
const STEPS: usize = 10;
/// The second end of a container is followed by ten seconds of back-off, a third one by twenty: too long for a check.
const ENDS_MAX: u32 = 2;
/// A full disk makes failures, each followed by a longer back-off: it is over after so many steps.
const FULL_MAX: usize = 4;

/// What is to be on the box.
#[derive(Debug)]
pub struct Model {
    random: fastrand::Rng,
    apps: BTreeMap<&'static str, App>,
    /// No value comes twice.
    value: u32,
    agent_runs: bool,
    /// Steps since the disk is full.
    full: Option<usize>,
    /// Steps since the last check.
    steps: usize,
    /// Apps were taken away that an agent may not have seen go.
    taken: bool,
    /// What is stored is damaged, and no agent has seen that yet.
    damaged: bool,
    /// How often the containers of this revision were ended.
    ends: BTreeMap<(String, &'static str), u32>,
    /// Containers that were ended since the last check. The sandbox stands for all of its app.
    hit: BTreeSet<(String, &'static str)>,
    /// Every container was ended.
    all_hit: bool,
}

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            apps: BTreeMap::new(),
            value: 0,
            agent_runs: true,
            full: None,
            steps: 0,
            taken: false,
            damaged: false,
            ends: BTreeMap::new(),
            hit: BTreeSet::new(),
            all_hit: false,
        }
    }

    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// Whether a container was ended since the last check, by itself or with the network that it was in.
    pub fn was_hit(&self, app: &str, role: &str) -> bool {
        self.all_hit || self.hit.iter().any(|(name, hit)| name == app && (*hit == role || *hit == SANDBOX))
    }

    pub fn checked(&mut self) {
        (self.steps, self.taken, self.all_hit) = (0, false, false);
        self.hit.clear();
    }

    /// The steps after which nothing is broken any more.
    pub fn heal(&mut self) -> Vec<Step> {
        self.damaged = false;
        let free = self.full.take().map(|_| Step::FreeDisk);
        let start = (!std::mem::replace(&mut self.agent_runs, true)).then_some(Step::StartAgent);
        free.into_iter().chain(start).collect()
    }

    pub fn step(&mut self) -> Step {
        self.steps += 1;
        if self.steps > STEPS {
            return Step::Check;
        }
        if let Some(since) = &mut self.full {
            *since += 1;
            if *since > FULL_MAX {
                self.full = None;
                return Step::FreeDisk;
            }
        }
        loop {
            if let Some(step) = self.choose() {
                return step;
            }
        }
    }

    /// `None` where what was chosen is not possible now.
    fn choose(&mut self) -> Option<Step> {
        let short = self.random.u64(..400);
        let offsets = [0, HOUR, -HOUR, YEAR, -YEAR];
        match self.random.u32(..100) {
            0..20 => self.put(),
            20..27 => self.take(),
            27..37 => self.end().map(|(app, role)| Step::Crash { app, role }),
            37..43 => self.end().map(|(app, role)| Step::Remove { app, role }),
            43..51 => self.agent_ends(Step::KillAgent),
            51..54 => self.agent_ends(Step::EndAgent),
            54..66 => {
                self.damaged = false;
                (!std::mem::replace(&mut self.agent_runs, true)).then_some(Step::StartAgent)
            }
            66..69 => self.agent_runs.then_some(Step::PauseAgent { milliseconds: 3 * short }),
            69..72 => {
                let step = Step::Damage { byte: self.random.usize(..4096), bit: self.random.u8(..8) };
                self.damaged = !self.agent_runs && !self.taken && self.full.is_none();
                self.damaged.then_some(step)
            }
            72..78 => Some(Step::SetClock { offset: offsets[self.random.usize(..offsets.len())] }),
            78..81 => {
                let fill = self.full.is_none().then_some(Step::FillDisk)?;
                self.full = Some(0);
                Some(fill)
            }
            81..83 => Some(Step::KillDocker),
            83..84 => Some(Step::RestartDocker),
            84..87 => Some(Step::PauseDocker { milliseconds: 3 * short }),
            87..88 => {
                (self.all_hit, self.agent_runs, self.damaged) = (true, true, false);
                Some(Step::CutPower)
            }
            _ => Some(Step::Rest { milliseconds: short }),
        }
    }

    fn put(&mut self) -> Option<Step> {
        if self.full.is_some() {
            return None;
        }
        let (name, kind) = APPS[self.random.usize(..APPS.len())];
        self.value += 1;
        let app = App::new(name, kind, self.value);
        self.apps.insert(name, app.clone());
        self.ends.retain(|(app, _), _| app != name);
        Some(Step::Put(app))
    }

    fn take(&mut self) -> Option<Step> {
        // Of an app whose file went with the note that it was there, nothing is known: its containers are left alone for good.
        if self.damaged || self.full.is_some() {
            return None;
        }
        let names: Vec<&'static str> = self.apps.keys().copied().collect();
        let name = *names.get(self.random.usize(..names.len().max(1)))?;
        self.apps.remove(name);
        self.taken = true;
        // Should it come back, it has another network.
        self.hit.insert((name.to_owned(), SANDBOX));
        Some(Step::Take(name.to_owned()))
    }

    /// A container that is to be ended.
    fn end(&mut self) -> Option<(String, &'static str)> {
        let apps: Vec<&App> = self.apps.values().collect();
        let app = *apps.get(self.random.usize(..apps.len().max(1)))?;
        let (role, fate) = app.roles()[self.random.usize(..app.roles().len())];
        if fate == Fate::Ended {
            return None;
        }
        let victim = (app.name.clone(), role);
        let ends = self.ends.entry(victim.clone()).or_default();
        if *ends >= ENDS_MAX {
            return None;
        }
        *ends += 1;
        self.hit.insert(victim.clone());
        Some(victim)
    }

    fn agent_ends(&mut self, step: Step) -> Option<Step> {
        std::mem::replace(&mut self.agent_runs, false).then_some(step)
    }
}
