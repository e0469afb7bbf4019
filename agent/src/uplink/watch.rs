//! A link that took the place of a lost one is asked more often than one that has long been steady: where one cut was, another is near, and
//! the keepalive, which costs a metered link bytes for ever, would see a silent one only after more than a minute.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use super::health;

/// How long a link is watched after the one before was lost.
const PERIOD: Duration = Duration::from_secs(600);
/// Between questions.
const EVERY: Duration = Duration::from_secs(4);
/// How long an answer may take. Nothing large is under way meanwhile, see `pause` of [`Watch`].
pub const ANSWER: Duration = Duration::from_secs(5);

/// Whether a link still answers.
#[derive(Debug)]
pub struct Watch {
    channel: Channel,
    until: Option<Instant>,
    /// A set is on its way: what is asked now would be answered behind it, and on a slow link too late.
    paused: bool,
}

impl Watch {
    /// A link that took the place of a `lost` one is watched for a while, any other is not.
    pub fn new(channel: Channel, lost: bool) -> Self {
        Self { channel, until: lost.then(|| Instant::now() + PERIOD), paused: false }
    }

    /// Nothing is asked while a set is on its way.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Ends when the link has not answered. Cancel-safe: whoever asks again begins with a new question.
    pub async fn silent(&self) {
        while !self.paused && self.until.is_some_and(|until| Instant::now() < until) {
            sleep(EVERY).await;
            if timeout(ANSWER, health::answers(self.channel.clone())).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }
}
