//! Docker: is it there, may we speak to it, is it one that the agent can work with, and how is it set up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{self, Space};
use super::{Finding, PATIENCE, Site, off_thread, read};
use crate::engine::{Docker, Folders, Survey};

pub(super) const IDS: &[&str] = &[
    "docker",
    "docker-version",
    "docker-storage",
    "docker-cgroup",
    "docker-limits",
    "docker-logs",
    "docker-live-restore",
    "disk-docker",
];

/// The oldest that is promised to work: Debian 12's.
const OLDEST: (u32, u32) = (20, 10);

/// What is known of Docker.
#[derive(Debug)]
struct Facts {
    socket: PathBuf,
    door: Door,
    /// Absent where the socket could not be connected to. An error is in words.
    survey: Option<Result<Survey, String>>,
    /// systemd manages this box: then Docker's groups are better its, too.
    systemd: bool,
    /// Docker's own configuration bounds the logs of containers.
    logs_bounded: bool,
    /// Of the folder where Docker keeps images and containers, when that can be seen.
    space: Option<Space>,
}

/// What happens at the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Door {
    Open,
    Missing,
    Denied,
    /// It is there, and nobody listens.
    Refused,
    Odd(String),
}

pub(super) async fn check(site: Arc<Site>) -> Vec<Finding> {
    judge(&probe(&site).await)
}

async fn probe(site: &Site) -> Facts {
    let socket = site.config.docker_socket.clone();
    let door = knock(&socket).await;
    let survey = match door {
        Door::Open => Some(ask(&socket).await),
        Door::Missing | Door::Denied | Door::Refused | Door::Odd(_) => None,
    };
    let space = match &survey {
        Some(Ok(survey)) if !survey.root.as_os_str().is_empty() => {
            let root = survey.root.clone();
            off_thread(move || disk::space(&root).ok()).await
        }
        Some(Ok(_) | Err(_)) | None => None,
    };
    let systemd = Path::new("/run/systemd/system").exists();
    Facts {
        socket,
        door,
        survey,
        systemd,
        logs_bounded: bounds_logs(&read("/etc/docker/daemon.json")),
        space,
    }
}

/// What Docker does not tell is in its configuration.
fn bounds_logs(daemon: &str) -> bool {
    let daemon: serde_json::Value = serde_json::from_str(daemon).unwrap_or_default();
    daemon.pointer("/log-opts/max-size").is_some()
}

async fn knock(socket: &Path) -> Door {
    let connected = tokio::time::timeout(PATIENCE, tokio::net::UnixStream::connect(socket)).await;
    let error = match connected {
        Ok(Ok(_)) => return Door::Open,
        Ok(Err(error)) => error,
        Err(_elapsed) => return Door::Odd(format!("it takes no connection within {} s", PATIENCE.as_secs())),
    };
    let doors = [
        (io::ErrorKind::NotFound, Door::Missing),
        (io::ErrorKind::PermissionDenied, Door::Denied),
        (io::ErrorKind::ConnectionRefused, Door::Refused),
    ];
    let known = doors.into_iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| Door::Odd(error.to_string()), |(_, door)| door)
}

async fn ask(socket: &Path) -> Result<Survey, String> {
    // Nothing is created: the folders are not used.
    let docker = Docker::new(socket, Folders::new(Path::new("/nonexistent")));
    match tokio::time::timeout(PATIENCE, docker.survey()).await {
        Ok(survey) => survey.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let Facts { socket, door, survey, systemd, logs_bounded, space } = facts;
    let socket = socket.display();
    let start = "systemctl start docker; journalctl -u docker says why it ended";
    let failure = |found, fix| vec![Finding::failure("docker", found, fix)];
    let survey = match (door, survey) {
        (Door::Missing, _) => {
            let fix = "install and start Docker Engine 20.10 or newer, or name its socket as docker-socket in agent.toml";
            return failure(format!("there is no socket {socket}"), fix.to_owned());
        }
        (Door::Denied, _) => {
            let fix = "run this with sudo; the agent itself runs as root";
            return failure(format!("this user may not use {socket}"), fix.to_owned());
        }
        (Door::Refused, _) => return failure(format!("nobody listens on {socket}"), start.to_owned()),
        (Door::Odd(why), _) => return failure(format!("{socket}: {why}"), start.to_owned()),
        (Door::Open, Some(Ok(survey))) => survey,
        (Door::Open, Some(Err(why))) => {
            let fix = "journalctl -u docker may say what it waits for; systemctl restart docker, which ends containers unless live-restore is on";
            return failure(format!("it does not answer at {socket}: {why}"), fix.to_owned());
        }
        (Door::Open, None) => return failure(format!("{socket} was not asked"), start.to_owned()),
    };
    let mut findings = vec![
        Finding::ok("docker", format!("answers at {socket}, {} containers run", survey.running)),
        version(survey),
        storage(survey),
        cgroup(survey, *systemd),
        limits(survey),
        logs(survey, *logs_bounded),
        live_restore(survey),
    ];
    findings.extend(space.as_ref().map(|space| disk::room("disk-docker", &survey.root, space)));
    findings
}

fn version(survey: &Survey) -> Finding {
    let Survey { version, api_version, .. } = survey;
    let found = format!("{version}, API {api_version}");
    let fix = "install Docker Engine 20.10 or newer";
    let mut parts = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => {
            Finding::ok("docker-version", found)
        }
        (Some(Ok(_)), Some(Ok(_))) => {
            Finding::failure("docker-version", format!("{found}: older than 20.10"), fix)
        }
        _ => Finding::warning("docker-version", format!("{version:?} is no version that is known"), fix),
    }
}

