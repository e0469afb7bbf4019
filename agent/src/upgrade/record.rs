//! What became of the last upgrade, on disk: for whoever asks, and for the agent's next start. A new agent is on probation for its first
//! minutes; one that keeps ending badly in them gives way to the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

const FILE: &str = "upgrade.json";
const TEMPORARY: &str = "upgrade.tmp";
const SIZE_MAX: u64 = 64 << 10;

/// How long a new agent must run before it is trusted.
pub const PROBATION: Duration = Duration::from_secs(600);
/// Starts of a new agent on probation without an orderly end in between. The next gives way. Restarts of the box are not counted: a
/// person at the power switch is no fault of the agent's.
const STARTS_MAX: u32 = 3;

/// The last upgrade. Agents of all versions read it: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Tells this attempt from the one before.
    pub id: String,
    pub from: String,
    pub to: String,
    /// RFC 3339, of the last change.
    pub at: String,
    pub outcome: Outcome,
    /// Why it gave way. Empty where there is nothing to say.
    #[serde(default)]
    pub message: String,
    /// Of the new binary's file.
    #[serde(default)]
    pub inode: u64,
    /// On probation: starts since the last orderly end or start of the box.
    #[serde(default)]
    pub starts: u32,
    #[serde(default)]
    pub boot_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The new agent is being tried.
    Trying,
    /// The new agent runs, and has yet to be trusted.
    OnProbation,
    /// The new agent runs.
    TookOver,
    /// The new agent did not stand; the old one runs.
    GaveWay,
    /// The new agent stood, and kept ending badly afterwards; the old one runs.
    WentBack,
}

/// What an agent that starts finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The file that this process was started from.
    pub running: Option<u64>,
    /// The binary that was tried is still beside it.
    pub candidate_is_left: bool,
    pub boot_id: String,
}

/// What an agent that starts does about the record that it finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It goes on.
    AsItIs,
    /// It goes on, and writes this first.
    Noting(Record),
    /// It puts the one before in its place, and writes this.
    GoingBack(Record),
}

impl Record {
    pub fn with(self, outcome: Outcome, message: String) -> Self {
        Self { outcome, message, at: now(), ..self }
    }

    pub fn at_start(self, seen: &Seen) -> Start {
        let Seen { running, candidate_is_left, boot_id } = seen;
        match self.outcome {
            Outcome::TookOver | Outcome::GaveWay | Outcome::WentBack => Start::AsItIs,
            Outcome::Trying => Start::Noting(self.cut_off()),
            // It had to give way, and that could not be written down: the one before was put in place first.
            Outcome::OnProbation if *running != Some(self.inode) && self.starts >= STARTS_MAX => {
                Start::Noting(self.went_back())
            }
            // The power went between this note and the exchange.
            Outcome::OnProbation if *running != Some(self.inode) && *candidate_is_left => {
                Start::Noting(self.cut_off())
            }
            Outcome::OnProbation if *running != Some(self.inode) => {
                let message = "another binary was put in place since".to_owned();
                Start::Noting(self.with(Outcome::TookOver, message))
            }
            Outcome::OnProbation if self.boot_id != *boot_id => {
                Start::Noting(Self { starts: 1, boot_id: boot_id.clone(), ..self })
            }
            Outcome::OnProbation if self.starts < STARTS_MAX => {
                Start::Noting(Self { starts: self.starts.saturating_add(1), ..self })
            }
            Outcome::OnProbation => Start::GoingBack(self.went_back()),
        }
    }

    fn went_back(self) -> Self {
        let message = format!(
            "version {} ended {} times without being told to, each time within {} minutes",
            self.to,
            self.starts,
            PROBATION.as_secs() / 60
        );
        self.with(Outcome::WentBack, message)
    }

    fn cut_off(self) -> Self {
        self.with(Outcome::GaveWay, "it was cut off before the new agent stood".to_owned())
    }

