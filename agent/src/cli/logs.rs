//! `skerry-agent logs`.

use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::LogsArgs;
use super::containers::{Run, find};
use crate::clock::wall_now;
use crate::config::Config;
use crate::engine::LogOptions;

/// Prints to both outputs, as the container wrote to both.
pub async fn logs(args: LogsArgs, config: Config) -> Result<(), String> {
    let LogsArgs { app, container, follow, tail, since, timestamps, previous, place: _ } = args;
    let run = if previous { Run::Previous } else { Run::Present };
    let found = find(&config, &app, container.as_deref(), run).await?;
    let since = since.map(|since| {
        let now = wall_now().0 / 1000;
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        i32::try_from(now.saturating_sub(seconds).max(0)).unwrap_or(i32::MAX)
    });
    let options = LogOptions { follow, tail, since, timestamps };
    let mut chunks = found.docker.logs(&found.id.0, options).await.map_err(|error| error.to_string())?;
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    found.tell(&mut err).await;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        let written = match chunk.is_error {
            true => write(&mut err, &chunk.bytes).await,
            false => write(&mut out, &chunk.bytes).await,
        };
        if written.is_err() {
            // The reader has seen enough, as `head` does.
            return Ok(());
        }
    }
    Ok(())
}

pub(super) async fn write(
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    bytes: &[u8],
) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
