//! Where the pieces come from: the checks, the agent, what it has stored, Docker, the kernel, the journal. Each source is bounded in time, and one that
//! fails is one piece that is missing.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use prost::Message as _;
use serde_json::Value;
use skerry_proto::wire;
use skerry_terms::{AppKey, Payload};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::hide::Hidden;
use super::{PIECE_MAX, Piece, redact};
use crate::admin::candidates;
use crate::admin::client::Agent;
use crate::check::{Only, Site, check};
use crate::cli::check::{Report, table};
use crate::engine::{Docker, Documents, Folders, LogOptions};
use crate::store::{Local, Peek, Peeked, Stored, key_path, peek};

/// One source. A box that is in trouble is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// All logs of containers.
const LOGS_PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the agent's log.
const LOG_LINES: &str = "5000";
/// Lines of a container's, and bytes of it.
const CONTAINER_LINES: u32 = 100;
const CONTAINER_BYTES: usize = 128 << 10;
/// Containers that are looked at one by one, and apps and files of the state folder that are listed.
const CONTAINERS_MAX: usize = 200;
const APPS_MAX: usize = 200;
const FILES_MAX: usize = 200;
/// Messages of the kernel.
const KERNEL_LINES: usize = 1000;
/// What the kernel says of the box and of the agent's own process. None of these has an environment or a command in it.
const BOX_FILES: [&str; 13] = [
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/cgroups",
    "/proc/filesystems",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/etc/os-release",
    "/etc/resolv.conf",
];
const AGENT_FILES: [&str; 4] = ["status", "limits", "cgroup", "oom_score_adj"];

/// Everything, with nothing in it that must not leave the box. `tell` is told what is being done.
pub async fn gather(site: Arc<Site>, container_logs: bool, tell: &mut dyn FnMut(&[&str])) -> Vec<Piece> {
    tell(&["the stored state"]);
    let config = &site.config;
    let key = config.store_key.clone().unwrap_or_else(|| key_path(&config.state_dir));
    let state_dir = config.state_dir.clone();
    let stored = tokio::task::spawn_blocking(move || peek(&state_dir, &key));
    let stored = tokio::time::timeout(PATIENCE, stored).await.ok().and_then(Result::ok);
    let apps = stored.as_ref().map(payloads).unwrap_or_default();
    let objects: Vec<wire::ConfigObject> = apps
        .iter()
        .filter_map(|(_, _, payload)| wire::App::decode(&payload[..]).ok())
        .flat_map(|app| app.config)
        .collect();
    tell(&["Docker"]);
    let documents = documents(&site).await;
    let complete = stored.as_ref().is_some_and(|stored| is_whole(stored, documents.as_ref().ok()));
    let hidden = Hidden::new(&objects, complete);
    drop(objects);

    let mut pieces = checks(&site, &hidden, tell).await;
    pieces.push(configuration(&site, &hidden));
    tell(&["the agent"]);
    pieces.push(status(&site, &hidden).await);
    pieces.extend(state(&site.config.state_dir, stored.as_ref(), &apps, &hidden));
    tell(&["the containers"]);
    match documents {
        Ok(documents) => pieces.extend(docker(&site, documents, &hidden, container_logs).await),
        Err(why) => pieces.push(Piece::missing("docker", why)),
    }
    tell(&["the kernel and the journal"]);
    pieces.push(journal(&hidden).await);
    let pid = agent_pid(&site.config.state_dir);
    match tokio::task::spawn_blocking(move || kernel(pid, &hidden)).await {
        Ok(found) => pieces.extend(found),
        Err(error) => pieces.push(Piece::missing("box", error.to_string())),
    }
    pieces
}

/// What is stored could be read, now and always: then all Secrets are known. Where nothing is stored, Docker must say that it has no containers
/// of Skerry's: those that it has may be of another state folder.
fn is_whole(stored: &Peek, documents: Option<&Documents>) -> bool {
    let Peek { desired, local, kept_aside } = stored;
    let is_read = matches!(desired, Peeked::Missing | Peeked::Loaded(_))
        && matches!(local, Peeked::Missing | Peeked::Loaded(_));
    let is_empty = matches!((desired, local), (Peeked::Missing, Peeked::Missing));
    let has_none = documents.is_some_and(|documents| documents.inspected.is_empty());
    kept_aside.is_empty() && is_read && (!is_empty || has_none)
}

