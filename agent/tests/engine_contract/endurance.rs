//! Long runs in paused time: a day of crashes, a week without the cloud. Nothing drifts, and nothing grows.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use skerry_agent_core::CRASH_BACKOFF;
use skerry_proto::wire;
use tokio::time::Instant;

use crate::scenario::{App, app, held};
use crate::supervision::Node;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a crashing container runs.
const RUN: Duration = Duration::from_secs(1);

/// An app whose readiness is asked for every minute, and whose config is a file.
fn probed() -> App {
    let mut probed = app("probed", &["busybox:1"], "1");
    let exec = wire::ExecAction { command: vec!["ready".to_owned()] };
    let template = probed.template();
    template.containers[0].readiness_probe = Some(wire::Probe {
        handler: Some(wire::probe::Handler::Exec(exec)),
        period_seconds: 60,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
        ..wire::Probe::default()
    });
    probed
}

/// A count or a time that is kept on disk takes a byte more when it is larger; there are a few of them.
const LONGER_NUMBERS: u64 = 32;

/// What could grow.
#[derive(Debug, Clone)]
struct Footprint {
    tasks: usize,
    containers: usize,
    files: usize,
    bytes: u64,
}

impl Footprint {
    fn has_not_grown_to(&self, later: &Self) {
        let same = (self.tasks, self.containers, self.files) == (later.tasks, later.containers, later.files);
        assert!(same && self.bytes.abs_diff(later.bytes) <= LONGER_NUMBERS, "{self:?} became {later:?}");
    }
}

fn footprint(node: &Node) -> Footprint {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![node.dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let meta = entry.metadata().expect("it is there");
            if meta.is_dir() {
                folders.push(entry.path());
            }
            (files, bytes) = (files + 1, bytes + meta.len());
        }
    }
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    Footprint { tasks, containers: node.fake.count(), files, bytes }
}

fn written(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

/// Lives on for this long. Every container of web ends `RUN` after its start, which is seen within a `nap`; says when that was.
async fn live(node: &Node, time: Duration, nap: Duration, known: &mut BTreeSet<String>) -> Vec<Instant> {
    let end = Instant::now() + time;
    let mut starts = Vec::new();
    while Instant::now() < end {
        let web = node.fake.running().into_iter().find(|(name, _)| name.contains("web"));
        match web {
            Some((name, id)) if known.insert(id.0.clone()) => {
                starts.push(Instant::now());
                tokio::time::sleep(RUN).await;
                node.fake.exit(&name, 1);
            }
            Some(_) | None => tokio::time::sleep(nap).await,
        }
        node.fake.take_calls();
    }
    starts
}

#[tokio::test(start_paused = true)]
async fn a_day_of_crashes_keeps_to_the_cap_and_leaves_nothing_behind() {
    let node =
        Node::with_state(&held(1, &[app("web", &["busybox:1"], "1"), app("well", &["busybox:1"], "1")]));
    let agent = node.start();
    let mut known = BTreeSet::new();
    let first = live(&node, HOUR, RUN / 10, &mut known).await;
    let after_an_hour = footprint(&node);
    let starts = live(&node, DAY - HOUR, RUN / 10, &mut known).await;
    assert!(first.len() > 10, "{}", first.len());
    let gaps: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // What the engine and the look take comes on top, every time anew: it does not add up.
    let (least, most) = (CRASH_BACKOFF.max + RUN, CRASH_BACKOFF.max + RUN + Duration::from_secs(1));
    let off = gaps.iter().enumerate().find(|(_, gap)| **gap < least || **gap > most);
    assert_eq!(off, None, "not at the cap");
    assert!(gaps.len() > 260, "{}", gaps.len());
    let (looks, before) = (node.fake.looks(), footprint(&node));
    live(&node, HOUR, RUN / 10, &mut known).await;
    after_an_hour.has_not_grown_to(&before);
    before.has_not_grown_to(&footprint(&node));
    let looks = node.fake.looks() - looks;
    assert!(looks < 12 * 12, "{looks} looks for twelve restarts");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_week_without_the_cloud_costs_no_more_than_a_day() {
    let node = Node::with_state(&held(
        1,
        &[app("web", &["busybox:1"], "1"), probed(), app("pair", &["busybox:1"; 2], "1")],
    ));
    let agent = node.start();
    let mut known = BTreeSet::new();
    let mut days = Vec::new();
    for day in 0..7u32 {
        let mut starts = 0;
        for hour in 0..24u32 {
            node.fake.set_sick("ready", (day + hour) % 2 == 1);
            starts += live(&node, HOUR, 10 * RUN, &mut known).await.len();
        }
        let stored = written(&node.dir.path().join("desired.bin"));
        days.push((starts, stored, footprint(&node), agent.standings.borrow().len()));
    }
    let (second, last) = (&days[1], &days[6]);
    assert!(second.0.abs_diff(last.0) <= 1, "restarts: {days:?}");
    assert_eq!(second.1, last.1, "a box at rest writes nothing");
    second.2.has_not_grown_to(&last.2);
    assert_eq!(second.3, last.3, "standings");
    // It is as well as on the first day.
    node.fake.set_sick("ready", false);
    node.rest().await;
    let mut controller = agent.connect().await;
    controller.status("probed", |status| status.ready).await;
    agent.stop().await;
}
