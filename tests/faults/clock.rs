//! The box's clock jumps under the agent. What waits goes on waiting as long as it would have, and nothing is restarted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use skerry_tests::{Outpost, OutpostOptions, eventually, holds_for};
use tempfile::TempDir;

use crate::apps::{App, Kind, bystander};
use crate::check::{Seen, containers, settled, untouched};

/// Debian's place for its architecture; the one for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// Before the second restart of a container.
const BACK_OFF: Duration = Duration::from_secs(10);
/// Long enough for a restart that must not happen to happen.
const QUIET: Duration = Duration::from_secs(1);

/// What the agent reads as the time of day.
#[derive(Debug)]
pub struct Clock {
    dir: TempDir,
    library: PathBuf,
}

impl Clock {
    pub fn new() -> Result<Self> {
        let mut entries = std::fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join(LIBRARY));
        let library = entries.find(|path| path.exists());
        let library = library.context("libfaketime is missing: run `tests/host/prepare.sh --faults`")?;
        let clock = Self { dir: tempfile::tempdir()?, library };
        clock.set(0)?;
        Ok(clock)
    }

    /// What the agent is started with.
    pub fn env(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // A clock that is set leaves the kernel's other clocks alone.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// So many seconds off.
    pub fn set(&self, offset: i64) -> Result<()> {
        // At once: a file that is half written would be the real time.
        let unfinished = self.dir.path().join("unfinished");
        std::fs::write(&unfinished, format!("{offset:+}"))?;
        Ok(std::fs::rename(unfinished, self.file())?)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

/// In seconds.
pub const HOUR: i64 = 3600;
pub const YEAR: i64 = 365 * 24 * HOUR;

pub async fn a_clock_that_jumps_neither_restarts_nor_delays_anything() -> Result<()> {
    let clock = Clock::new()?;
    let mut outpost = Outpost::new(OutpostOptions { env: clock.env(), ..OutpostOptions::default() })?;
    let mut app = App::new("app", Kind::Pod, 1);
    // What ends for the second time is started again after a back-off of ten seconds.
    let dies = App::new("dies", Kind::Single, 1);
    let all = |app: &App| [bystander(), dies.clone(), app.clone()];
    for app in all(&app) {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let mut before = settled(&outpost, &all(&app)).await?;
    kill(&outpost, &before).await?;
    before = settled(&outpost, &all(&app)).await?;
    let died = Instant::now();
    kill(&outpost, &before).await?;
    before.retain(|one| one.app != "dies");
    for offset in [HOUR, -HOUR, YEAR, -YEAR] {
        clock.set(offset)?;
        holds_for("what runs runs on", QUIET, || async {
            let now = containers(&outpost).await?;
            let again = now.iter().any(|one| one.app == "dies" && one.running);
            ensure!(!again || died.elapsed() >= BACK_OFF, "the back-off was cut short: {:?}", died.elapsed());
            untouched(&before, &now)
        })
        .await?;
        app.value += 1;
        app.put(&outpost)?;
        let wanted = [bystander(), app.clone()];
        eventually("the change is made", || async {
            let now = containers(&outpost).await?;
            let changed = |one: &&Seen| one.app == "app" && one.value == Some(app.value);
            ensure!(now.iter().filter(changed).count() == wanted[1].roles().len() - 1, "{now:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    let year = |log: &str, year: &str| log.lines().any(|line| line.starts_with(year));
    let this = this_year()?;
    let log = outpost.output();
    ensure!(
        year(&log, &(this + 1).to_string()) && year(&log, &(this - 1).to_string()),
        "the clock did not jump"
    );
    let after = settled(&outpost, &all(&app)).await?;
    untouched(&before, &after)
}

async fn kill(outpost: &Outpost, seen: &[Seen]) -> Result<()> {
    let victim = seen.iter().find(|one| one.app == "dies").context("it is there")?;
    outpost.options.host.run(&["kill", &victim.id]).await.map(drop)
}

fn this_year() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    // Of a mean length: a day off at its ends.
    Ok(1970 + since.as_secs() / 31_556_952)
}
