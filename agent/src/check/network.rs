//! Names and the controller. A box without a network is no broken box: what runs, runs on. What it cannot do then is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::fmt::rfc2822;

use super::{Finding, PATIENCE, Site, read};
use crate::clock::wall_now;
use crate::config::ControllerUrl;
use crate::uplink::reach::{Reached, reach};

pub(super) const DNS_IDS: &[&str] = &["dns"];
pub(super) const IDS: &[&str] = &["controller", "clock-offset"];

/// HTTP tells the time to the second, and the answer was under way.
const OFFSET: u64 = 5;

/// What is known of names.
#[derive(Debug)]
struct Names {
    /// Name servers of `/etc/resolv.conf`.
    servers: Vec<String>,
    /// The controller's name. Absent: it has an address.
    name: Option<String>,
    /// What came of looking it up: how many addresses, or why none.
    looked_up: Option<Result<usize, String>>,
}

/// What is known of the controller.
#[derive(Debug)]
struct Facts {
    controller: ControllerUrl,
    /// Somebody named it.
    given: bool,
    stage: Stage,
    /// Seconds of Unix time, when it answered.
    now: i64,
}

/// How far one comes.
#[derive(Debug)]
enum Stage {
    /// No connection.
    Unreachable(String),
    /// A connection, and not what a controller says.
    Silent(String),
    Answered(Reached, u128),
}

pub(super) async fn names(site: Arc<Site>) -> Vec<Finding> {
    let servers = servers(&read("/etc/resolv.conf"));
    let (host, port) = split(&site.config.controller);
    let name = host.parse::<IpAddr>().is_err().then_some(host);
    let looked_up = match &name {
        Some(name) => {
            let looking = tokio::net::lookup_host((name.as_str(), port));
            Some(match tokio::time::timeout(PATIENCE, looking).await {
                Ok(Ok(addresses)) => Ok(addresses.count()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err(format!("no name server answers within {} s", PATIENCE.as_secs())),
            })
        }
        None => None,
    };
    vec![judge_names(&Names { servers, name, looked_up })]
}

pub(super) async fn check(site: Arc<Site>) -> Vec<Finding> {
    let controller = site.config.controller.clone();
    let (host, port) = split(&controller);
    let late = || format!("no answer within {} s", PATIENCE.as_secs());
    let began = Instant::now();
    let connecting = tokio::net::TcpStream::connect((host.as_str(), port));
    let stage = match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => {
            match tokio::time::timeout(PATIENCE.saturating_sub(began.elapsed()), reach(&controller)).await {
                Ok(Ok(reached)) => Stage::Answered(reached, began.elapsed().as_millis()),
                Ok(Err(why)) => Stage::Silent(why),
                Err(_elapsed) => Stage::Silent(late()),
            }
        }
        Ok(Err(error)) => Stage::Unreachable(error.to_string()),
        Err(_elapsed) => Stage::Unreachable(late()),
    };
    let now = wall_now().0.div_euclid(1000);
    judge(&Facts { controller, given: site.controller_given, stage, now })
}

/// Host and port. The address of IPv6 is without its brackets.
fn split(controller: &ControllerUrl) -> (String, u16) {
    let text = controller.to_string();
    let authority = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or_default())
}

fn servers(resolv: &str) -> Vec<String> {
    let server =
        |line: &str| Some(line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.to_owned());
    resolv.lines().filter_map(server).collect()
}

