//! A network in memory that can be cut in the ways that real ones are, in time that may be paused. Bytes of a cut link are held as TCP holds
//! them: they are sent again later and later, or never arrive.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// One way.
const LATENCY: Duration = Duration::from_millis(40);
/// What a connection takes before its writer has to wait.
const BUFFER: usize = 64 << 10;
/// When a packet that got no answer is sent again: Linux' first wait, doubled each time.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// The same for the packet that opens a connection.
const SYN_RETRANSMIT: Duration = Duration::from_secs(1);

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see it at once, and dials are refused.
    Clean,
    /// Packets vanish. The peer has the connection still when the link is back.
    Silent,
    /// Packets vanish, and meanwhile the peer has forgotten the connection: its first packet afterwards is answered by a reset.
    Forgotten,
    /// The same, and somebody in between has forgotten it: nothing is ever answered.
    Swallowed,
}

pub const CUTS: [Cut; 4] = [Cut::Clean, Cut::Silent, Cut::Forgotten, Cut::Swallowed];

/// The network between one agent and one server. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Network {
    cut: watch::Sender<Option<Cut>>,
    /// How long what the agent says takes to arrive.
    up: Duration,
    accept: mpsc::Sender<io::Result<DuplexStream>>,
}

impl Network {
    /// Connections arrive at the other end of `accept`.
    pub fn new(accept: mpsc::Sender<io::Result<DuplexStream>>) -> Self {
        Self { cut: watch::Sender::new(None), up: LATENCY, accept }
    }

    /// One on which the agent's words take so long: behind them, the same as a thin uplink that is busy.
    pub fn with_slow_uplink(self, up: Duration) -> Self {
        Self { up, ..self }
    }

    pub fn cut(&self, how: Cut) {
        self.cut.send_replace(Some(how));
    }

    pub fn mend(&self) {
        self.cut.send_replace(None);
    }

    /// A connection, when the network gives one.
    pub async fn dial(&self) -> io::Result<DuplexStream> {
        let mut wait = SYN_RETRANSMIT;
        loop {
            let cut = *self.cut.borrow();
            match cut {
                None => break,
                Some(Cut::Clean) => return Err(io::ErrorKind::NetworkUnreachable.into()),
                Some(Cut::Silent | Cut::Forgotten | Cut::Swallowed) => sleep(wait).await,
            }
            wait *= 2;
        }
        sleep(2 * LATENCY).await;
        let ((ours, near), (far, theirs)) = (duplex(BUFFER), duplex(BUFFER));
        let gone = || io::Error::from(io::ErrorKind::ConnectionRefused);
        self.accept.send(Ok(theirs)).await.map_err(|_| gone())?;
        tokio::spawn(carry(near, far, self.up, self.cut.subscribe()));
        Ok(ours)
    }
}

/// Bytes on their way in one direction, and when they arrive at the earliest.
type Flight = VecDeque<(Instant, Vec<u8>)>;

/// Carries bytes between the agent's end and the server's until one of them, or a cut, ends it.
async fn carry(
    mut near: DuplexStream,
    far: DuplexStream,
    latency_up: Duration,
    mut cuts: watch::Receiver<Option<Cut>>,
) {
    let mut far = Some(far);
    let (mut up, mut down) = (Flight::new(), Flight::new());
    let (mut from_near, mut from_far) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    // Once packets of this connection get no answer any more, they never do.
    let mut swallowed = false;
    loop {
        let cut = *cuts.borrow_and_update();
        match cut {
            Some(Cut::Clean) => return,
            Some(Cut::Forgotten) => far = None,
            Some(Cut::Swallowed) => (far, swallowed) = (None, true),
            Some(Cut::Silent) | None => {}
        }
        let open = cut.is_none() && !swallowed;
        let due = [&up, &down].into_iter().filter_map(|flight| Some(flight.front()?.0)).min();
        tokio::select! {
            changed = cuts.changed() => if changed.is_err() { return },
            read = near.read(&mut from_near) => match read {
                Ok(count @ 1..) => up.push_back((Instant::now() + latency_up, from_near[..count].to_vec())),
                Ok(0) | Err(_) => return,
            },
            read = async {
                match &mut far {
                    Some(far) => far.read(&mut from_far).await,
                    None => std::future::pending().await,
                }
            } => match read {
                Ok(count @ 1..) => down.push_back((Instant::now() + LATENCY, from_far[..count].to_vec())),
                // The server has ended it. What it said before still arrives, where anything does.
                Ok(0) | Err(_) if open => return,
                Ok(0) | Err(_) => far = None,
            },
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                let now = Instant::now();
                if !open {
                    for flight in [&mut up, &mut down] {
                        flight.iter_mut().filter(|(at, _)| *at <= now).for_each(|(at, _)| *at = again(*at, now));
                    }
                    continue;
                }
                // A reset: whoever is at the other end does not know this connection.
                let Some(far) = &mut far else { return };
                if deliver(&mut up, far, now).await.is_err() || deliver(&mut down, &mut near, now).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// When what was to arrive at `at` and was lost is tried again: the waits double, as far as time has gone.
fn again(at: Instant, now: Instant) -> Instant {
    let waited = now.duration_since(at);
    now + waited.max(RETRANSMIT)
}

async fn deliver(flight: &mut Flight, to: &mut DuplexStream, now: Instant) -> io::Result<()> {
    // In order: what comes behind waits for what is in front.
    while flight.front().is_some_and(|(at, _)| *at <= now) {
        let Some((_, bytes)) = flight.pop_front() else { break };
        to.write_all(&bytes).await?;
    }
    Ok(())
}
