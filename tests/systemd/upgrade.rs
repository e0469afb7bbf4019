//! Upgrades: to a good version and back, to versions that are broken in many ways, and cut short.

use anyhow::{Context as _, Result, ensure};
use skerry_tests::eventually;

use crate::place::{AGENT, Place, SHARED, Said};
use crate::unit::started_again;

/// The exit code of an upgrade that was tried and gave way.
const GAVE_WAY: i32 = 4;

async fn unchanged(place: &Place, before: &[(String, String)]) -> Result<()> {
    let now = place.pair().await?;
    ensure!(now == before, "{before:?} became {now:?}\n{}", place.journal().await);
    Ok(())
}

pub async fn a_new_version_takes_over_and_so_does_the_one_before() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let pid = place.main_pid().await?;
    let said = place.good("skerry-agent upgrade /srv/skerry/other").await?;
    ensure!(said.contains("has taken over"), "{said}");
    place.well().await?;
    unchanged(&place, &before).await?;
    place.good(&format!("cmp {SHARED}/other {AGENT} && cmp {SHARED}/skerry-agent {AGENT}.previous")).await?;
    place.good(&format!("test ! -e {AGENT}.new && test $(readlink /proc/{pid}/exe) = {AGENT}")).await?;
    ensure!(place.main_pid().await? == pid, "the process is the same");
    ensure!(place.property("NRestarts").await? == "0");
    ensure!(place.good(&format!("cat /proc/{pid}/comm")).await? == "skerry-agent");
    let status = place.good("skerry-agent status").await?;
    ensure!(status.contains("on probation"), "{status}");

    // systemd watches over the new one as over the old one.
    place.good(&format!("kill -KILL {pid}")).await?;
    started_again(&place, &pid).await?;
    unchanged(&place, &before).await?;

    let pid = place.main_pid().await?;
    place.good(&format!("skerry-agent upgrade {AGENT}.previous")).await?;
    place.well().await?;
    place.good(&format!("cmp {SHARED}/skerry-agent {AGENT} && cmp {SHARED}/other {AGENT}.previous")).await?;
    ensure!(place.main_pid().await? == pid);
    unchanged(&place, &before).await
}

pub async fn what_cannot_be_an_agent_of_this_box_is_not_even_tried() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let pid = place.main_pid().await?;
    let script = place.program("script", b"#!/bin/sh\nexit 0\n# more than a header\n")?;
    let mut foreign = std::fs::read(place.shared().join("skerry-agent"))?;
    foreign[18] = if foreign[18] == 183 { 62 } else { 183 };
    let foreign = place.program("foreign", &foreign)?;
    for (binary, words) in [
        (script, "no ELF file"),
        (foreign, "is built for"),
        (place.broken("mute")?, "does not answer as a skerry-agent"),
        (place.broken("unfit")?, "the box is too small"),
        ("/bin/ls".to_owned(), "does not answer as a skerry-agent"),
    ] {
        let Said { code, text } = place.run(&format!("skerry-agent upgrade {binary}")).await?;
        ensure!(code == Some(1) && text.contains(words), "{binary}: {code:?} {text}");
    }
    // A state that the new version could not read.
    place.good(&format!("printf x >>{}/local.bin", place.state().display())).await?;
    let Said { code, text } = place.run("skerry-agent upgrade /srv/skerry/other").await?;
    ensure!(code == Some(1) && text.contains("local.bin"), "{code:?} {text}");
    ensure!(place.main_pid().await? == pid, "the agent went on all the time");
    place
        .good(&format!(
            "cmp {SHARED}/skerry-agent {AGENT} && test ! -e {AGENT}.new && test ! -e {AGENT}.previous"
        ))
        .await?;
    unchanged(&place, &before).await
}

pub async fn a_version_that_does_not_stand_gives_way() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    for (way, words) in [
        ("dies", "it ended before it stood, with exit status: 1"),
        ("hangs", "it said nothing within 3 s"),
        ("refuses", "out of sorts"),
        ("falls", "it ended although it stood, with exit status: 101"),
    ] {
        let pid = place.main_pid().await?;
        let binary = place.broken(way)?;
        let Said { code, text } = place.run(&format!("skerry-agent upgrade --timeout 3s {binary}")).await?;
        ensure!(
            code == Some(GAVE_WAY) && text.contains(words),
            "{way}: {code:?} {text}\n{}",
            place.journal().await
        );
        place.well().await?;
        ensure!(place.main_pid().await? == pid, "{way}");
        ensure!(place.children(&pid).await?.is_empty(), "{way}: nothing is left of it");
        place.good(&format!("cmp {SHARED}/skerry-agent {AGENT} && test ! -e {AGENT}.new")).await?;
        let status = place.good("skerry-agent status").await?;
        ensure!(status.contains("gave way") && status.contains(words), "{way}: {status}");
        unchanged(&place, &before).await?;
    }
    ensure!(place.property("NRestarts").await? == "0", "systemd saw one agent all the time");
    Ok(())
}

pub async fn a_version_that_keeps_dying_later_goes_back() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    place.good("skerry-agent upgrade /srv/skerry/other").await?;
    place.well().await?;
    for _ in 0..3 {
        let pid = place.main_pid().await?;
        place.good(&format!("kill -KILL {pid}")).await?;
        started_again(&place, &pid).await?;
    }
    place.good(&format!("cmp {SHARED}/skerry-agent {AGENT}")).await?;
    let status = place.good("skerry-agent status").await?;
    ensure!(status.contains("went back") && status.contains("ended 3 times"), "{status}");
    unchanged(&place, &before).await
}

/// Begins an upgrade to a version that hangs, and waits until it is on trial.
async fn on_trial(place: &Place) -> Result<String> {
    let binary = place.broken("hangs")?;
    place
        .good(&format!("systemd-run --quiet --unit=upgrade skerry-agent upgrade --timeout 5m {binary}"))
        .await?;
    let pid = place.main_pid().await?;
    eventually("a new version is on trial", || async {
        let children = place.children(&pid).await?;
        let child = children.first().context("nobody")?.clone();
        let line = place.good(&format!("tr '\\0' ' ' </proc/{child}/cmdline")).await?;
        ensure!(line.contains("--on-trial"), "{line}");
        Ok::<_, anyhow::Error>(child)
    })
    .await
}

pub async fn a_stop_during_an_upgrade_ends_both() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let on_trial = on_trial(&place).await?;
    place.good("timeout 20 systemctl stop skerry-agent").await?;
    ensure!(place.run(&format!("kill -0 {on_trial}")).await?.code != Some(0), "the one on trial is gone");
    unchanged(&place, &before).await?;
    place.good("systemctl start skerry-agent").await?;
    place.well().await?;
    place.good(&format!("cmp {SHARED}/skerry-agent {AGENT} && test ! -e {AGENT}.new")).await?;
    unchanged(&place, &before).await
}

pub async fn a_kill_during_an_upgrade_leaves_the_old_version() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let on_trial = on_trial(&place).await?;
    // The one that stands by feeds the watchdog, and dies as by a power cut.
    let pid = place.main_pid().await?;
    place.good(&format!("kill -KILL {pid}")).await?;
    started_again(&place, &pid).await?;
    place.good(&format!("cmp {SHARED}/skerry-agent {AGENT} && test ! -e {AGENT}.new")).await?;
    let status = place.good("skerry-agent status").await?;
    ensure!(status.contains("cut off"), "{status}");
    ensure!(place.run(&format!("kill -0 {on_trial}")).await?.code != Some(0), "the one on trial is gone");
    unchanged(&place, &before).await
}