fn judge_names(names: &Names) -> Finding {
    let Names { servers, name, looked_up } = names;
    let fix = "name a server that answers in /etc/resolv.conf, or in what writes it (resolvectl status); apps get the same servers";
    let asked = servers.join(", ");
    match (name, looked_up) {
        (Some(name), Some(Err(why))) => Finding::failure(
            "dns",
            format!("{name}, the controller's, is not found: {why} (asked: {asked})"),
            fix,
        ),
        (Some(name), Some(Ok(0))) => {
            Finding::failure("dns", format!("{name}, the controller's, has no address (asked: {asked})"), fix)
        }
        _ if servers.is_empty() => {
            Finding::warning("dns", "no name server is configured: registries by name cannot be reached", fix)
        }
        (Some(name), _) => Finding::ok("dns", format!("{name} is found; name servers: {asked}")),
        (None, _) => Finding::ok("dns", format!("name servers: {asked}; the controller needs none")),
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let Facts { controller, given, stage, now } = facts;
    let id = "controller";
    match stage {
        Stage::Unreachable(why) if !given => vec![Finding::warning(
            id,
            format!("none was named, and none is at {controller}: {why}"),
            "name it as controller in agent.toml; a box with apps of its own alone needs none",
        )],
        Stage::Unreachable(why) => vec![Finding::failure(
            id,
            format!("{controller} cannot be reached: {why}; what runs here runs on"),
            "check its address, that it runs, and the firewalls in between",
        )],
        Stage::Silent(why) => vec![Finding::failure(
            id,
            format!("something listens at {controller}, and does not answer as a controller: {why}"),
            "check the port: sessions are on 7443 by default, health and metrics on another; a proxy must let HTTP/2 through",
        )],
        Stage::Answered(reached, _) if !reached.grpc => vec![Finding::failure(
            id,
            format!("{controller} answers, and is no Skerry controller"),
            "check the port: sessions are on 7443 by default, health and metrics on another",
        )],
        Stage::Answered(reached, millis) => {
            let found = Finding::ok(id, format!("{controller} answers, in {millis} ms"));
            std::iter::once(found)
                .chain(reached.date.as_deref().and_then(|date| offset(date, *now)))
                .collect()
        }
    }
}

fn offset(date: &str, now: i64) -> Option<Finding> {
    let id = "clock-offset";
    let theirs = rfc2822::parse(date).ok()?.timestamp().as_second();
    let off = now.abs_diff(theirs);
    if off <= OFFSET {
        return Some(Finding::ok(id, format!("within {OFFSET} s of the controller's clock")));
    }
    let way = if now > theirs { "ahead of" } else { "behind" };
    Some(Finding::warning(
        id,
        format!("{off} s {way} the controller's clock: times of events are off by that"),
        "find out which of the two is wrong, and have it kept right by NTP: see clock-sync",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn names(servers: &[&str], name: Option<&str>, looked_up: Option<Result<usize, String>>) -> Finding {
        let servers = servers.iter().map(|server| (*server).to_owned()).collect();
        judge_names(&Names { servers, name: name.map(str::to_owned), looked_up })
    }

    #[test]
    fn names_are_judged_by_what_is_needed_of_them() {
        let hangs = || Some(Err("no name server answers within 8 s".to_owned()));
        for (finding, outcome, words) in [
            (names(&["10.0.0.1"], None, None), Outcome::Ok, "10.0.0.1"),
            (names(&[], None, None), Outcome::Warning, "no name server is configured"),
            (names(&["10.0.0.1"], Some("cloud.example"), Some(Ok(2))), Outcome::Ok, "is found"),
            (names(&["10.0.0.1"], Some("cloud.example"), Some(Ok(0))), Outcome::Failure, "no address"),
            (
                names(&["10.0.0.1"], Some("cloud.example"), hangs()),
                Outcome::Failure,
                "within 8 s (asked: 10.0.0.1)",
            ),
            (names(&[], Some("localhost"), Some(Ok(1))), Outcome::Warning, "registries"),
        ] {
            assert!(finding.outcome == outcome && finding.found.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn name_servers_are_read_as_the_system_reads_them() {
        let text =
            "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1\n nameserver\tfe80::1%eth0 \nnameserver\n";
        assert_eq!(servers(text), ["10.0.0.1", "fe80::1%eth0"]);
    }

    #[test]
    fn host_and_port_are_taken_apart() {
        let parts = |url: &str| split(&url.parse().expect("a url"));
        assert_eq!(parts("http://localhost:7443/"), ("localhost".to_owned(), 7443));
        assert_eq!(parts("http://[::1]:1"), ("::1".to_owned(), 1));
    }

    fn controller(given: bool, stage: Stage) -> Vec<Finding> {
        let controller = "http://127.0.0.1:7443".parse().expect("a url");
        // 2026-11-28T01:02:03Z
        judge(&Facts { controller, given, stage, now: 1_795_827_723 })
    }

    #[test]
    fn a_controller_that_is_away_is_a_failure_only_where_one_was_named() {
        let refused = || Stage::Unreachable("Connection refused".to_owned());
        let [finding] = &controller(true, refused())[..] else { panic!("one finding") };
        assert!(finding.outcome == Outcome::Failure && finding.found.contains("refused"), "{finding:?}");
        let [finding] = &controller(false, refused())[..] else { panic!("one finding") };
        assert_eq!(finding.outcome, Outcome::Warning, "{finding:?}");
        let [finding] = &controller(true, Stage::Silent("no answer within 8 s".to_owned()))[..] else {
            panic!("one finding")
        };
        assert!(finding.outcome == Outcome::Failure && finding.fix.contains("port"), "{finding:?}");
        let other = Stage::Answered(Reached { grpc: false, date: None }, 3);
        assert_eq!(controller(true, other)[0].outcome, Outcome::Failure);
    }

    #[test]
    fn the_offset_of_the_clocks_is_told() {
        for (date, outcome, words) in [
            ("Sat, 28 Nov 2026 01:02:01 GMT", Outcome::Ok, "within"),
            ("Sat, 28 Nov 2026 00:02:03 GMT", Outcome::Warning, "3600 s ahead of"),
            ("Sun, 28 Nov 2027 01:02:03 GMT", Outcome::Warning, "31536000 s behind"),
        ] {
            let reached = Reached { grpc: true, date: Some(date.to_owned()) };
            let findings = controller(true, Stage::Answered(reached, 3));
            let [ours, offset] = findings.as_slice() else { panic!("{findings:#?}") };
            assert_eq!(ours.outcome, Outcome::Ok);
            assert!(offset.outcome == outcome && offset.found.contains(words), "{offset:?}");
        }
        let silent = Reached { grpc: true, date: Some("yesterday".to_owned()) };
        assert_eq!(controller(true, Stage::Answered(silent, 3)).len(), 1);
    }
}
