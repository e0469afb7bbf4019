//! The unit: started, stopped, killed, stuck; installed and taken away.

use std::time::Duration;

use anyhow::{Result, ensure};
use skerry_tests::{eventually, holds_for};

use crate::place::{AGENT, Place};

pub async fn a_stop_and_a_start_touch_no_container() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    ensure!(place.property("Type").await? == "notify");
    place.good("systemctl stop skerry-agent").await?;
    ensure!(place.property("Result").await? == "success", "{}", place.journal().await);
    ensure!(place.pair().await? == before, "a stop touches nothing");
    place.good("systemctl start skerry-agent").await?;
    // READY=1 was heard: the agent answers at once.
    place.good("skerry-agent status -o json").await?;
    place.well().await?;
    place.good("systemctl restart skerry-agent").await?;
    place.well().await?;
    ensure!(place.pair().await? == before);
    ensure!(place.property("NRestarts").await? == "0");
    Ok(())
}

pub async fn a_killed_agent_is_started_again() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let pid = place.main_pid().await?;
    place.good(&format!("kill -KILL {pid}")).await?;
    started_again(&place, &pid).await?;
    ensure!(place.pair().await? == before);
    ensure!(place.property("NRestarts").await? == "1");
    Ok(())
}

pub async fn a_stuck_agent_is_killed_by_the_watchdog_and_an_idle_one_is_not() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let drop_in = "/etc/systemd/system/skerry-agent.service.d";
    place
        .good(&format!(
            "mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=3\\n' >{drop_in}/watchdog.conf"
        ))
        .await?;
    place.good("systemctl daemon-reload && systemctl restart skerry-agent").await?;
    place.well().await?;
    let pid = place.main_pid().await?;
    // Three times as long as the watchdog waits.
    holds_for("an idle agent proves that it is alive", Duration::from_secs(9), || async {
        let now = place.main_pid().await?;
        ensure!(now == pid, "{pid} became {now}: {}", place.journal().await);
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    place.good(&format!("kill -STOP {pid}")).await?;
    started_again(&place, &pid).await?;
    let journal = place.journal().await;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    ensure!(place.pair().await? == before);
    Ok(())
}

pub async fn installing_twice_changes_nothing_and_taking_away_leaves_the_containers() -> Result<()> {
    let place = Place::start().await?;
    let before = place.pair().await?;
    let pid = place.main_pid().await?;
    let install = "/srv/skerry/deploy/install.sh";
    let said = place.good(&format!("{install} /srv/skerry/skerry-agent")).await?;
    ensure!(!said.contains("wrote") && place.main_pid().await? == pid, "{said}");

    // With another binary it upgrades, and the settings stay.
    place.good("echo '# mine' >>/etc/skerry/agent.toml").await?;
    let said = place.good(&format!("{install} /srv/skerry/other")).await?;
    ensure!(said.contains("has taken over"), "{said}");
    place.good(&format!("cmp /srv/skerry/other {AGENT} && grep -q mine /etc/skerry/agent.toml")).await?;
    place.well().await?;
    ensure!(place.pair().await? == before);

    place.good(&format!("{install} --uninstall && {install} --uninstall")).await?;
    ensure!(place.run("systemctl is-active skerry-agent").await?.code != Some(0));
    let state = place.state();
    place
        .good(&format!(
            "test ! -e {AGENT} && test -e /etc/skerry/agent.toml && test -e {}/local.bin",
            state.display()
        ))
        .await?;
    ensure!(place.pair().await? == before, "containers run on");

    place.good(&format!("{install} /srv/skerry/skerry-agent")).await?;
    place.well().await?;
    ensure!(place.pair().await? == before, "they are found again");
    Ok(())
}

pub async fn started_again(place: &Place, before: &str) -> Result<()> {
    eventually("another agent runs", || async {
        let now = place.main_pid().await?;
        ensure!(now != before, "still {now}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    place.well().await
}