/// Every payload that the box has: from where, of which app.
fn payloads(stored: &Peek) -> Vec<(String, AppKey, Payload)> {
    let mut all = Vec::new();
    if let Peeked::Loaded(Stored { held, notes }) = &stored.desired {
        let wanted = held.iter().flat_map(|held| &held.set);
        all.extend(wanted.map(|(key, payload)| ("wanted".to_owned(), key.clone(), payload.clone())));
        let good = notes.committed.iter();
        all.extend(good.map(|(key, good)| ("good-before".to_owned(), key.clone(), good.payload.clone())));
    }
    if let Peeked::Loaded(Local { apps, files, known: _ }) = &stored.local {
        all.extend(
            apps.iter().map(|(key, payload)| ("handed-over".to_owned(), key.clone(), payload.clone())),
        );
        for (key, payload) in files.values().flatten() {
            all.push(("manifest".to_owned(), key.clone(), payload.clone()));
        }
    }
    all
}

async fn checks(site: &Arc<Site>, hidden: &Hidden, tell: &mut dyn FnMut(&[&str])) -> Vec<Piece> {
    let findings = check(site.clone(), &Only::default(), tell).await;
    let report = serde_json::to_value(Report::of(site, &findings)).unwrap_or_default();
    vec![
        Piece::new("check.txt", hidden.text(&table(&findings, false))),
        Piece::new("check.json", pretty(&hidden.document(report))),
    ]
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// The file as it is understood, without its comments, and what came of it.
fn configuration(site: &Site, hidden: &Hidden) -> Piece {
    let name = "config.json";
    let text = match fs::read_to_string(&site.config_path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Piece::missing(name, format!("{}: {error}", site.config_path.display())),
    };
    match toml::from_str::<Value>(&text) {
        Ok(file) => {
            let document = serde_json::json!({
                "path": site.config_path.display().to_string(),
                "error": site.config_error,
                "file": redact::configuration(file),
                "inForce": format!("{:?}", site.config),
            });
            Piece::new(name, pretty(&hidden.document(document)))
        }
        // What cannot be understood cannot be cleaned either.
        Err(error) => Piece::missing(name, format!("it is no TOML: {}", error.message())),
    }
}

async fn status(site: &Site, hidden: &Hidden) -> Piece {
    let name = "status.json";
    let config = &site.config;
    let asked = async {
        Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir)).await?.status().await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(report)) => {
            let document = serde_json::to_value(report).unwrap_or_default();
            Piece::new(name, pretty(&hidden.document(redact::status(document, hidden.complete))))
        }
        Ok(Err(error)) => Piece::missing(name, error.to_string()),
        Err(_elapsed) => Piece::missing(name, "the agent takes too long"),
    }
}

/// What is stored: names, sizes and modes of the files, and each app in words.
fn state(
    folder: &Path,
    stored: Option<&Peek>,
    apps: &[(String, AppKey, Payload)],
    hidden: &Hidden,
) -> Vec<Piece> {
    let mut listing = String::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).take(FILES_MAX).collect();
    paths.sort();
    for path in paths {
        if let Ok(found) = path.symlink_metadata() {
            let (mode, size, uid) = (found.mode(), found.len(), found.uid());
            listing += &format!("{mode:06o} {uid:5} {size:10} {}\n", path.display());
        }
    }
    let described = match stored {
        None => "it could not be looked at".to_owned(),
        Some(Peek { desired, local, kept_aside }) => {
            format!(
                "desired.bin: {}\nlocal.bin: {}\nkept aside: {kept_aside:?}\n",
                describe(desired, |Stored { held, notes }| {
                    let generation =
                        held.as_ref().map(|held| format!("{} with {} apps", held.generation, held.set.len()));
                    let failed: Vec<_> = notes
                        .failed
                        .iter()
                        .map(|(key, failed)| format!("{key} {}: {}", failed.revision, failed.reason))
                        .collect();
                    format!(
                        "{}; failed: {failed:?}",
                        generation.unwrap_or_else(|| "no set of a controller".to_owned())
                    )
                }),
                describe(local, |Local { apps, files, known }| {
                    format!("{} handed over, {} manifests, known {known:?}", apps.len(), files.len())
                }),
            )
        }
    };
    let mut pieces = vec![Piece::new("state.txt", hidden.text(&format!("{described}\n{listing}")))];
    for (from, key, payload) in apps.iter().take(APPS_MAX) {
        let name = format!("apps/{from}/{}.{}.txt", key.namespace(), key.name());
        pieces.push(Piece::new(name, hidden.text(&redact::app(payload))));
    }
    if apps.len() > APPS_MAX {
        pieces.push(Piece::missing("apps", format!("{} more than {APPS_MAX}", apps.len() - APPS_MAX)));
    }
    pieces
}

