//! Waiting for a state, with a bound. No test sleeps for a guessed time.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a busy machine; a test that needs it has failed.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often a predicate is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Waits until `look` returns `Ok`. Its last answer is the error when the time is over.
pub async fn eventually<T, E, F, Fut>(what: &str, look: F) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    within(LIMIT, what, look).await
}

/// The same for what takes longer by its nature, or must be faster.
pub async fn within<T, E, F, Fut>(limit: Duration, what: &str, mut look: F) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > limit => {
                bail!("{what}: not within {} s; last seen: {error:#}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

/// Looks again and again for `time`, and fails as soon as `look` does: for what must not happen.
pub async fn holds_for<E, F, Fut>(what: &str, time: Duration, mut look: F) -> Result<()>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(error) = look().await {
            bail!("{what}: no longer after {:?}: {error:#}", start.elapsed());
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}
