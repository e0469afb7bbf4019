//! A box that boots with no link: from the moment at which Docker is ready until the last of ten containers has started, against ten
//! `docker start`s of the same containers, side by side.

use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::jiff::Timestamp;
use skerry_tests::{DockerHost, IMAGE, Outpost, OutpostOptions, eventually};

use crate::figures::Figure;
use crate::{at_most, median};

const CONTAINERS: usize = 10;
/// Pairs that are not counted: caches of both sides are warm afterwards.
const WARM_UP: usize = 1;

/// The ratio, and how long it takes.
pub async fn boot(pairs: usize) -> Result<Vec<Figure>> {
    let mut outpost = Outpost::new(OutpostOptions::default())?;
    for number in 0..CONTAINERS {
        outpost.put(&format!("boot-{number}"), &app(&format!("boot-{number}")))?;
    }
    outpost.start()?;
    all_run(&outpost).await?;
    let (mut ratios, mut ours, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs + WARM_UP {
        let (skerry, docker) = if pair % 2 == 0 {
            let skerry = by_agent(&mut outpost).await?;
            (skerry, by_docker(&mut outpost).await?)
        } else {
            let docker = by_docker(&mut outpost).await?;
            (by_agent(&mut outpost).await?, docker)
        };
        if pair >= WARM_UP {
            ratios.push(skerry / docker);
            ours.push(skerry);
            floor.push(docker);
        }
    }
    let seconds = median(ours);
    let method = format!(
        "median of {pairs} pairs in alternating order; no agent runs and all ten containers have ended, as after a boot; from the start of the \
         agent's process, or of the ten requests, to the last start as Docker notes it; agent {seconds:.2} s, docker {:.2} s (medians)",
        median(floor)
    );
    Ok(vec![
        at_most("offline_boot_ratio", median(ratios), "ratio", 1.5, method.clone()),
        at_most("offline_boot_s", seconds, "s", 3.0, method),
    ])
}

fn app(name: &str) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      \
         terminationGracePeriodSeconds: 0\n      containers:\n      \
         - {{name: main, image: \"{IMAGE}\", command: [sleep, \"100000\"]}}\n"
    )
}

/// What a boot finds: containers that have ended, and no agent.
async fn boot_of(outpost: &mut Outpost) -> Result<Vec<String>> {
    outpost.kill()?;
    let ids: Vec<String> =
        outpost.containers().await?.identities().await?.into_iter().map(|(id, _)| id).collect();
    ensure!(ids.len() == CONTAINERS, "{} containers run", ids.len());
    let words: Vec<&str> = ["kill"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    outpost.options.host.run(&words).await?;
    eventually("all have ended", || async {
        let left = outpost.containers().await?.identities().await?.len();
        ensure!(left == 0, "{left} run");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(ids)
}

async fn by_agent(outpost: &mut Outpost) -> Result<f64> {
    boot_of(outpost).await?;
    let start = SystemTime::now();
    outpost.start()?;
    all_run(outpost).await?;
    since(outpost, start).await
}

async fn by_docker(outpost: &mut Outpost) -> Result<f64> {
    let ids = boot_of(outpost).await?;
    let host: &DockerHost = &outpost.options.host;
    let docker = host.client().await?;
    let start = SystemTime::now();
    try_join_all(ids.iter().map(|id| docker.start_container(id, None))).await?;
    since(outpost, start).await
}

async fn all_run(outpost: &Outpost) -> Result<()> {
    let containers = outpost.containers().await?;
    eventually("all ten run", || async {
        match containers.identities().await?.len() {
            CONTAINERS => Ok(()),
            count => bail!("{count} run"),
        }
    })
    .await
}

/// From a moment to the last start of a container.
async fn since(outpost: &Outpost, start: SystemTime) -> Result<f64> {
    let all = outpost.containers().await?.identities().await?;
    let started =
        all.iter().map(|(_, started)| started.parse::<Timestamp>()).collect::<Result<Vec<_>, _>>()?;
    let last = started.into_iter().max().context("containers run")?;
    let took = last.duration_since(Timestamp::try_from(start)?);
    ensure!(took.is_positive(), "the last one started before");
    Ok(took.as_secs_f64())
}
