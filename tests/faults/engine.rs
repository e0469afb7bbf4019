//! Docker goes away under the agent: restarted and killed at every step, absent at boot, hung, without power. Each test has a dockerd of its own.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use skerry_tests::{DockerHost, Outpost, OutpostOptions, PrivateDocker, eventually, unmount};

use crate::apps::{App, Kind, bystander};
use crate::check::{Seen, containers, look, settled, untouched};
use crate::gate::{Gate, step};

/// With nothing said for this long, the agent may be done.
const QUIET: Duration = Duration::from_millis(100);

/// How dockerd ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Stop,
    Power,
}

/// Containers outlive their dockerd: none that is as desired may be restarted.
pub async fn a_restart_of_docker_at_every_step_of_an_update() -> Result<()> {
    let (one, two) = (App::new("app", Kind::Pod, 1), App::new("app", Kind::Pod, 2));
    let changes = [(End::Kill, &two), (End::Stop, &one)];
    let mut stage = Stage::start(true, vec![bystander(), one.clone()]).await?;
    for number in 1.. {
        let mut any = false;
        for (end, app) in changes {
            any |= stage.round(number, end, Some(app)).await?;
        }
        if !any {
            ensure!(number > 11, "only {} steps were announced", number - 1);
            return Ok(());
        }
    }
    Ok(())
}

/// Containers end with their dockerd, and each is started once again.
pub async fn a_restart_of_docker_at_every_step_of_a_start() -> Result<()> {
    let app = App::new("app", Kind::Pod, 1);
    let mut stage = Stage::start(false, vec![bystander()]).await?;
    for number in 1.. {
        let end = if number % 2 == 0 { End::Stop } else { End::Kill };
        let any = stage.round(number, end, Some(&app)).await?;
        stage.round(usize::MAX, end, None).await?;
        if !any {
            ensure!(number > 11, "only {} steps were announced", number - 1);
            return Ok(());
        }
    }
    Ok(())
}

/// Everything on the box ends at once, at rest and in the middle of a start; it comes back with no network.
pub async fn a_power_cut_is_survived_with_no_network() -> Result<()> {
    let app = App::new("app", Kind::Pod, 1);
    let mut stage = Stage::start(false, vec![bystander()]).await?;
    for number in [3, 6, 9] {
        stage.round(number, End::Power, Some(&app)).await?;
        stage.round(usize::MAX, End::Power, None).await?;
    }
    let beside = App::new("app", Kind::SideBySide, 2);
    stage.round(usize::MAX, End::Power, Some(&beside)).await?;
    stage.outpost.kill()?;
    stage.end(End::Power)?;
    stage.docker.launch()?;
    stage.outpost.start()?;
    stage.docker.answers().await?;
    let after = settled(&stage.outpost, &[bystander(), beside]).await?;
    once(&stage.before, &after)
}

pub async fn a_docker_that_is_absent_at_boot_is_waited_for() -> Result<()> {
    let mut docker = PrivateDocker::start(false).await?;
    docker.stop()?;
    let mut outpost = outpost_on(&docker.host)?;
    bystander().put(&outpost)?;
    outpost.start()?;
    says_docker(&outpost, false).await?;
    docker.up().await?;
    settled(&outpost, &[bystander()]).await?;
    says_docker(&outpost, true).await
}

