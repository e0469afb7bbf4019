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
/// The same where the links before gave no answer in time: what the agent has to say first, the status of all its apps, is in front of the
/// question, and a slow uplink takes its time over it. Beyond this the keepalive sees more.
const PATIENCE_MAX: Duration = Duration::from_secs(80);

/// Whether a link still answers.
#[derive(Debug)]
pub struct Watch {
    channel: Channel,
    until: Option<Instant>,
    /// How long an answer may take, until the first has shown that the link is quick.
    patience: Duration,
    /// How long the first answer took. Absent until it was there.
    first_took: Option<Duration>,
    /// The link was found silent.
    found_silent: bool,
    /// A set is on its way: what is asked now would be answered behind it, and on a slow link too late.
    paused: bool,
}

impl Watch {
    /// A link that took the place of a `lost` one is watched for a while, any other is not. `patience` is what the watch on the link before says.
    pub fn new(channel: Channel, lost: bool, patience: Duration) -> Self {
        let until = lost.then(|| Instant::now() + PERIOD);
        Self { channel, until, patience, first_took: None, found_silent: false, paused: false }
    }

    /// The link carries what the agent has to say in ordinary time.
    fn is_quick(&self) -> bool {
        self.first_took.is_some_and(|took| took <= ANSWER)
    }

    /// How long an answer may take now.
    pub fn limit(&self) -> Duration {
        if self.is_quick() { ANSWER } else { self.patience }
    }

    /// What the watch on the next link is to begin with.
    pub fn next_patience(&self) -> Duration {
        match (self.is_quick(), self.found_silent) {
            (true, _) => ANSWER,
            (false, true) => PATIENCE_MAX.min(self.patience * 2),
            (false, false) => self.patience,
        }
    }

    /// Nothing is asked while a set is on its way.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Ends when the link has not answered. Cancel-safe: whoever asks again begins with a new question.
    pub async fn silent(&mut self) {
        while !self.paused && self.until.is_some_and(|until| Instant::now() < until) {
            sleep(EVERY).await;
            let asked = Instant::now();
            if timeout(self.limit(), health::answers(self.channel.clone())).await.is_err() {
                self.found_silent = true;
                return;
            }
            self.first_took.get_or_insert(asked.elapsed());
        }
        std::future::pending().await
    }
}
