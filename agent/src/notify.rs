//! What systemd is told: that the agent is up, how it is, and that it is alive. Where no systemd asks for it (in a container, by hand),
//! nothing is told and nothing wakes up.
//!
//! Architecture Invariant: the proof of life comes from the supervisor's own loop, and from the one that stands by during an upgrade. A
//! timer task of its own would prove that timers work.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::AppStatus;
use skerry_terms::Phase;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::supervisor::{NodeStanding, Standings};

/// The variables that systemd sets, and that nobody whom the agent starts shall inherit.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// systemd takes messages at once; one that hangs must not hang the agent.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);
/// How much of what the agent is asked for as a proof of life it gives: twice as often, as systemd's manual has it.
const BEATS: u32 = 2;

/// The line to systemd, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    line: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As systemd has set it up for this process.
    pub fn from_environment() -> Self {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
            return Self::default();
        };
        let open = || {
            let line = UnixDatagram::unbound()?;
            line.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok::<_, std::io::Error>((line, address(&socket)?))
        };
        match open() {
            Ok(line) => Self { line: Some(Arc::new(line)), watchdog: watchdog() },
            Err(error) => {
                warn!("systemd cannot be told anything: {}: {error}", socket.display());
                Self::default()
            }
        }
    }

    pub fn is_asked(&self) -> bool {
        self.line.is_some()
    }

    /// The work has begun.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The agent was told to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={line}"));
    }

    /// How long a proof of life is good for, in halves. Absent when none is asked for.
    fn beat_every(&self) -> Option<Duration> {
        self.watchdog.map(|asked| asked / BEATS)
    }

    fn send(&self, message: &str) {
        if let Some((line, address)) = self.line.as_deref() {
            // What systemd did not take is said again by the next message, or was only for people.
            let _ = line.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// `@name` is one of Linux's abstract addresses.
fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| mine && *usec > 0).map(Duration::from_micros)
}

/// The proof of life of one loop: given when it comes by and it is time again.
#[derive(Debug, Default)]
pub struct Pulse {
    notifier: Notifier,
    /// Absent: none is asked for.
    due: Option<Instant>,
}

impl Pulse {
    pub fn new(notifier: Notifier) -> Self {
        let due = notifier.beat_every().map(|_| Instant::now());
        Self { notifier, due }
    }

    /// The loop is here.
    pub fn beat(&mut self) {
        let now = Instant::now();
        if let Some(every) = self.notifier.beat_every()
            && self.due.is_some_and(|due| due <= now)
        {
            self.notifier.send("WATCHDOG=1");
            self.due = Some(now + every);
        }
    }

    /// What a loop waits for, or nothing when it is time to come by again. `next` must be cancel-safe.
    pub async fn or_due<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        match self.due {
            Some(due) => tokio::time::timeout_at(due, next).await.ok(),
            None => Some(next.await),
        }
    }
}

/// Says that the agent is up as soon as it `is_up`, and from then on how it is, as that changes.
pub async fn tell(
    notifier: Notifier,
    is_up: CancellationToken,
    limit: Duration,
    mut node: watch::Receiver<NodeStanding>,
    mut apps: watch::Receiver<Arc<Standings>>,
) {
    // A Docker that neither answers nor refuses must not make systemd give up the agent.
    let _ = tokio::time::timeout(limit, is_up.cancelled()).await;
    notifier.ready();
    let mut told = String::new();
    loop {
        let line = line(&node.borrow_and_update(), &apps.borrow_and_update());
        if line != told {
            notifier.status(&line);
            told = line;
        }
        let changed = tokio::select! {
            changed = node.changed() => changed,
            changed = apps.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn line(node: &NodeStanding, apps: &Standings) -> String {
    let is_well = |status: &AppStatus| status.ready || status.phase == Phase::Succeeded;
    let well = apps.values().filter(|standing| is_well(&standing.status)).count();
    let link = if node.connected { "connected" } else { "not connected" };
    let docker = if node.docker_ready { "" } else { "; docker is not ready" };
    format!("{well} of {} apps well; {link}{docker}", apps.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(receiver: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = receiver.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn line_to(folder: &std::path::Path, watchdog: Option<Duration>) -> (UnixDatagram, Notifier) {
        let path = folder.join("notify");
        let receiver = UnixDatagram::bind(&path).expect("bound");
        receiver.set_nonblocking(true).expect("set");
        let address = address(path.as_os_str()).expect("an address");
        let line = (UnixDatagram::unbound().expect("a socket"), address);
        (receiver, Notifier { line: Some(Arc::new(line)), watchdog })
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_comes_by_in_time_and_one_that_is_stuck_is_silent() {
        let folder = tempfile::tempdir().expect("a folder");
        let (receiver, notifier) = line_to(folder.path(), Some(Duration::from_secs(60)));
        let mut pulse = Pulse::new(notifier);
        for _ in 0..3 {
            pulse.beat();
            assert_eq!(heard(&receiver), "WATCHDOG=1");
            pulse.beat();
            assert_eq!(heard(&receiver), "", "not before it is time");
            let before = Instant::now();
            assert_eq!(pulse.or_due(std::future::pending::<()>()).await, None);
            assert_eq!(before.elapsed().as_secs(), 30);
        }
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(heard(&receiver), "", "nobody else speaks for the loop");
    }

    #[tokio::test(start_paused = true)]
    async fn without_systemd_nothing_wakes_up() {
        let mut pulse = Pulse::new(Notifier::default());
        pulse.beat();
        let never = pulse.or_due(std::future::pending::<()>());
        assert!(tokio::time::timeout(Duration::from_secs(86_400), never).await.is_err());
    }

    #[test]
    fn an_abstract_address_is_understood() {
        let address = address(OsStr::new("@skerry-test")).expect("an address");
        assert_eq!(address.as_abstract_name(), Some(&b"skerry-test"[..]));
    }
}
