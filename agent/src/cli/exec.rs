//! `skerry-agent exec`.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use super::ExecArgs;
use super::containers::{Run, find};
use super::logs::write;
use super::terminal::{Raw, is_terminal, size};
use crate::config::Config;
use crate::engine::Interactive;

/// Between a command's last output and Docker's knowledge of its exit code lies a moment.
const CODE_RETRY: Duration = Duration::from_millis(20);
const CODE_TRIES: usize = 250;
const INPUT_BUFFER: usize = 8 << 10;

/// The command's exit code.
pub async fn exec(args: ExecArgs, config: Config) -> Result<i64, String> {
    let ExecArgs { app, container, stdin, tty, command, place: _ } = args;
    if tty && stdin && !is_terminal() {
        return Err("standard input is no terminal: leave out -t".to_owned());
    }
    let found = find(&config, &app, container.as_deref(), Run::Present).await?;
    found.tell(&mut tokio::io::stderr()).await;
    let words = |error: crate::engine::EngineError| error.to_string();
    let mut running =
        found.docker.exec_interactive(&found.id.0, &command, tty, stdin).await.map_err(words)?;
    let raw = match tty && is_terminal() {
        true => Some(Raw::begin().map_err(|error| format!("cannot use this terminal: {error}"))?),
        false => None,
    };
    let ended = talk(&mut running, tty).await;
    drop(raw);
    ended?;
    for _ in 0..CODE_TRIES {
        if let Some(code) = running.exit_code().await.map_err(words)? {
            return Ok(code);
        }
        tokio::time::sleep(CODE_RETRY).await;
    }
    Err("docker does not say how the command ended".to_owned())
}

/// Passes on what both sides say, until the command has no more.
async fn talk(running: &mut Interactive, tty: bool) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    if tty && let Some((width, height)) = size() {
        // It may have ended already.
        let _ = running.resize(width, height).await;
    }
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    let input = running.input.take();
    let feed = tokio::spawn(async move {
        let Some(mut input) = input else { return };
        let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0; INPUT_BUFFER]);
        loop {
            match stdin.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) if input.write_all(&buffer[..count]).await.is_err() => return,
                Ok(_) => {
                    let _ = input.flush().await;
                }
            }
        }
        let _ = input.shutdown().await;
    });
    let ended = loop {
        tokio::select! {
            chunk = running.output.next() => match chunk {
                None => break Ok(()),
                Some(Err(error)) => break Err(error.to_string()),
                Some(Ok(chunk)) => {
                    let written = match chunk.is_error {
                        true => write(&mut err, &chunk.bytes).await,
                        false => write(&mut out, &chunk.bytes).await,
                    };
                    if let Err(error) = written {
                        break Err(error.to_string());
                    }
                }
            },
            Some(()) = resized.recv(), if tty => {
                if let Some((width, height)) = size() {
                    let _ = running.resize(width, height).await;
                }
            }
        }
    };
    feed.abort();
    ended
}
