//! Faults at random, mixed with changes, under one agent with a dockerd, a disk and a clock of its own. Now and then everything is healed, and
//! the checker of all fault tests looks. The steps follow from the seed alone: `make chaos SEED=… STEPS=…` plays a run again.

mod model;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skerry_tests::{Outpost, OutpostOptions, PrivateDocker, unmount};

use crate::apps::bystander;
use crate::check::{Seen, settled, untouched};
use crate::clock::Clock;
use crate::disk::SmallDisk;
use model::{Model, Step};

/// What `make test` plays: a run that everybody has the same way.
const SEED: u64 = 1;
const STEPS: usize = 200;

pub async fn faults_at_random_leave_nothing_wrong() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let seed = match number("SKERRY_CHAOS_SEED").as_deref() {
        None => SEED,
        Some("random") => fastrand::u64(..1_000_000),
        Some(text) => text.parse().context("SKERRY_CHAOS_SEED")?,
    };
    let steps =
        number("SKERRY_CHAOS_STEPS").map_or(Ok(STEPS), |text| text.parse()).context("SKERRY_CHAOS_STEPS")?;
    let mut told = Vec::new();
    play(seed, steps, &mut told).await.with_context(|| {
        let last = told[told.len().saturating_sub(40)..].join("\n  ");
        format!("make chaos SEED={seed} STEPS={} plays this again; its last steps:\n  {last}\n", told.len())
    })
}

async fn play(seed: u64, steps: usize, told: &mut Vec<String>) -> Result<()> {
    let mut model = Model::new(seed);
    let mut stage = Stage::start().await?;
    for number in 1..=steps {
        let step = if number == steps { Step::Check } else { model.step() };
        told.push(format!("{number} {step:?}"));
        say(told.last().map(String::as_str).unwrap_or_default());
        stage.play(&step, &mut model).await?;
    }
    Ok(())
}

/// A long run shows where it is.
#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn say(step: &str) {
    if std::env::var_os("SKERRY_CHAOS_STEPS").is_some() {
        eprintln!("{step}");
    }
}

/// The box.
struct Stage {
    // Before its dockerd, which removes the containers.
    outpost: Outpost,
    docker: PrivateDocker,
    disk: SmallDisk,
    clock: Clock,
    /// When all was well last.
    before: Vec<Seen>,
}

impl Stage {
    async fn start() -> Result<Self> {
        let (docker, disk, clock) = (PrivateDocker::start(true).await?, SmallDisk::mount()?, Clock::new()?);
        let mut outpost = Outpost::new(OutpostOptions {
            host: docker.host.clone(),
            env: clock.env(),
            state_dir: Some(disk.dir.path().join("state")),
            ..OutpostOptions::default()
        })?;
        bystander().put(&outpost)?;
        outpost.start()?;
        let before = settled(&outpost, &[bystander()]).await?;
        Ok(Self { outpost, docker, disk, clock, before })
    }

    async fn play(&mut self, step: &Step, model: &mut Model) -> Result<()> {
        match step {
            Step::Put(app) => app.put(&self.outpost)?,
            Step::Take(name) => self.outpost.take(name)?,
            Step::Crash { app, role } => self.on_container(app, role, &["kill"]).await?,
            Step::Remove { app, role } => self.on_container(app, role, &["rm", "-f"]).await?,
            Step::KillAgent => self.outpost.kill()?,
            Step::EndAgent => {
                let code = self.outpost.agent()?.terminate()?;
                ensure!(code == Some(0), "exit code {code:?}");
                self.outpost.kill()?;
            }
            Step::StartAgent => self.outpost.start()?,
            Step::PauseAgent { milliseconds } => {
                self.outpost.agent()?.pause()?;
                wait(*milliseconds).await;
                self.outpost.agent()?.resume()?;
            }
            Step::Damage { byte, bit } => self.damage(*byte, *bit)?,
            Step::SetClock { offset } => self.clock.set(*offset)?,
            Step::FillDisk => self.disk.fill()?,
            Step::FreeDisk => self.disk.free()?,
            Step::KillDocker => {
                self.docker.kill()?;
                self.docker.up().await?;
            }
            Step::RestartDocker => {
                self.docker.stop()?;
                self.docker.up().await?;
            }
            Step::PauseDocker { milliseconds } => {
                self.docker.daemon()?.pause()?;
                wait(*milliseconds).await;
                self.docker.daemon()?.resume()?;
            }
            Step::CutPower => {
                self.outpost.kill()?;
                self.docker.cut_power()?;
                unmount(&self.outpost.name)?;
                self.docker.launch()?;
                self.outpost.start()?;
                self.docker.answers().await?;
            }
            Step::Rest { milliseconds } => wait(*milliseconds).await,
            Step::Check => self.check(model).await?,
        }
        Ok(())
    }

    /// Heals what is broken, waits until all is well, and holds it against what was.
    async fn check(&mut self, model: &mut Model) -> Result<()> {
        for step in model.heal() {
            Box::pin(self.play(&step, model)).await?;
        }
        let wanted: Vec<_> = model.apps().cloned().chain([bystander()]).collect();
        let after = settled(&self.outpost, &wanted).await?;
        let spared = |one: &&Seen| !model.was_hit(&one.app, &one.role);
        let before: Vec<Seen> = self.before.iter().filter(spared).cloned().collect();
        untouched(&before, &after)?;
        model.checked();
        self.before = after;
        Ok(())
    }

    /// What a person or a bug does to a container that may or may not be there at this moment.
    async fn on_container(&self, app: &str, role: &str, verb: &[&str]) -> Result<()> {
        let label = |key: &str, value: &str| format!("label=skerry.dev/{key}={value}");
        let (app, role) = (label("app", app), label("container", role));
        let host = &self.outpost.options.host;
        let found = host.run(&["ps", "-q", "--filter", &app, "--filter", &role]).await?;
        for id in found.lines() {
            // It may have ended in between.
            let _ = host.run(&[verb, &[id]].concat()).await;
        }
        Ok(())
    }

    /// Flips a bit of what the agent has stored, while no agent runs.
    fn damage(&self, byte: usize, bit: u8) -> Result<()> {
        let file = self.outpost.state_dir().join("local.bin");
        let mut bytes = std::fs::read(&file)?;
        let place = byte % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << bit;
        }
        Ok(std::fs::write(&file, bytes)?)
    }
}

async fn wait(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
