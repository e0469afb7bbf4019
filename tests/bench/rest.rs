//! What an idle installation costs: memory, processor time, bytes on the link, writes to the API server.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use skerry_tests::{IMAGE, Node, Site, docker_run, target_dir};
use tokio::process::Command;

use crate::figures::Figure;
use crate::{at_most, cycle};

/// Containers on the node while it is watched.
const CONTAINERS: usize = 10;
/// After the last container started, before the watch begins: reports and status writes are done by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Bytes of IPv4 and TCP headers with time stamps, which `ss` does not count.
const HEADERS: f64 = 52.0;
const MIB: f64 = 1024.0 * 1024.0;

pub fn agent_binary() -> Result<Figure> {
    let size = fs::metadata(target_dir()?.join("skerry-agent"))?.len();
    #[expect(clippy::cast_precision_loss, reason = "a file's size")]
    let value = size as f64 / MIB;
    Ok(at_most("agent_binary_mib", value, "MiB", 10.0, "size of the stripped release binary".into()))
}

/// All figures at rest, from one watch.
pub async fn measure(site: &Site, mut node: Node, seconds: u64) -> Result<Vec<Figure>> {
    let namespace = site.namespace().await?;
    for i in 0..CONTAINERS {
        let yaml = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: idle-{i}, namespace: {namespace}}}\nspec:\n  \
             placement: {{nodeSelector: {{matchLabels: {{test: {}}}}}}}\n  template:\n    spec:\n      \
             terminationGracePeriodSeconds: 0\n      containers:\n      - {{name: main, image: \"{IMAGE}\", command: [sleep, \"100000\"]}}\n",
            node.name
        );
        site.kubectl().apply(&yaml).await?;
    }
    for i in 0..CONTAINERS {
        node.phase(&namespace, &format!("idle-{i}"), "Running").await?;
    }
    tokio::time::sleep(SETTLE).await;

    let agent = node.agent()?.pid();
    let controller = site.controller_pid().context("the controller runs")?;
    let (cpu, bytes, writes) =
        (cpu_seconds(agent)?, link_bytes(site.session_port).await?, cycle::writes(site).await?);
    let written = written_bytes(agent)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let cpu = cpu_seconds(agent)? - cpu;
    let bytes = link_bytes(site.session_port).await? - bytes;
    let writes = cycle::writes(site).await? - writes;
    let written = written_bytes(agent)? - written;
    let running =
        docker_run(&["ps", "-q", "--filter", &format!("label=skerry.dev/node={}", node.name)]).await?;
    if running.lines().count() != CONTAINERS {
        bail!("{} of {CONTAINERS} containers run: this was no rest", running.lines().count());
    }

    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let time = seconds as f64;
    let watched = format!("over {seconds} s at rest, {CONTAINERS} containers");
    Ok(vec![
        at_most(
            "agent_pss_mib",
            pss(agent)?,
            "MiB",
            8.0,
            format!("Pss of /proc/PID/smaps_rollup, {watched}"),
        ),
        at_most(
            "agent_idle_cpu_percent",
            cpu / time * 100.0,
            "%",
            0.1,
            format!("run time of all threads by /proc/PID/task/*/schedstat, {watched}"),
        ),
        Figure {
            id: "controller_pss_mib",
            value: pss(controller)?,
            unit: "MiB",
            budget: None,
            peer: None,
            method: format!("Pss of /proc/PID/smaps_rollup, 1 node, {watched}"),
        },
        at_most(
            "api_writes_per_node_per_minute",
            writes / time * 60.0,
            "writes",
            0.0,
            format!("the API server's own apiserver_request_total, {watched}"),
        ),
        at_most(
            "idle_uplink_bytes_per_s",
            bytes / time,
            "B/s",
            10.0,
            format!("both directions of the session's TCP connection with headers, by ss, {watched}"),
        ),
        at_most(
            "agent_idle_write_bytes",
            written,
            "bytes",
            0.0,
            format!("write_bytes of /proc/PID/io after a sync, its log included, {watched}"),
        ),
    ])
}

/// Proportional set size in MiB.
pub fn pss(pid: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss in smaps_rollup")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number after Pss")?.parse()?;
    Ok(kib / 1024.0)
}

/// Bytes that the process has had written to disks so far.
fn written_bytes(pid: u32) -> Result<f64> {
    rustix::fs::sync();
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("no write_bytes in /proc/PID/io")?.trim().parse()?)
}

/// Processor time of all threads so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += schedstat.split_whitespace().next().context("an empty schedstat")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// Bytes that the session's connection has carried in both directions, headers included.
async fn link_bytes(port: u16) -> Result<f64> {
    let filter = format!("( dport = :{port} )");
    let output = Command::new("ss").args(["-tinHO", "state", "established", &filter]).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    let [line] = lines[..] else { bail!("one session was expected, ss shows: {text:?}") };
    let field = |name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let payload = field("bytes_sent") + field("bytes_received");
    Ok(payload + HEADERS * (field("segs_out") + field("segs_in")))
}