fn describe<T>(peeked: &Peeked<T>, loaded: impl FnOnce(&T) -> String) -> String {
    match peeked {
        Peeked::Missing => "not there".to_owned(),
        Peeked::Loaded(found) => loaded(found),
        Peeked::Corrupt { why } => format!("corrupt: {why}"),
        Peeked::Newer { found } => format!("of a newer agent: format {found}"),
        Peeked::Unreadable { denied: _, why } => format!("cannot be read: {why}"),
    }
}

fn engine(site: &Site) -> Docker {
    // Nothing is created: the folders are not used.
    Docker::new(&site.config.docker_socket, Folders::new(Path::new("/nonexistent")))
}

async fn documents(site: &Site) -> Result<Documents, String> {
    let docker = engine(site);
    let asked = tokio::time::timeout(PATIENCE, docker.documents(CONTAINERS_MAX)).await;
    asked
        .map_err(|_elapsed| "Docker takes too long".to_owned())
        .and_then(|answer| answer.map_err(|error| error.to_string()))
}

async fn docker(site: &Site, documents: Documents, hidden: &Hidden, container_logs: bool) -> Vec<Piece> {
    let docker = engine(site);
    let Documents { version, info, images, containers, inspected } = documents;
    let mut pieces: Vec<Piece> = [
        ("docker/version.json", version),
        ("docker/info.json", redact::info(&info)),
        ("docker/images.json", redact::images(&images)),
        ("docker/containers.json", redact::containers(&containers)),
    ]
    .into_iter()
    .map(|(name, document)| Piece::new(name, pretty(&hidden.document(document))))
    .collect();
    for (container, document) in &inspected {
        let shown = hidden.document(redact::container(document, hidden.complete));
        pieces.push(Piece::new(format!("docker/inspect/{container}.json"), pretty(&shown)));
    }
    match (container_logs, hidden.complete) {
        (true, true) => {
            let began = Instant::now();
            for (container, _) in &inspected {
                let name = format!("container-logs/{container}.log");
                if began.elapsed() > LOGS_PATIENCE {
                    pieces.push(Piece::missing(name, "the logs before took too long"));
                    continue;
                }
                pieces.push(match container_log(&docker, container).await {
                    Ok(text) => Piece::log(name, &hidden.text(&text)),
                    Err(why) => Piece::missing(name, why),
                });
            }
        }
        (true, false) => pieces.push(Piece::missing("container-logs", UNKNOWN)),
        (false, _) => pieces.push(Piece::missing(
            "container-logs",
            "not asked for: what containers print may hold secrets; --container-logs adds their last lines",
        )),
    }
    pieces
}

/// Why a text is left out.
const UNKNOWN: &str = "what the box has stored cannot be read, or could not once, so that not all of its Secrets are known and can be cut out; try it with sudo, and see state.txt";