fn storage(survey: &Survey) -> Finding {
    let id = "docker-storage";
    let driver = survey.storage_driver.as_str();
    let fix =
        "let Docker use overlay2: remove storage-driver from /etc/docker/daemon.json; images are pulled anew";
    match driver {
        "overlay2" | "overlayfs" | "btrfs" | "zfs" | "fuse-overlayfs" => {
            let below = match survey.backing_filesystem.as_str() {
                "" => String::new(),
                below => format!(" on {below}"),
            };
            Finding::ok(id, format!("{driver}{below}"))
        }
        "vfs" => {
            Finding::warning(id, "vfs: each container is a whole copy of its image, slow and large", fix)
        }
        "aufs" | "devicemapper" | "overlay" => {
            Finding::warning(id, format!("{driver}: newer Docker versions do not have it any more"), fix)
        }
        other => Finding::ok(id, format!("{other}, which Skerry was not tried with")),
    }
}

fn cgroup(survey: &Survey, systemd: bool) -> Finding {
    let id = "docker-cgroup";
    let Survey { cgroup_driver, cgroup_version, .. } = survey;
    // Docker 20.10 on v1 does not always say it.
    let version = if cgroup_version.is_empty() { "1" } else { cgroup_version };
    let found = format!("driver {cgroup_driver}, cgroup v{version}");
    match (cgroup_driver.as_str(), version) {
        ("none", _) => Finding::warning(
            id,
            "Docker manages no cgroups: limits of cpu and memory do nothing",
            "run Docker as root, not rootless, or on cgroup v2 with systemd",
        ),
        ("cgroupfs", "2") if systemd => Finding::warning(
            id,
            format!("{found}: systemd and Docker both manage the same tree"),
            "set \"exec-opts\": [\"native.cgroupdriver=systemd\"] in /etc/docker/daemon.json; then systemctl restart docker",
        ),
        _ => Finding::ok(id, found),
    }
}

fn limits(survey: &Survey) -> Finding {
    let id = "docker-limits";
    let missing: Vec<&str> =
        [("memory", survey.memory_limit), ("cpu", survey.cpu_limit), ("pids", survey.pids_limit)]
            .into_iter()
            .filter_map(|(name, there)| (there == Some(false)).then_some(name))
            .collect();
    match missing.is_empty() {
        true => Finding::ok(id, "memory, cpu and pids can be limited"),
        false => Finding::warning(
            id,
            format!("Docker cannot limit {}: such limits of apps do nothing", missing.join(", ")),
            "boot with cgroup_enable=memory swapaccount=1 on the kernel's command line, or with cgroup v2",
        ),
    }
}

fn logs(survey: &Survey, bounded: bool) -> Finding {
    // Containers of the agent have a driver of their own, with a bound; what else runs on the box has Docker's.
    let found = format!("{} for containers that are not Skerry's; Skerry's are bounded", survey.log_driver);
    match (survey.log_driver.as_str(), survey.running_foreign) {
        ("json-file", foreign) if foreign > 0 && !bounded => Finding::warning(
            "docker-logs",
            format!(
                "json-file without a bound of its own: the logs of {foreign} containers that are not Skerry's can fill the disk"
            ),
            "set \"log-driver\": \"local\" in /etc/docker/daemon.json, or \"log-opts\": {\"max-size\": \"10m\"}; it holds for containers that are made from then on",
        ),
        _ => Finding::ok("docker-logs", found),
    }
}

