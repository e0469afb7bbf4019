//! Does everything come up when the box does: the units of the agent and of Docker, where systemd manages them.

use std::fs;
use std::path::Path;

use super::{Finding, Site};

pub(super) const IDS: &[&str] = &["boot-agent", "boot-docker"];

const AGENT: &str = "skerry-agent.service";
/// The socket starts the daemon only when somebody asks, which the agent does.
const DOCKER: [&str; 2] = ["docker.service", "docker.socket"];
const UNIT_FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const ENABLED_FOLDER: &str = "/etc/systemd/system";

/// What is known of the units.
#[derive(Debug, Clone, Copy)]
struct Facts {
    systemd: bool,
    agent: Unit,
    docker: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Missing,
    Disabled,
    Enabled,
}

pub(super) fn check(_site: &Site) -> Vec<Finding> {
    judge(Facts {
        systemd: Path::new("/run/systemd/system").exists(),
        agent: look(&[AGENT]),
        docker: look(&DOCKER),
    })
}

fn look(names: &[&str]) -> Unit {
    let folders = fs::read_dir(ENABLED_FOLDER).into_iter().flatten().flatten();
    let mut wants = folders.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|extension| extension == "wants" || extension == "requires")
    });
    // What a link points to may be on a disk that is not mounted yet.
    if wants.any(|folder| names.iter().any(|name| folder.join(name).symlink_metadata().is_ok())) {
        return Unit::Enabled;
    }
    let there =
        UNIT_FOLDERS.iter().any(|folder| names.iter().any(|name| Path::new(folder).join(name).exists()));
    if there { Unit::Disabled } else { Unit::Missing }
}

fn judge(facts: Facts) -> Vec<Finding> {
    let Facts { systemd, agent, docker } = facts;
    if !systemd {
        let found = "systemd does not manage this box: what starts at boot is not looked at";
        return IDS.iter().map(|id| Finding::ok(id, found)).collect();
    }
    let agent = match agent {
        Unit::Enabled => Finding::ok("boot-agent", format!("{AGENT} starts with the box")),
        Unit::Disabled => Finding::warning(
            "boot-agent",
            format!("{AGENT} is there and does not start with the box"),
            "systemctl enable --now skerry-agent",
        ),
        Unit::Missing => Finding::warning(
            "boot-agent",
            format!("there is no {AGENT}: after a power cut nothing starts"),
            "install the unit, then systemctl enable --now skerry-agent",
        ),
    };
    let docker = match docker {
        Unit::Enabled => Finding::ok("boot-docker", "Docker starts with the box"),
        Unit::Disabled => Finding::warning(
            "boot-docker",
            "Docker does not start with the box: after a power cut no container does",
            "systemctl enable docker",
        ),
        Unit::Missing => {
            Finding::ok("boot-docker", "Docker has no unit of systemd's here: something else starts it")
        }
    };
    vec![agent, docker]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn what_does_not_start_with_the_box_is_told() {
        let good = Facts { systemd: true, agent: Unit::Enabled, docker: Unit::Enabled };
        for (facts, outcomes) in [
            (good, [Outcome::Ok, Outcome::Ok]),
            (Facts { agent: Unit::Missing, ..good }, [Outcome::Warning, Outcome::Ok]),
            (Facts { agent: Unit::Disabled, ..good }, [Outcome::Warning, Outcome::Ok]),
            (Facts { docker: Unit::Disabled, ..good }, [Outcome::Ok, Outcome::Warning]),
            (Facts { docker: Unit::Missing, ..good }, [Outcome::Ok, Outcome::Ok]),
            (
                Facts { systemd: false, agent: Unit::Missing, docker: Unit::Missing },
                [Outcome::Ok, Outcome::Ok],
            ),
        ] {
            let found: Vec<_> = judge(facts).iter().map(|finding| finding.outcome).collect();
            assert_eq!(found, outcomes, "{facts:?}");
        }
    }
}