async fn container_log(docker: &Docker, container: &str) -> Result<String, String> {
    let options = LogOptions { tail: Some(CONTAINER_LINES), timestamps: true, ..LogOptions::default() };
    let read = async {
        let mut chunks = docker.logs(container, options).await.map_err(|error| error.to_string())?;
        let mut end = End::of_at_most(CONTAINER_BYTES);
        while let Some(chunk) = chunks.next().await {
            end.push(&chunk.map_err(|error| error.to_string())?.bytes);
        }
        Ok(end.text())
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_elapsed| Err("Docker takes too long".to_owned()))
}

/// The end of a text that comes in pieces, from the beginning of a line on: what is left of half a line may be half a Secret, which nobody would
/// know for one.
struct End {
    bytes: Vec<u8>,
    max: usize,
    is_cut: bool,
}

impl End {
    fn of_at_most(max: usize) -> Self {
        Self { bytes: Vec::new(), max, is_cut: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Not with each piece: what stays is moved.
        if self.bytes.len() > 2 * self.max {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if let surplus @ 1.. = self.bytes.len().saturating_sub(self.max) {
            self.bytes.drain(..surplus);
            self.is_cut = true;
        }
    }

    fn text(mut self) -> String {
        self.cut();
        let line = self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |end| end + 1);
        let from = if self.is_cut { line } else { 0 };
        String::from_utf8_lossy(&self.bytes[from..]).into_owned()
    }
}

/// The agent's log, where systemd keeps it.
async fn journal(hidden: &Hidden) -> Piece {
    let name = "agent.log";
    if !hidden.complete {
        return Piece::missing(name, UNKNOWN);
    }
    let mut command = Command::new("journalctl");
    command.args([
        "--unit",
        "skerry-agent",
        "--lines",
        LOG_LINES,
        "--no-pager",
        "--quiet",
        "--output",
        "short-iso",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let read = async {
        let mut child = command.spawn().map_err(|error| format!("journalctl: {error}"))?;
        let mut output = child.stdout.take().ok_or("journalctl has no output")?;
        // A line may be long: enough for the piece, and for what is cut out of it.
        let (mut end, mut chunk) = (End::of_at_most(4 * PIECE_MAX), vec![0; 64 << 10]);
        loop {
            match output.read(&mut chunk).await.map_err(|error| error.to_string())? {
                0 => return Ok::<_, String>(end.text()),
                length => end.push(&chunk[..length]),
            }
        }
    };
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(text)) if text.trim().is_empty() => Piece::missing(
            name,
            "the journal has nothing of skerry-agent: look where its standard error goes",
        ),
        Ok(Ok(text)) => Piece::log(name, &hidden.text(&text)),
        Ok(Err(why)) => Piece::missing(name, why),
        Err(_elapsed) => Piece::missing(name, "journalctl takes too long"),
    }
}

fn agent_pid(state: &Path) -> Option<u32> {
    fs::read_to_string(state.join("lock")).ok()?.trim().parse().ok()
}

fn kernel(pid: Option<u32>, hidden: &Hidden) -> Vec<Piece> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| error.to_string());
    let mut pieces: Vec<Piece> = BOX_FILES
        .iter()
        .map(|path| {
            let name = format!("box/{}", path.trim_start_matches('/').replace('/', "-"));
            match read(path) {
                Ok(text) => Piece::new(name, hidden.text(&text)),
                Err(why) => Piece::missing(name, why),
            }
        })
        .collect();
    pieces.push(mounts(hidden));
    for file in AGENT_FILES {
        let text = pid
            .ok_or_else(|| "no agent runs".to_owned())
            .and_then(|pid| read(&format!("/proc/{pid}/{file}")));
        pieces.push(match text {
            Ok(text) => Piece::new(format!("agent/{file}"), hidden.text(&text)),
            Err(why) => Piece::missing(format!("agent/{file}"), why),
        });
    }
    pieces.push(match (hidden.complete, kernel_log()) {
        (false, _) => Piece::missing("kernel.log", UNKNOWN),
        (true, Ok(text)) => Piece::log("kernel.log", &hidden.text(&text)),
        (true, Err(why)) => Piece::missing("kernel.log", why),
    });
    pieces
}

