//! `skerry-agent status`.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Output, StatusArgs};
use crate::admin::candidates;
use crate::admin::client::{Agent, CallError};
use crate::admin::view::{AppReport, NodeReport, ProblemReport, Report, UpgradeReport};
use crate::config::Config;
use crate::upgrade::Outcome;

/// The exit code when something is not ready.
const NOT_READY: u8 = 3;
const NO_AGENT: u8 = 1;

/// What is printed, and the exit code.
pub async fn status(args: StatusArgs, config: Config) -> Result<(String, u8), (String, u8)> {
    let StatusArgs { app, output, place: _ } = args;
    let asked = async {
        let agent = Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir)).await?;
        agent.status().await
    };
    let mut report = asked.await.map_err(|error| (explain(&error), NO_AGENT))?;
    if let Some(app) = app {
        let keys: Vec<String> = report.apps.iter().map(AppReport::key).collect();
        let key = app.among(keys.iter().map(String::as_str)).map_err(|why| (why, 1))?;
        report.apps.retain(|app| app.key() == key);
    }
    let well = report.apps.iter().all(AppReport::is_well) && report.node.docker_ready;
    let text = match output {
        Output::Json => serde_json::to_string_pretty(&report).map_err(|error| (error.to_string(), 1))? + "\n",
        Output::Table => table(&report, false, Timestamp::now()),
        Output::Wide => table(&report, true, Timestamp::now()),
    };
    Ok((text, if well { 0 } else { NOT_READY }))
}

/// With what to do.
pub(super) fn explain(error: &CallError) -> String {
    match error {
        CallError::NoAgent { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("{error}; try it with sudo, as the user that the agent runs as")
        }
        CallError::NoAgent { .. } => format!(
            "{error}; is it running? Look at systemctl status skerry-agent, or start it with skerry-agent run. Containers run without it; skerry-agent logs and docker ps show them"
        ),
        CallError::Refused(_) | CallError::Garbled(_) => error.to_string(),
    }
}

const HEADER: [&str; 8] = ["NAMESPACE", "APP", "PHASE", "READY", "RESTARTS", "AGE", "REVISION", "SOURCE"];