    /// The agent was told to end: that is no fault of its.
    pub fn at_orderly_end(self) -> Option<Self> {
        (self.outcome == Outcome::OnProbation && self.starts > 0).then_some(Self { starts: 0, ..self })
    }
}

/// The moment, as people read it.
pub fn now() -> String {
    crate::admin::view::time(crate::clock::wall_now())
}

/// Where the record is.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.to_owned() }
    }

    /// Absent where there was no upgrade, or none that can be read: it is worth no more than a line of status.
    pub fn read(&self) -> Option<Record> {
        let mut bytes = Vec::new();
        File::open(self.folder.join(FILE)).ok()?.take(SIZE_MAX).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// When this returns, a power cut does not lose it.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let (path, temporary) = (self.folder.join(FILE), self.folder.join(TEMPORARY));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome) -> Record {
        Record {
            id: "1".to_owned(),
            from: "0.1.0".to_owned(),
            to: "0.2.0".to_owned(),
            at: now(),
            outcome,
            message: String::new(),
            inode: 7,
            starts: 0,
            boot_id: "a".to_owned(),
        }
    }

    fn seen(running: u64, boot_id: &str) -> Seen {
        Seen { running: Some(running), candidate_is_left: false, boot_id: boot_id.to_owned() }
    }

    fn start(record: Record, boot_id: &str) -> Record {
        let start = record.at_start(&seen(7, boot_id));
        let Start::Noting(record) = start else { panic!("{start:?}") };
        record
    }

    #[test]
    fn one_that_keeps_ending_badly_goes_back_and_one_that_is_told_to_end_does_not() {
        let mut crashing = record(Outcome::OnProbation);
        for _ in 0..STARTS_MAX {
            crashing = start(crashing, "a");
        }
        let Start::GoingBack(back) = crashing.clone().at_start(&seen(7, "a")) else { panic!("{crashing:?}") };
        assert_eq!(back.outcome, Outcome::WentBack);
        assert!(back.message.contains("0.2.0 ended 3 times"), "{}", back.message);
        // The disk did not take that, and the one before has started.
        let Start::Noting(noted) = crashing.clone().at_start(&seen(8, "a")) else { panic!("{crashing:?}") };
        assert_eq!((noted.outcome, noted.message), (Outcome::WentBack, back.message));

        let mut told = record(Outcome::OnProbation);
        for _ in 0..20 {
            told = start(told, "a").at_orderly_end().expect("it counts anew");
        }
    }

    #[test]
    fn starts_of_the_box_are_not_counted() {
        let mut rebooted = record(Outcome::OnProbation);
        for boot in 0..20 {
            rebooted = start(rebooted, &boot.to_string());
        }
        assert_eq!(rebooted.starts, 1);
    }

    #[test]
    fn what_was_cut_off_is_told_and_nothing_is_exchanged() {
        let left = Seen { candidate_is_left: true, ..seen(8, "a") };
        for outcome in [Outcome::Trying, Outcome::OnProbation] {
            let Start::Noting(noted) = record(outcome).at_start(&left) else { panic!("{outcome:?}") };
            assert_eq!(noted.outcome, Outcome::GaveWay, "{outcome:?}");
        }
        let replaced = record(Outcome::OnProbation).at_start(&seen(8, "a"));
        assert!(
            matches!(&replaced, Start::Noting(noted) if noted.outcome == Outcome::TookOver),
            "{replaced:?}"
        );
        for outcome in [Outcome::TookOver, Outcome::GaveWay, Outcome::WentBack] {
            assert_eq!(record(outcome).at_start(&seen(7, "a")), Start::AsItIs);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = Records::new(folder.path());
        assert_eq!(records.read(), None);
        records.write(&record(Outcome::Trying)).expect("written");
        records.write(&record(Outcome::GaveWay)).expect("written");
        assert_eq!(records.read().map(|record| record.outcome), Some(Outcome::GaveWay));
        fs::write(folder.path().join(FILE), "{").expect("written");
        assert_eq!(records.read(), None);
    }
}