/// Its socket takes connections, and nobody answers.
pub async fn a_docker_that_hangs_is_said_and_survived() -> Result<()> {
    let mut docker = PrivateDocker::start(false).await?;
    let mut outpost = outpost_on(&docker.host)?;
    let (one, two) = (App::new("app", Kind::Single, 1), App::new("app", Kind::Single, 2));
    for app in [&one, &bystander()] {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let before = settled(&outpost, &[bystander(), one]).await?;
    docker.daemon()?.pause()?;
    two.put(&outpost)?;
    says_docker(&outpost, false).await?;
    // An agent that starts meanwhile says it, too.
    outpost.kill()?;
    outpost.start()?;
    says_docker(&outpost, false).await?;
    docker.daemon()?.resume()?;
    let after = settled(&outpost, &[bystander(), two]).await?;
    untouched(&before, &after)?;
    says_docker(&outpost, true).await
}

/// One end of a container is followed by one restart.
fn once(before: &[Seen], after: &[Seen]) -> Result<()> {
    for one in after {
        let same = |other: &&Seen| other.app == one.app && other.role == one.role && other.hash == one.hash;
        let most = before.iter().filter(same).map(|other| other.restarts).max().unwrap_or(0) + 1;
        ensure!(one.restarts <= most, "restarted more than once: {one:?}");
    }
    Ok(())
}

async fn says_docker(outpost: &Outpost, ready: bool) -> Result<()> {
    eventually(&format!("the status says that docker is ready: {ready}"), || async {
        let status = outpost.status().await?;
        if status["node"]["dockerReady"] == ready { Ok(()) } else { bail!("{}", status["node"]) }
    })
    .await
}

fn outpost_on(host: &DockerHost) -> Result<Outpost> {
    Outpost::new(OutpostOptions { host: host.clone(), ..OutpostOptions::default() })
}

/// A box with a dockerd of its own, and what its containers were when all was well last.
struct Stage {
    // Before its dockerd, which removes the containers.
    outpost: Outpost,
    docker: PrivateDocker,
    live_restore: bool,
    before: Vec<Seen>,
}

impl Stage {
    async fn start(live_restore: bool, apps: Vec<App>) -> Result<Self> {
        let docker = PrivateDocker::start(live_restore).await?;
        let mut outpost = outpost_on(&docker.host)?;
        for app in &apps {
            app.put(&outpost)?;
        }
        outpost.start()?;
        let before = settled(&outpost, &apps).await?;
        Ok(Self { outpost, docker, live_restore, before })
    }

    /// Changes the app, ends dockerd at the step of this number, starts it again and checks. False if there was no such step.
    async fn round(&mut self, number: usize, end: End, app: Option<&App>) -> Result<bool> {
        self.outpost.kill()?;
        let mut wanted = vec![bystander()];
        match app {
            Some(app) => app.put(&self.outpost)?,
            None => self.outpost.take("app")?,
        }
        wanted.extend(app.cloned());
        let mut gate = Gate::start(&mut self.outpost)?;
        let (mut steps, mut last, mut hit) = (0, String::new(), None);
        while hit.is_none() {
            let Some(line) = gate.held(QUIET).await? else {
                if look(&self.outpost, &wanted).await.is_ok() {
                    break;
                }
                continue;
            };
            let verb = step(&line).unwrap_or_default().to_owned();
            // One step stops several containers, and says so of each.
            steps += usize::from(!(verb.is_empty() || verb == "stop" && last == "stop"));
            last = verb;
            match steps == number {
                true => hit = Some(line),
                false => gate.pass()?,
            }
        }
        let Some(line) = hit else {
            gate.open()?;
            self.before = settled(&self.outpost, &wanted).await?;
            return Ok(false);
        };
        let ran = containers(&self.outpost).await?;
        let told =
            |error: anyhow::Error| error.context(format!("{end:?} of docker at step {number}: {line}"));
        if end == End::Power {
            self.outpost.kill()?;
        }
        self.end(end)?;
        self.docker.launch()?;
        match end {
            End::Power => self.outpost.start()?,
            End::Kill | End::Stop => gate.open()?,
        }
        self.docker.answers().await?;
        let after = settled(&self.outpost, &wanted).await.map_err(told)?;
        if self.live_restore {
            untouched(&ran, &after).map_err(told)?;
            untouched(&self.before, &after).map_err(told)?;
        }
        once(&ran, &after).map_err(told)?;
        self.before = after;
        Ok(true)
    }

    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Kill => self.docker.kill(),
            End::Stop => self.docker.stop(),
            End::Power => {
                self.docker.cut_power()?;
                unmount(&self.outpost.name)
            }
        }
    }
}
