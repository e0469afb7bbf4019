//! A TCP link on loopback that can be cut, go deaf, be slow, or stop after so many bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Open,
    /// Every connection is reset, and new ones are refused as soon as they are made.
    Cut,
    /// Connections stand and are made, and nothing comes through: what a cut looks like from both ends where nobody says so.
    Deaf,
    /// So many bytes in each direction, each after a while.
    Slow {
        bytes_per_second: u32,
        delay: Duration,
    },
    /// So many bytes of all answers together come through, then it is deaf.
    Stalls {
        after: u64,
    },
}

/// A link to a port of loopback. Ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect to.
    pub port: u16,
    condition: watch::Sender<Condition>,
    carried: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (condition, follow) = watch::channel(Condition::Open);
        let carried = Arc::new(AtomicU64::new(0));
        let counter = carried.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, ([127, 0, 0, 1], target).into(), follow.clone(), counter.clone()));
            }
        });
        Ok(Self { port, condition, carried, task })
    }

    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// Bytes of answers that came through.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Condition::Cut);
    }
}

async fn carry(
    near: TcpStream,
    target: SocketAddr,
    mut condition: watch::Receiver<Condition>,
    carried: Arc<AtomicU64>,
) {
    let mut cut = condition.clone();
    let both = async {
        // A deaf link takes the connection and hands nothing on.
        condition.wait_for(|now| *now != Condition::Deaf).await.ok()?;
        let far = TcpStream::connect(target).await.ok()?;
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        tokio::select! {
            () = pump(near_in, far_out, condition.clone(), None) => {}
            () = pump(far_in, near_out, condition.clone(), Some(carried)) => {}
        }
        Some(())
    };
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|now| *now == Condition::Cut) => {}
    }
}

/// One direction, until it ends. `count` takes note of what came through.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut condition: watch::Receiver<Condition>,
    count: Option<Arc<AtomicU64>>,
) {
    let mut bytes = [0; 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut bytes).await else { return };
        let stalled = |now: &Condition| match (now, &count) {
            (Condition::Deaf, _) => true,
            (Condition::Stalls { after }, Some(count)) => count.load(Ordering::Relaxed) >= *after,
            (Condition::Stalls { .. } | Condition::Open | Condition::Cut | Condition::Slow { .. }, _) => {
                false
            }
        };
        let Ok(now) = condition.wait_for(|now| !stalled(now)).await.map(|now| *now) else { return };
        if let Condition::Slow { bytes_per_second, delay } = now {
            let share = f64::from(u32::try_from(length).unwrap_or(u32::MAX)) / f64::from(bytes_per_second);
            tokio::time::sleep(delay + Duration::from_secs_f64(share)).await;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
        if let Some(count) = &count {
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}
