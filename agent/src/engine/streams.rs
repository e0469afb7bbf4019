//! A container's log and commands in it for a person: streams without an end of their own. The command line passes them on.

use std::fmt;
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::LogsOptionsBuilder;
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWrite;

use super::EngineError;
use super::docker::{ASK_TIMEOUT, Docker, bounded};
use super::refusal::classify;

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on when the end is reached, until the container ends.
    pub follow: bool,
    /// Lines from the end. Absent: all that is kept.
    pub tail: Option<u32>,
    /// Seconds of Unix time.
    pub since: Option<i32>,
    /// RFC 3339, before each line.
    pub timestamps: bool,
}

/// A piece of output, most often a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// False: standard output, or a terminal.
    pub is_error: bool,
    pub bytes: Vec<u8>,
}

/// Output as it comes.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, EngineError>> + Send>>;

/// A command that runs in a container. Dropping it leaves the command to itself; closing `input` tells it that there is no more.
pub struct Interactive {
    pub output: Chunks,
    /// Absent when standard input was not asked for.
    pub input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    client: bollard::Docker,
    exec: String,
}

impl fmt::Debug for Interactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interactive").field("exec", &self.exec).finish_non_exhaustive()
    }
}

impl Docker {
    /// The log of a container, by name or id, that is there: it may have ended.
    pub async fn logs(&self, container: &str, options: LogOptions) -> Result<Chunks, EngineError> {
        let client = self.client().await?;
        // A stream tells of a container that is not there only when it is read.
        bounded(ASK_TIMEOUT, client.inspect_container(container, None)).await?;
        let LogOptions { follow, tail, since, timestamps } = options;
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .tail(&tail)
            .since(since.unwrap_or(0))
            .timestamps(timestamps)
            .build();
        Ok(Box::pin(client.logs(container, Some(options)).map(chunk)))
    }

    /// A label of a container, by name or id. Absent when it has none of this name.
    pub async fn label(&self, container: &str, name: &str) -> Result<Option<String>, EngineError> {
        let client = self.client().await?;
        let found = bounded(ASK_TIMEOUT, client.inspect_container(container, None)).await?;
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(labels.get(name).cloned())
    }

    /// Runs a command in a running container, by name or id, with its streams open until it ends.
    pub async fn exec_interactive(
        &self,
        container: &str,
        command: &[String],
        tty: bool,
        stdin: bool,
    ) -> Result<Interactive, EngineError> {
        let client = self.client().await?;
        let create = CreateExecOptions::<String> {
            attach_stdin: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let exec = bounded(ASK_TIMEOUT, client.create_exec(container, create)).await?.id;
        let options = StartExecOptions { tty, ..Default::default() };
        match bounded(ASK_TIMEOUT, client.start_exec(&exec, Some(options))).await? {
            StartExecResults::Attached { output, input } => {
                let output: Chunks = Box::pin(output.map(chunk));
                Ok(Interactive { output, input: stdin.then_some(input), client, exec })
            }
            StartExecResults::Detached => {
                Err(EngineError::Refused { message: "docker did not attach to the command".to_owned() })
            }
        }
    }
}

impl Interactive {
    /// Tells the command how large its terminal is.
    pub async fn resize(&self, width: u16, height: u16) -> Result<(), EngineError> {
        let size = ResizeExecOptions { width, height };
        bounded(ASK_TIMEOUT, self.client.resize_exec(&self.exec, size)).await
    }

    /// How the command ended. Absent: it still runs.
    pub async fn exit_code(&self) -> Result<Option<i64>, EngineError> {
        let found = bounded(ASK_TIMEOUT, self.client.inspect_exec(&self.exec)).await?;
        Ok(found.exit_code.filter(|_| found.running == Some(false)))
    }
}

fn chunk(part: Result<LogOutput, Error>) -> Result<Chunk, EngineError> {
    let part = part.map_err(|error| classify(error, ASK_TIMEOUT))?;
    let is_error = matches!(part, LogOutput::StdErr { .. });
    Ok(Chunk { is_error, bytes: part.into_bytes().to_vec() })
}