fn live_restore(survey: &Survey) -> Finding {
    let id = "docker-live-restore";
    match survey.live_restore {
        Some(true) => Finding::ok(id, "on: containers run on while Docker itself is restarted or upgraded"),
        Some(false) => Finding::warning(
            id,
            "off: every restart or upgrade of Docker ends all containers",
            "set \"live-restore\": true in /etc/docker/daemon.json; then systemctl reload docker",
        ),
        None => Finding::ok(id, "Docker does not say"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn survey() -> Survey {
        Survey {
            version: "20.10.24+dfsg1".to_owned(),
            api_version: "1.41".to_owned(),
            storage_driver: "overlay2".to_owned(),
            backing_filesystem: "extfs".to_owned(),
            cgroup_driver: "systemd".to_owned(),
            cgroup_version: "2".to_owned(),
            log_driver: "json-file".to_owned(),
            live_restore: Some(true),
            root: "/var/lib/docker".into(),
            running: 3,
            running_foreign: 0,
            memory_limit: Some(true),
            cpu_limit: Some(true),
            pids_limit: Some(true),
        }
    }

    fn facts(survey: Survey) -> Facts {
        Facts {
            socket: "/var/run/docker.sock".into(),
            door: Door::Open,
            survey: Some(Ok(survey)),
            systemd: true,
            logs_bounded: false,
            space: Some(Space {
                total: 100 << 30,
                free: 50 << 30,
                inodes: 1000,
                inodes_free: 500,
                read_only: false,
            }),
        }
    }

    #[test]
    fn a_good_docker_is_all_right() {
        let findings = judge(&facts(survey()));
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, IDS);
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Ok), "{findings:#?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_fix() {
        type Case = (fn(&mut Survey), &'static str, Outcome, &'static str);
        let cases: [Case; 11] = [
            (|s| s.version = "19.03.15".to_owned(), "docker-version", Outcome::Failure, "older than 20.10"),
            (|s| s.version = "20.9.1".to_owned(), "docker-version", Outcome::Failure, "older than 20.10"),
            (|s| s.version = "dev".to_owned(), "docker-version", Outcome::Warning, "\"dev\""),
            (|s| s.storage_driver = "vfs".to_owned(), "docker-storage", Outcome::Warning, "whole copy"),
            (|s| s.storage_driver = "aufs".to_owned(), "docker-storage", Outcome::Warning, "aufs"),
            (|s| s.cgroup_driver = "none".to_owned(), "docker-cgroup", Outcome::Warning, "no cgroups"),
            (|s| s.cgroup_driver = "cgroupfs".to_owned(), "docker-cgroup", Outcome::Warning, "both"),
            (|s| s.memory_limit = Some(false), "docker-limits", Outcome::Warning, "limit memory"),
            (|s| s.pids_limit = Some(false), "docker-limits", Outcome::Warning, "limit pids"),
            (|s| s.running_foreign = 2, "docker-logs", Outcome::Warning, "2 containers"),
            (|s| s.live_restore = Some(false), "docker-live-restore", Outcome::Warning, "off"),
        ];
        for (spoil, id, outcome, words) in cases {
            let mut spoiled = survey();
            spoil(&mut spoiled);
            let findings = judge(&facts(spoiled));
            let bad: Vec<_> = findings.iter().filter(|finding| finding.outcome > Outcome::Ok).collect();
            let [one] = bad.as_slice() else { panic!("{id}: {bad:#?}") };
            assert_eq!((one.id, one.outcome), (id, outcome), "{one:?}");
            assert!(one.found.contains(words) && !one.fix.is_empty(), "{one:?}");
        }
    }

    #[test]
    fn newer_ones_and_cgroup_v1_are_all_right() {
        for version in ["28.0.1", "23.0.0-rc.1", "20.10.0"] {
            let good = Survey { version: version.to_owned(), ..survey() };
            assert_eq!(super::version(&good).outcome, Outcome::Ok, "{version}");
        }
        let old = Survey { cgroup_version: String::new(), cgroup_driver: "cgroupfs".to_owned(), ..survey() };
        let finding = cgroup(&old, true);
        assert_eq!((finding.outcome, finding.found.as_str()), (Outcome::Ok, "driver cgroupfs, cgroup v1"));
    }

    #[test]
    fn logs_that_docker_bounds_are_no_trouble() {
        assert!(bounds_logs(r#"{"log-driver": "json-file", "log-opts": {"max-size": "10m"}}"#));
        assert!(!bounds_logs(r#"{"log-opts": {"max-file": "3"}}"#) && !bounds_logs(""));
        let foreign = Survey { running_foreign: 2, ..survey() };
        assert_eq!(logs(&foreign, true).outcome, Outcome::Ok);
    }

    #[test]
    fn a_docker_that_cannot_be_asked_is_one_failure() {
        let hangs = Some(Err("no answer within 8 s".to_owned()));
        for (door, survey, words, fix) in [
            (Door::Missing, None, "no socket", "install"),
            (Door::Denied, None, "may not use", "sudo"),
            (Door::Refused, None, "nobody listens", "systemctl start docker"),
            (Door::Odd("is a folder".to_owned()), None, "is a folder", "docker"),
            (Door::Open, hangs, "no answer within 8 s", "live-restore"),
        ] {
            let findings = judge(&Facts { door, survey, ..facts(super::tests::survey()) });
            let [one] = findings.as_slice() else { panic!("{findings:#?}") };
            assert_eq!((one.id, one.outcome), ("docker", Outcome::Failure));
            assert!(one.found.contains(words) && one.fix.contains(fix), "{one:?}");
        }
    }
}