fn table(report: &Report, wide: bool, now: Timestamp) -> String {
    let mut text = node_line(&report.node, now);
    if report.apps.is_empty() {
        text += "no apps\n";
        return text;
    }
    let rows: Vec<[String; 8]> = report.apps.iter().map(|app| row(app, now)).collect();
    let header = HEADER.map(str::to_owned);
    let width = |i: usize| rows.iter().chain([&header]).map(|row| row[i].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    text += &line(&header);
    for (row, app) in rows.iter().zip(&report.apps) {
        text += &line(row);
        let at_rest = app.is_well() && app.phase == "Running";
        if !at_rest && !app.message.is_empty() {
            let _ = writeln!(text, "  {}: {}", app.reason, one_line(&app.message));
        }
        for container in app.containers.iter().filter(|container| wide || !container.message.is_empty()) {
            let id = container.id.get(..12).unwrap_or(&container.id);
            let restarts = container.restart_count;
            let mut words = format!(
                "  {} {} ready={} restarts={restarts}",
                container.name, container.state, container.ready
            );
            if wide && !id.is_empty() {
                let _ = write!(words, " id={id}");
            }
            let why = format!("{} {}", container.reason, one_line(&container.message));
            if !why.trim().is_empty() {
                let _ = write!(words, ": {}", why.trim());
            }
            text += words.trim_end();
            text.push('\n');
        }
    }
    text
}

/// Without line breaks.
pub(super) fn one_line(text: &str) -> String {
    // What a container says must not move the reader's cursor.
    let plain = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn node_line(node: &NodeReport, now: Timestamp) -> String {
    let since = node.connected_changed_at.as_deref().map(|moment| age(moment, now));
    let link = match (node.connected, since) {
        (true, since) => format!("connected for {}", since.unwrap_or_default()),
        (false, Some(since)) => format!("not connected, last seen {since} ago"),
        (false, None) => "not connected since the agent's start".to_owned(),
    };
    let mut text =
        format!("node {} · agent {} · controller {} {link}", node.name, node.agent_version, node.controller);
    match node.docker_ready {
        true => text += &format!(" · docker {}\n", node.docker_version),
        false => text += &format!(" · docker is not ready: {}\n", one_line(&node.docker_message)),
    }
    for ProblemReport { kind, reason, message } in &node.problems {
        text += &format!("{kind}: {reason}: {}\n", one_line(message));
    }
    if node.untold > 0 {
        text += &format!("{} things that happened wait to be told to the controller\n", node.untold);
    }
    if node.lost > 0 {
        text += &format!("{} things that happened were lost before they could be told\n", node.lost);
    }
    if let Some(upgrade) = &node.upgrade {
        text += &upgrade_line(upgrade, now);
    }
    for problem in &node.manifest_problems {
        text += &format!("manifest {}\n", one_line(problem));
    }
    text
}

/// Of one that is done and good there is nothing to say.
fn upgrade_line(upgrade: &UpgradeReport, now: Timestamp) -> String {
    let UpgradeReport { id: _, from, to, at, outcome, message } = upgrade;
    let ago = age(at, now);
    match outcome {
        Outcome::TookOver => String::new(),
        Outcome::Trying => format!("upgrade from {from} to {to}: being tried for {ago}\n"),
        Outcome::OnProbation => format!("upgrade from {from} to {to}: on probation for {ago}\n"),
        Outcome::GaveWay => {
            format!("upgrade from {from} to {to} gave way {ago} ago: {}\n", one_line(message))
        }
        Outcome::WentBack => {
            format!("upgrade from {from} to {to} went back {ago} ago: {}\n", one_line(message))
        }
    }
}

fn row(app: &AppReport, now: Timestamp) -> [String; 8] {
    let ready = app.containers.iter().filter(|container| container.ready).count();
    // The age of what runs; of what does not, since when it is so.
    let oldest =
        app.containers.iter().filter(|c| c.state == "Running").filter_map(|c| c.started_at.as_ref()).min();
    [
        app.namespace.clone(),
        app.name.clone(),
        app.phase.clone(),
        format!("{ready}/{}", app.containers.len()),
        app.restarts().to_string(),
        age(oldest.unwrap_or(&app.since), now),
        if app.revision.is_empty() { "-".to_owned() } else { app.revision.clone() },
        app.source.clone(),
    ]
}

/// As kubectl shows it: the largest unit that is not zero, with the next where it matters.
fn age(moment: &str, now: Timestamp) -> String {
    let Ok(moment) = moment.parse::<Timestamp>() else { return "-".to_owned() };
    let seconds = now.as_second().saturating_sub(moment.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (minutes, hours, days) {
        (0..=1, _, _) => format!("{seconds}s"),
        (2..=9, _, _) if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        (_, 0..=2, _) => format!("{minutes}m"),
        (_, 3..=7, _) if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        (_, _, 0..=1) => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::ContainerReport;

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().expect("a time")
    }

    fn report() -> Report {
        let container = |name: &str, ready| ContainerReport {
            name: name.to_owned(),
            kind: "Main".to_owned(),
            id: "0123456789abcdef".to_owned(),
            ready,
            restart_count: 2,
            state: "Running".to_owned(),
            started_at: Some("2026-01-01T23:50:00Z".to_owned()),
            exit_code: None,
            reason: String::new(),
            message: if ready { String::new() } else { "readiness probe\nfailed".to_owned() },
        };
        let app = |name: &str, ready| AppReport {
            namespace: "plant".to_owned(),
            name: name.to_owned(),
            revision: format!("{name}-5d8f"),
            phase: if ready { "Running" } else { "Probing" }.to_owned(),
            ready,
            reason: if ready { "Ready" } else { "NotReady" }.to_owned(),
            message: if ready { String::new() } else { "container main is not ready".to_owned() },
            source: "Cloud".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            containers: vec![container("main", ready), container("side", true)],
        };
        Report {
            node: NodeReport {
                name: "box-7".to_owned(),
                agent_version: "0.1.0".to_owned(),
                controller: "http://127.0.0.1:7443".to_owned(),
                connected: false,
                connected_changed_at: Some("2026-01-01T22:00:00Z".to_owned()),
                docker_ready: true,
                docker_version: "28.0.1".to_owned(),
                docker_message: String::new(),
                problems: Vec::new(),
                untold: 3,
                lost: 1,
                manifest_problems: Vec::new(),
                upgrade: None,
            },
            apps: vec![app("db", false), app("web", true)],
        }
    }

    #[test]
    fn a_table_says_how_things_are_and_what_is_wrong() {
        let expected = "\
node box-7 · agent 0.1.0 · controller http://127.0.0.1:7443 not connected, last seen 120m ago · docker 28.0.1
3 things that happened wait to be told to the controller
1 things that happened were lost before they could be told
NAMESPACE  APP  PHASE    READY  RESTARTS  AGE  REVISION  SOURCE
plant      db   Probing  1/2    4         10m  db-5d8f   Cloud
  NotReady: container main is not ready
  main Running ready=false restarts=2: readiness probe failed
plant      web  Running  2/2    4         10m  web-5d8f  Cloud
";
        let text = table(&report(), false, now());
        assert_eq!(text, expected, "{text}");
        let wide = table(&report(), true, now());
        assert!(wide.contains("  side Running ready=true restarts=2 id=0123456789ab\n"), "{wide}");
    }

    #[test]
    fn ages_are_as_kubectl_shows_them() {
        let ago = |seconds: i64| {
            let moment = Timestamp::from_second(now().as_second() - seconds).expect("a time");
            age(&moment.to_string(), now())
        };
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600 + 60, "3h1m"),
            (9 * 3600, "9h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
        ] {
            assert_eq!(ago(seconds), text, "{seconds}");
        }
    }
}
