//! Runs a command in a container and waits for its end, for probes and hooks. Output is bounded, time is bounded, and what outlives its time
//! is killed.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures::{Stream, StreamExt as _};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::debug;

use super::EngineError;
use super::docker::{ASK_TIMEOUT, Docker, bounded};
use super::refusal::classify;

/// Of a command's output, what is kept: its beginning, as kubelet keeps it for probes.
const OUTPUT_MAX: usize = 10 << 10;
/// Between a command's last output and Docker's knowledge of its exit code lies a moment.
const CODE_RETRY: Duration = Duration::from_millis(20);

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// 0 is a success. 126 and 127: the command could not be run, the output says why.
    pub exit_code: i64,
    /// The beginning of what it printed on both streams; bytes that are no text are replaced.
    pub output: String,
}

impl Docker {
    /// Runs a command in a running container, named by name or id. One that takes longer than `timeout` is killed, and
    /// [`EngineError::TimedOut`] told.
    pub async fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<Ran, EngineError> {
        let client = self.client().await?;
        let create = CreateExecOptions::<String> {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let exec = bounded(ASK_TIMEOUT, client.create_exec(container, create)).await?.id;
        match tokio::time::timeout(timeout, run(&client, &exec)).await {
            Ok(ran) => ran.map_err(|error| classify(error, timeout)),
            Err(_elapsed) => {
                kill(&client, &exec).await;
                Err(EngineError::TimedOut { after: timeout })
            }
        }
    }
}

async fn run(client: &bollard::Docker, exec: &str) -> Result<Ran, Error> {
    let output = match client.start_exec(exec, None).await? {
        StartExecResults::Attached { output, input } => {
            // The command has no standard input. Dropping our side says so.
            drop(input);
            collect(output).await?
        }
        StartExecResults::Detached => String::new(),
    };
    loop {
        let inspected = client.inspect_exec(exec).await?;
        if let (Some(false), Some(exit_code)) = (inspected.running, inspected.exit_code) {
            return Ok(Ran { exit_code, output });
        }
        tokio::time::sleep(CODE_RETRY).await;
    }
}

/// Reads to the end, so that the command is not stopped by a full pipe, and keeps the beginning.
async fn collect(mut output: impl Stream<Item = Result<LogOutput, Error>> + Unpin) -> Result<String, Error> {
    let mut kept = Vec::new();
    while let Some(part) = output.next().await {
        let part = part?.into_bytes();
        kept.extend_from_slice(&part[..part.len().min(OUTPUT_MAX - kept.len())]);
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// Kills what a command left running; Docker has no call for it. Only a process that the kernel counts to this container is killed: the
/// agent may see other process ids than Docker.
async fn kill(client: &bollard::Docker, exec: &str) {
    let Ok(found) = bounded(ASK_TIMEOUT, client.inspect_exec(exec)).await else { return };
    let number = found.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let (Some(true), Some(pid), Some(container)) = (found.running, number, found.container_id) else {
        return;
    };
    // The descriptor first: from then on the number cannot come to mean another process.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
    if groups.is_ok_and(|groups| groups.contains(&container)) {
        let killed = pidfd_send_signal(process, Signal::KILL);
        debug!("kill exec={exec} pid={} in container={container}: {killed:?}", pid.as_raw_nonzero());
    }
}
