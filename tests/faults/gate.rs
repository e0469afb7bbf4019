//! Stops an agent at any line of its log, before the line is out: its log goes into a pipe that is full, so that the agent waits in the kernel
//! until something is taken from it. The executor says each step before it does it; so a crash is placed exactly between two steps, and
//! the agent knows nothing of being tested.

use std::fs::{self, File};
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};
use skerry_tests::{Daemon, Outpost};

/// Between two looks at what the agent does.
const STEP: Duration = Duration::from_micros(500);
/// Longest line: a page, which in packet mode is one place of the pipe.
const LINE_MAX: usize = 4096;
/// The words that begin the line of a step.
const VERBS: [&str; 10] =
    ["pull", "project", "create", "start", "postStart", "update", "names", "stop", "remove", "discard"];

/// An agent whose log is let through line by line.
#[derive(Debug)]
pub struct Gate {
    pipe: PipeReader,
    pid: u32,
    log: File,
    /// Bytes in the pipe while the line that was let through last is not in it yet.
    without: u64,
}

impl Gate {
    /// Starts the outpost's agent behind a gate that is shut.
    pub fn start(outpost: &mut Outpost) -> Result<Self> {
        let (reader, mut writer) = std::io::pipe()?;
        // In packet mode each line takes a place of its own, however short it is.
        let flags = fcntl_getfl(&writer)? | OFlags::DIRECT;
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK)?;
        let full = loop {
            if let Err(error) = writer.write_all(FILLER) {
                break error;
            }
        };
        ensure!(full.raw_os_error() == Some(Errno::AGAIN.raw_os_error()), "the pipe broke: {full}");
        fcntl_setfl(&writer, flags)?;
        let path = outpost.log();
        let log = File::options().create(true).append(true).open(&path)?;
        let mut command = outpost.command()?;
        command.env("SKERRY_LOG_LEVEL", "info");
        let agent = Daemon::spawn_into(command, "agent", &path, OwnedFd::from(writer))?;
        let pid = agent.pid();
        outpost.adopt(agent);
        fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
        Ok(Self { pipe: reader, pid, log, without: 0 })
    }

    /// The line that the agent is about to write and waits with. `None` if there is none within `limit`.
    pub async fn held(&self, limit: Duration) -> Result<Option<String>> {
        let start = Instant::now();
        loop {
            if let Some(line) = self.waiting()? {
                return Ok(Some(line));
            }
            if start.elapsed() > limit {
                return Ok(None);
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Takes the oldest line, so that the one that is held gets out and the agent goes on.
    pub fn pass(&mut self) -> Result<()> {
        let all = ioctl_fionread(&self.pipe)?;
        let taken = self.take()?;
        self.without = all.saturating_sub(taken as u64);
        Ok(())
    }

    /// Everything passes from now on.
    pub fn open(mut self) -> Result<()> {
        fcntl_setfl(&self.pipe, fcntl_getfl(&self.pipe)? - OFlags::NONBLOCK)?;
        std::thread::spawn(move || while self.take().is_ok_and(|taken| taken > 0) {});
        Ok(())
    }

    /// Moves a line into the log; its length.
    fn take(&mut self) -> std::io::Result<usize> {
        let mut line = [0; LINE_MAX];
        let length = self.pipe.read(&mut line)?;
        if line[..length] != *FILLER {
            self.log.write_all(&line[..length])?;
        }
        Ok(length)
    }

    /// What a thread of the agent waits to write to standard error, as the kernel says.
    fn waiting(&self) -> Result<Option<String>> {
        // What is being written is still the line that was let through.
        if ioctl_fionread(&self.pipe)? <= self.without {
            return Ok(None);
        }
        let tasks = match fs::read_dir(format!("/proc/{}/task", self.pid)) {
            Ok(tasks) => tasks,
            Err(error) => bail!("the agent is gone: {error}"),
        };
        for task in tasks.flatten() {
            // Number of the call and its arguments; `running` for a thread that is in none.
            let Ok(call) = fs::read_to_string(task.path().join("syscall")) else { continue };
            let mut words = call.split_whitespace();
            if !words.next().is_some_and(|number| WRITE.contains(&number)) {
                continue;
            }
            let mut number =
                || words.next().and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
            let (Some(2), Some(address), Some(length)) = (number(), number(), number()) else { continue };
            let mut text = vec![0; usize::try_from(length)?.min(LINE_MAX)];
            let memory = File::open(task.path().join("mem")).context("look into the agent")?;
            if memory.read_exact_at(&mut text, address).is_ok() {
                return Ok(Some(String::from_utf8_lossy(&text).trim_end().to_owned()));
            }
        }
        Ok(None)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // What the agent said last is still in the pipe.
        while self.take().is_ok_and(|taken| taken > 0) {}
    }
}

/// What the pipe is full of at first. No line of an agent's is as short.
const FILLER: &[u8] = b"\n";

/// The number of write(2): x86-64's, and that of the newer architectures.
const WRITE: [&str; 2] = ["1", "64"];

/// The step that a line announces: its verb.
pub fn step(line: &str) -> Option<&str> {
    let (_, message) = line.split_once(" INFO ")?;
    let verb = message.split_whitespace().next()?;
    (VERBS.contains(&verb) && message.contains(" app=")).then_some(verb)
}
