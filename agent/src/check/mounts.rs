//! Do the agent and Docker see the same mounts: what the agent mounts for a `subPath`, or for a `hostPath` below a listed path, Docker must find.

use std::fs;
use std::path::PathBuf;

use super::{Finding, Site, read};

pub(super) const IDS: &[&str] = &["mount-namespace"];

/// What is known of it.
#[derive(Debug, Clone)]
struct Facts {
    root: bool,
    /// Of the agent that runs, else of this command: `mnt:[4026531841]`.
    ours: Option<String>,
    /// Of each dockerd that can be seen.
    docker: Vec<Option<String>>,
}

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let agent =
        super::agent::pid(&site.config.state_dir).map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let dockers = pids.filter(|pid| read(&format!("/proc/{pid}/comm")) == "dockerd");
    judge(&Facts {
        root: rustix::process::geteuid().is_root(),
        ours: namespace(&agent),
        docker: dockers.map(|pid| namespace(&pid.to_string())).collect(),
    })
}

fn namespace(process: &str) -> Option<String> {
    let link = PathBuf::from(format!("/proc/{process}/ns/mnt"));
    Some(fs::read_link(link).ok()?.to_string_lossy().into_owned())
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let id = "mount-namespace";
    let Facts { root, ours, docker } = facts;
    let finding = match (ours, docker.iter().flatten().next()) {
        _ if !root => Finding::warning(
            id,
            "not root: mounts of Docker cannot be looked at, and an agent that is not root can mount no subPath",
            "run this with sudo",
        ),
        (Some(ours), Some(_)) if docker.iter().flatten().any(|docker| docker == ours) => {
            Finding::ok(id, "the agent and Docker see the same mounts")
        }
        (_, Some(_)) => Finding::warning(
            id,
            "Docker does not see what the agent mounts: apps with a subPath, or a hostPath below a listed one, do not start",
            "run the agent in the box's own mount namespace: not in a container, no PrivateMounts= or ProtectSystem= in its unit, Docker not as a snap",
        ),
        (_, None) => Finding::ok(id, "no process of Docker is seen here to compare with"),
    };
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn two_namespaces_are_told_apart() {
        let mnt = |name: &str| Some(name.to_owned());
        let same = Facts { root: true, ours: mnt("mnt:[1]"), docker: vec![mnt("mnt:[2]"), mnt("mnt:[1]")] };
        for (facts, outcome, words) in [
            (same.clone(), Outcome::Ok, "same mounts"),
            (Facts { ours: mnt("mnt:[3]"), ..same.clone() }, Outcome::Warning, "subPath"),
            (Facts { docker: Vec::new(), ..same.clone() }, Outcome::Ok, "no process"),
            (Facts { docker: vec![None], ..same.clone() }, Outcome::Ok, "no process"),
            (Facts { root: false, ..same }, Outcome::Warning, "not root"),
        ] {
            let findings = judge(&facts);
            assert!(findings[0].outcome == outcome && findings[0].found.contains(words), "{findings:?}");
        }
    }
}
