//! SIGKILL to the agent at every step of its executor: exactly before the step, and while Docker works on it. The next agent finishes what was
//! begun, starts nothing twice, and leaves alone what was there already.

use std::time::Duration;

use anyhow::{Result, ensure};
use skerry_tests::{Outpost, OutpostOptions};

use crate::apps::{App, Kind, ROLLED_BACK, bystander};
use crate::check::{Seen, containers, look, settled, untouched};
use crate::gate::{Gate, step};

/// With nothing said for this long, the agent may be done.
const QUIET: Duration = Duration::from_millis(100);
/// How far Docker gets with a step before the agent is killed: nowhere, half way, to the end.
const LATER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(15), Duration::from_millis(60)];

/// Where in a step the agent is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    /// After the step was announced.
    During,
}

/// One thing that changes on a box, and what is to come of it.
struct Change<'a> {
    moment: Moment,
    /// Makes it, while no agent runs. It is told how often it was called before.
    make: &'a dyn Fn(&Outpost, u32) -> Result<()>,
    wanted: Vec<App>,
}

pub async fn a_kill_at_every_step_of_a_start_and_a_removal() -> Result<()> {
    let (bystander, app) = (bystander(), App::new("app", Kind::Pod, 1));
    let start: &dyn Fn(&Outpost, u32) -> Result<()> = &|outpost, _| app.put(outpost);
    let removal: &dyn Fn(&Outpost, u32) -> Result<()> = &|outpost, _| outpost.take("app");
    let both = vec![bystander.clone(), app.clone()];
    let changes = [Moment::Before, Moment::During].map(|moment| {
        let (both, one) = (both.clone(), vec![bystander.clone()]);
        [Change { moment, make: start, wanted: both }, Change { moment, make: removal, wanted: one }]
    });
    let changes: Vec<Change<'_>> = changes.into_iter().flatten().collect();
    // Files, network, and four containers, each created and started.
    at_every_step(vec![bystander.clone()], &changes, 11).await
}

pub async fn a_kill_at_every_step_of_an_update() -> Result<()> {
    update(Kind::Pod, 11).await
}

pub async fn a_kill_at_every_step_of_an_update_side_by_side() -> Result<()> {
    update(Kind::SideBySide, 8).await
}

async fn update(kind: Kind, steps: usize) -> Result<()> {
    let (one, two) = (App::new("app", kind, 1), App::new("app", kind, 2));
    let changes = [(&two, Moment::Before), (&one, Moment::During)];
    let makes = changes.map(|(app, _)| move |outpost: &Outpost, _: u32| app.put(outpost));
    let changes: Vec<Change<'_>> = changes
        .iter()
        .zip(&makes)
        .map(|((app, moment), make)| Change {
            moment: *moment,
            make,
            wanted: vec![bystander(), (*app).clone()],
        })
        .collect();
    at_every_step(vec![bystander(), one.clone()], &changes, steps).await
}

pub async fn a_kill_before_every_step_of_a_roll_back() -> Result<()> {
    roll_back(Moment::Before).await
}

pub async fn a_kill_in_every_step_of_a_roll_back() -> Result<()> {
    roll_back(Moment::During).await
}

async fn roll_back(moment: Moment) -> Result<()> {
    let good = App::new("app", Kind::Pod, 1);
    // A revision that failed is not tried again, so each is another one.
    let make = |outpost: &Outpost, round: u32| good.put_broken(outpost, 100 + round);
    let back = App { phase: ROLLED_BACK, ..good.clone() };
    let wanted = vec![bystander(), back];
    let change = Change { moment, make: &make, wanted };
    at_every_step(vec![bystander(), good.clone()], &[change], 11).await
}

/// Makes the changes in turn, again and again, each time with the kill one step later, until there are no more steps. There must be `least`.
async fn at_every_step(first: Vec<App>, changes: &[Change<'_>], least: usize) -> Result<()> {
    let mut outpost = Outpost::new(OutpostOptions::default())?;
    for app in &first {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let mut before = settled(&outpost, &first).await?;
    if changes.iter().any(|change| change.wanted.iter().any(|app| app.phase == ROLLED_BACK)) {
        // What a box goes back to has been ready for this long.
        tokio::time::sleep(GOOD).await;
    }
    let mut round = 0;
    for number in 1.. {
        let mut any = false;
        for change in changes {
            outpost.kill()?;
            (change.make)(&outpost, round)?;
            round += 1;
            let hit = kill_at(&mut outpost, number, change).await?;
            any |= hit.is_some();
            let (line, at_kill) = hit.unwrap_or_else(|| ("no step".to_owned(), before.clone()));
            outpost.start()?;
            let told = |error: anyhow::Error| {
                error.context(format!("killed {:?} step {number}: {line}", change.moment))
            };
            let after = settled(&outpost, &change.wanted).await.map_err(told)?;
            for seen in [&at_kill, &before] {
                // What a box goes back to was replaced on the way there.
                let back =
                    |name: &str| change.wanted.iter().any(|app| app.name == name && app.phase == ROLLED_BACK);
                let spared: Vec<Seen> = seen.iter().filter(|one| !back(&one.app)).cloned().collect();
                untouched(&spared, &after).map_err(told)?;
            }
            before = after;
        }
        if !any {
            ensure!(number > least, "only {} steps were announced, of {least}", number - 1);
            break;
        }
    }
    Ok(())
}

/// Longer than it takes until a revision counts as good.
const GOOD: Duration = Duration::from_secs(11);

/// Runs an agent up to its step of this number and kills it there. The line of the step, and what ran at that moment; `None` if the change was
/// made before that.
async fn kill_at(
    outpost: &mut Outpost,
    number: usize,
    change: &Change<'_>,
) -> Result<Option<(String, Vec<Seen>)>> {
    let mut gate = Gate::start(outpost)?;
    let (mut steps, mut last) = (0, String::new());
    loop {
        let Some(line) = gate.held(QUIET).await? else {
            if look(outpost, &change.wanted).await.is_ok() {
                outpost.kill()?;
                return Ok(None);
            }
            continue;
        };
        let verb = step(&line).unwrap_or_default().to_owned();
        // One step stops several containers, and says so of each.
        if !(verb.is_empty() || verb == "stop" && last == "stop") {
            steps += 1;
        }
        if steps == number {
            let ran = containers(outpost).await?;
            if change.moment == Moment::During {
                gate.pass()?;
                tokio::time::sleep(LATER[number % LATER.len()]).await;
            }
            outpost.kill()?;
            return Ok(Some((line, ran)));
        }
        last = verb;
        gate.pass()?;
    }
}