/// What is mounted, without the options of the file systems: they may hold credentials. With how full each is.
fn mounts(hidden: &Hidden) -> Piece {
    let table = match fs::read_to_string("/proc/self/mountinfo") {
        Ok(table) => table,
        Err(error) => return Piece::missing("box/mounts", error.to_string()),
    };
    let mut text = String::new();
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (mut left, mut right) = (before.split(' '), after.split(' '));
        let (point, options) = (left.nth(4).unwrap_or_default(), left.next().unwrap_or_default());
        let (kind, source) = (right.next().unwrap_or_default(), right.next().unwrap_or_default());
        text += &format!("{point} {kind} {source} {options}");
        // One on a network may hang.
        if matches!(
            kind,
            "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "vfat" | "tmpfs" | "overlay" | "zfs"
        ) && let Ok(found) = rustix::fs::statvfs(point)
        {
            let mib = |blocks: u64| blocks.saturating_mul(found.f_frsize) >> 20;
            let (free, total) = (mib(found.f_bavail), mib(found.f_blocks));
            text += &format!(" {free}/{total} MiB free, {}/{} inodes free", found.f_favail, found.f_files);
        }
        text.push('\n');
    }
    Piece::new("box/mounts", hidden.text(&text))
}

/// The last messages of the kernel.
fn kernel_log() -> Result<String, String> {
    // Each read gives one message, and fails when there is none: nothing waits.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg");
    let mut messages = opened.map_err(|error| format!("/dev/kmsg: {error}"))?;
    let mut lines = VecDeque::new();
    let mut message = [0; 8192];
    loop {
        match messages.read(&mut message) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                lines.push_back(text.lines().next().unwrap_or_default().to_owned());
                if lines.len() > KERNEL_LINES {
                    lines.pop_front();
                }
            }
            // It was overwritten while it was read; the next one is there.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    match lines.is_empty() {
        true => Err("/dev/kmsg: nothing can be read".to_owned()),
        false => Ok(lines.into_iter().map(|line| line + "\n").collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(desired: Peeked<Stored>, kept_aside: &[&str]) -> Peek {
        let kept_aside = kept_aside.iter().map(PathBuf::from).collect();
        Peek { desired, local: Peeked::Missing, kept_aside }
    }

    #[test]
    fn secrets_are_known_only_where_all_that_was_ever_stored_can_be_read() {
        let of = |containers: &[&str]| Documents {
            inspected: containers.iter().map(|name| ((*name).to_owned(), Value::Null)).collect(),
            ..Documents::default()
        };
        let (none, some) = (of(&[]), of(&["skerry_box_default_web_main"]));
        let stored = || Peeked::Loaded(Stored::default());
        assert!(is_whole(&state(stored(), &[]), Some(&some)));
        assert!(is_whole(&state(stored(), &[]), None));
        assert!(!is_whole(&state(stored(), &["desired.corrupt-1"]), Some(&none)));
        assert!(!is_whole(&state(Peeked::Missing, &["desired.corrupt-1"]), Some(&none)));
        assert!(!is_whole(&state(Peeked::Newer { found: 99 }, &[]), Some(&none)));
        assert!(is_whole(&state(Peeked::Missing, &[]), Some(&none)), "nothing was ever stored");
        assert!(!is_whole(&state(Peeked::Missing, &[]), Some(&some)), "they are of another state folder");
        assert!(!is_whole(&state(Peeked::Missing, &[]), None), "nobody knows whether there are any");
    }
    #[test]
    fn of_a_log_that_is_too_long_the_last_whole_lines_are_kept() {
        let of = |pieces: &[&str]| {
            let mut end = End::of_at_most(10);
            pieces.iter().for_each(|piece| end.push(piece.as_bytes()));
            end.text()
        };
        assert_eq!(of(&["a\nb", "c\n"]), "a\nbc\n");
        assert_eq!(of(&["token=hunter22\n", "last\n"]), "last\n");
        assert_eq!(of(&["token=hun", "ter22\none\n", "two\nthree"]), "two\nthree");
        assert_eq!(of(&["token=hunter22-without-an-end"]), "", "all of it is half a line");
    }
}
