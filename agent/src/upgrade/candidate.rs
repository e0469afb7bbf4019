//! What a binary says of itself before anything is risked for it: it is for this machine, it is an agent that knows how to take over, and it
//! can read what this box has. It touches nothing while it looks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::place::RUNNING;
use crate::cli::SELF_CHECK;
use crate::notify;

/// How a new agent takes over from an old one. Another number: they do not understand each other.
pub const HAND_OVER: u32 = 1;
/// Who answers, so that no other program's JSON is taken for an answer.
const NAME: &str = "skerry-agent";
/// Reading the state of a full box takes seconds on slow flash; Docker may take some, too.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer is a few hundred bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// How much of a failing candidate's words are passed on.
const WORDS_MAX: usize = 400;

/// What an agent says of itself on this box. Fields are added, never changed: agents of all versions read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub name: String,
    pub version: String,
    pub hand_over: u32,
    /// Why Docker does not answer it. Absent when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<String>,
    /// What of this box it cannot work with, each in words.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl Answer {
    /// Of this agent.
    pub fn new(docker: Option<String>, problems: Vec<String>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { name: NAME.to_owned(), version, hand_over: HAND_OVER, docker, problems }
    }

    /// Fails with what speaks against it. A Docker that does not answer the running agent either is no fault of the candidate.
    pub(super) fn judge(&self, docker_answers: bool) -> Result<(), String> {
        let Self { name, version, hand_over, docker, problems } = self;
        if name != NAME {
            return Err(format!("it is {name}, no {NAME}"));
        }
        if *hand_over != HAND_OVER {
            return Err(format!(
                "version {version} takes over in another way than this one ({hand_over} instead of {HAND_OVER}); put it in place and restart the agent, containers run on meanwhile"
            ));
        }
        if !problems.is_empty() {
            return Err(format!("version {version}: {}", problems.join("; ")));
        }
        match docker {
            Some(why) if docker_answers => Err(format!("version {version} does not reach Docker: {why}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// The part of an executable that says for which machine it is.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    bits: u8,
    byte_order: u8,
    machine: u16,
}

impl Machine {
    fn of(header: &[u8; 20]) -> Option<Self> {
        let (bits, byte_order) = (header[4], header[5]);
        let raw = [header[18], header[19]];
        let machine = if byte_order == 2 { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) };
        header.starts_with(b"\x7fELF").then_some(Self { bits, byte_order, machine })
    }

    fn name(&self) -> String {
        match (self.machine, self.bits) {
            (3, _) => "386".to_owned(),
            (40, _) => "arm".to_owned(),
            (62, _) => "amd64".to_owned(),
            (183, _) => "arm64".to_owned(),
            (243, 2) => "riscv64".to_owned(),
            (machine, _) => format!("machine {machine}"),
        }
    }
}

/// Fails when the file is no executable like the one that runs.
pub(super) fn fits(path: &Path) -> Result<(), String> {
    let header = |path: &Path| -> io::Result<[u8; 20]> {
        let mut header = [0; 20];
        File::open(path)?.read_exact(&mut header)?;
        Ok(header)
    };
    let own = header(Path::new(RUNNING)).ok().and_then(|header| Machine::of(&header));
    let found = match header(path) {
        Ok(found) => Machine::of(&found),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(error.to_string()),
    };
    match (found, own) {
        (None, _) => Err("it is no executable of Linux (no ELF file)".to_owned()),
        (Some(found), Some(own)) if found != own => {
            Err(format!("it is built for {}, and this box needs {}", found.name(), own.name()))
        }
        (Some(_), _) => Ok(()),
    }
}

/// Asks it, with the arguments that the running agent has.
pub(super) async fn ask(candidate: &Path, arguments: &[String]) -> Result<Answer, String> {
    let mut command = Command::new(candidate);
    command.arg(SELF_CHECK).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in notify::VARIABLES {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let talk = async {
        let (said, complained) = tokio::join!(take(stdout), take(stderr));
        child.wait().await.map(|status| (said, complained, status))
    };
    match tokio::time::timeout(ASK_TIMEOUT, talk).await {
        Ok(Ok((said, complained, status))) => {
            serde_json::from_slice(&said).map_err(|_| unlike_an_agent(&complained, status))
        }
        Ok(Err(error)) => Err(format!("it cannot be waited for: {error}")),
        Err(_elapsed) => Err(format!("it said nothing of itself within {} s", ASK_TIMEOUT.as_secs())),
    }
}

async fn take(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What comes beyond is dropped with the pipe; the writer ends or is killed.
        let _ = stream.take(ANSWER_MAX).read_to_end(&mut bytes).await;
    }
    bytes
}

fn unlike_an_agent(complained: &[u8], status: std::process::ExitStatus) -> String {
    let words = String::from_utf8_lossy(complained);
    let words: String =
        words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS_MAX).collect();
    let words = if words.is_empty() { "nothing".to_owned() } else { words };
    format!(
        "it does not answer as a skerry-agent that can take over; it ended with {status} and said: {words}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_executable_of_this_machine_is_refused_by_name() {
        fits(Path::new(RUNNING)).expect("what runs fits");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent");
        let mut header = [0; 64];
        File::open(RUNNING).and_then(|mut own| own.read_exact(&mut header)).expect("read");
        header[18] = 21;
        for (content, words) in [
            (&b"#!/bin/sh\nexit 0\n# longer than a header\n"[..], "no ELF file"),
            (&b"short"[..], "no ELF file"),
            (&header[..], "built for machine 21"),
        ] {
            std::fs::write(&path, content).expect("written");
            let why = fits(&path).expect_err("refused");
            assert!(why.contains(words), "{why}");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_no_agent_is_quoted() {
        let why = ask(Path::new("/bin/ls"), &[]).await.expect_err("no agent");
        assert!(why.contains("does not answer as a skerry-agent") && why.contains(SELF_CHECK), "{why}");
        let why = ask(Path::new("/nonexistent/agent"), &[]).await.expect_err("nothing");
        assert!(why.starts_with("it cannot be started"), "{why}");
    }

    #[test]
    fn what_speaks_against_it_is_told_and_what_is_no_fault_of_its_own_is_not() {
        let good = Answer::new(None, Vec::new());
        assert_eq!(good.judge(true), Ok(()));
        let blind = Answer::new(Some("no socket".to_owned()), Vec::new());
        assert_eq!(blind.judge(false), Ok(()), "nobody reaches Docker");
        assert!(blind.judge(true).expect_err("refused").contains("no socket"));
        let unable = Answer::new(None, vec!["desired.bin is of a newer format".to_owned()]);
        assert!(unable.judge(false).expect_err("refused").contains("newer format"));
        let later = Answer { hand_over: HAND_OVER + 1, ..good.clone() };
        assert!(later.judge(true).expect_err("refused").contains("restart the agent"));
        let other = Answer { name: "ls".to_owned(), ..good };
        assert!(other.judge(true).is_err());
    }
}
