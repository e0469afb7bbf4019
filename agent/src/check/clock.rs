//! The box's own clock: is the time possible, does anything set it, and does it outlive a power cut. How far it is from the controller's is
//! found where the controller is asked.

use std::fs;

use jiff::Timestamp;

use super::{Finding, Site, read};
use crate::clock::wall_now;

pub(super) const IDS: &[&str] = &["clock", "clock-sync", "clock-rtc"];

/// 2025-01-01: before any release of this agent.
const EARLIEST: i64 = 1_735_689_600;
/// 2100-01-01: a battery that died shows up as such a date, too.
const LATEST: i64 = 4_102_444_800;
/// A clock chip is set to the second, and read at any moment of it; a few more are drift.
const CHIP_OFF: u64 = 60;
/// What keeps clocks right, as the kernel names its processes, cut to 15 bytes.
const DAEMONS: [&str; 6] = ["chronyd", "ntpd", "systemd-timesyn", "openntpd", "ptp4l", "phc2sys"];
/// systemd-timesyncd makes it once a server has answered.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// What is known of the clock.
#[derive(Debug, Clone)]
struct Facts {
    /// Seconds of Unix time.
    now: i64,
    /// What keeps it right: names of processes.
    daemons: Vec<String>,
    /// systemd-timesyncd has had an answer since the box came up.
    synchronised: bool,
    /// Seconds of Unix time by the clock chip. Absent: there is none.
    chip: Option<i64>,
}

pub(super) fn check(_site: &Site) -> Vec<Finding> {
    judge(&Facts {
        now: wall_now().0.div_euclid(1000),
        daemons: daemons(),
        synchronised: fs::exists(SYNCHRONISED).unwrap_or(false),
        chip: read("/sys/class/rtc/rtc0/since_epoch").parse().ok(),
    })
}

fn daemons() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|entry| read(&format!("{}/comm", entry.path().display())));
    let mut found: Vec<String> = names.filter(|name| DAEMONS.contains(&name.as_str())).collect();
    found.sort();
    found.dedup();
    found
}

fn judge(facts: &Facts) -> Vec<Finding> {
    vec![time(facts), sync(facts), chip(facts)]
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

fn time(facts: &Facts) -> Finding {
    match facts.now {
        EARLIEST..LATEST => Finding::ok("clock", shown(facts.now)),
        now => Finding::failure(
            "clock",
            format!(
                "it says {}, which cannot be: registries' certificates do not hold at such a time",
                shown(now)
            ),
            "set it once with date -u -s '2026-01-31 12:00:00', and have it kept right: apt-get install systemd-timesyncd",
        ),
    }
}

fn sync(facts: &Facts) -> Finding {
    let id = "clock-sync";
    let timesyncd = |name: &String| name == "systemd-timesyn";
    match (facts.daemons.as_slice(), facts.synchronised) {
        ([], _) => Finding::warning(
            id,
            "nothing keeps the clock right: no process of NTP or PTP was seen",
            "apt-get install systemd-timesyncd, or chrony; in a container or a virtual machine the host's may do",
        ),
        ([only], false) if timesyncd(only) => Finding::warning(
            id,
            "systemd-timesyncd runs and has had no answer of a time server since the box came up",
            "timedatectl timesync-status names the server; UDP port 123 must be open towards it",
        ),
        (daemons, _) => {
            let names: Vec<_> =
                daemons.iter().map(|name| if timesyncd(name) { "systemd-timesyncd" } else { name }).collect();
            Finding::ok(id, format!("kept right by {}", names.join(" and ")))
        }
    }
}

fn chip(facts: &Facts) -> Finding {
    let id = "clock-rtc";
    match facts.chip {
        None => Finding::warning(
            id,
            "no clock chip: after a power cut the time is wrong until a time server answers",
            "the agent lives with that, what it tells is off until then; add a clock module, or install fake-hwclock",
        ),
        Some(chip) if chip.abs_diff(facts.now) <= CHIP_OFF => Finding::ok(id, "the clock chip agrees"),
        Some(chip) => Finding::warning(
            id,
            format!("the clock chip says {}, the system {}", shown(chip), shown(facts.now)),
            "hwclock --systohc --utc, when the system's time is right",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    /// 2026-06-01.
    const NOW: i64 = 1_780_272_000;

    fn facts() -> Facts {
        Facts { now: NOW, daemons: vec!["chronyd".to_owned()], synchronised: false, chip: Some(NOW - 3) }
    }

    #[test]
    fn a_good_clock_is_all_right() {
        let findings = judge(&facts());
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Ok), "{findings:#?}");
        assert_eq!(findings[0].found, "2026-06-01T00:00:00Z");
    }

    #[test]
    fn an_impossible_time_is_a_failure() {
        for now in [0, 86_400, EARLIEST - 1, LATEST, i64::MAX, i64::MIN] {
            let finding = time(&Facts { now, ..facts() });
            assert_eq!(finding.outcome, Outcome::Failure, "{finding:?}");
        }
        assert!(time(&Facts { now: 60, ..facts() }).found.contains("1970-01-01"));
    }

    #[test]
    fn what_keeps_the_clock_right_is_told() {
        let timesyncd = vec!["systemd-timesyn".to_owned()];
        for (facts, outcome, words) in [
            (Facts { daemons: Vec::new(), ..facts() }, Outcome::Warning, "nothing keeps"),
            (Facts { daemons: timesyncd.clone(), ..facts() }, Outcome::Warning, "no answer"),
            (Facts { daemons: timesyncd, synchronised: true, ..facts() }, Outcome::Ok, "systemd-timesyncd"),
            (facts(), Outcome::Ok, "chronyd"),
        ] {
            let finding = sync(&facts);
            assert!(finding.outcome == outcome && finding.found.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_clock_chip_is_missing_or_off() {
        for (chip_says, outcome, words) in [
            (None, Outcome::Warning, "no clock chip"),
            (Some(0), Outcome::Warning, "1970"),
            (Some(NOW + 7200), Outcome::Warning, "02:00:00"),
            (Some(NOW + 60), Outcome::Ok, "agrees"),
        ] {
            let finding = chip(&Facts { chip: chip_says, ..facts() });
            assert!(finding.outcome == outcome && finding.found.contains(words), "{finding:?}");
        }
    }
}
