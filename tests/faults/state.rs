//! What the agent has on disk is damaged, wherever in the file; it is stopped for a while. Containers run on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skerry_tests::{IMAGE, Outpost, OutpostOptions, Plane, Site, eventually};

use crate::apps::{App, Kind, bystander};
use crate::check::{settled, untouched};

/// Longer than any wait of the agent's that is not a back-off.
const STOPPED: Duration = Duration::from_secs(8);

/// What is done to a file: its name, and the bytes that become of the bytes.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// Each part of the format, and each way to lose its end.
const DAMAGE: [Damage; 12] = [
    ("a bit of the magic", |bytes| bytes[3] ^= 0x10),
    ("a bit of the version", |bytes| bytes[8] ^= 0x04),
    ("a bit of the length", |bytes| bytes[13] ^= 0x80),
    ("a bit of the checksum", |bytes| bytes[30] ^= 0x01),
    ("a bit of the salt", |bytes| bytes[55] ^= 0x20),
    ("a bit of the nonce", |bytes| bytes[72] ^= 0x02),
    ("a bit of the payload", |bytes| flip(bytes, 2)),
    ("the last bit", |bytes| flip(bytes, 1)),
    ("nothing left", Vec::clear),
    ("cut off in the header", |bytes| bytes.truncate(17)),
    ("cut off in the payload", |bytes| bytes.truncate(bytes.len() / 2)),
    ("something behind its end", |bytes| bytes.extend_from_slice(b"more")),
];

fn flip(bytes: &mut [u8], share: usize) {
    let place = bytes.len() / share - 1;
    bytes[place] ^= 0x08;
}

/// What the controller asked for: it is said, nothing is touched, and a fresh copy is fetched.
pub async fn damage_anywhere_in_the_desired_state_touches_no_container() -> Result<()> {
    let site = Site::start(Plane::Standalone).await?;
    let namespace = site.namespace().await?;
    let mut node = site.node().await?;
    let yaml = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: app, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchLabels: {{test: {}}}}}}}\n  template:\n    spec:\n      \
         terminationGracePeriodSeconds: 0\n      containers:\n      \
         - {{name: aa, image: \"{IMAGE}\", command: [sleep, \"100000\"]}}\n      \
         - {{name: bb, image: \"{IMAGE}\", command: [sleep, \"100000\"]}}\n",
        node.name
    );
    site.kubectl().apply(&yaml).await?;
    node.phase(&namespace, "app", "Running").await?;
    let all = node.containers().await?;
    let before = all.identities().await?;
    ensure!(before.len() == 3, "{before:?}");
    let file = node.state_dir().join("desired.bin");
    for (what, damage) in DAMAGE {
        node.agent()?.kill()?;
        let good = std::fs::read(&file)?;
        let mut bytes = good.clone();
        damage(&mut bytes);
        std::fs::write(&file, &bytes)?;
        let said = node.output().len();
        node.start()?;
        eventually(&format!("{what}: a fresh copy is stored"), || async {
            let stored = std::fs::read(&file)?;
            ensure!(stored != bytes && stored.len() == good.len(), "{} bytes", stored.len());
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        node.phase(&namespace, "app", "Running").await?;
        let output = node.output();
        ensure!(output[said..].contains("could not be read"), "{what}: not said");
        ensure!(!output.contains("panicked at"), "{what}: {output}");
        let now = all.identities().await?;
        ensure!(now == before, "{what}: {before:?} became {now:?}");
    }
    Ok(())
}

/// What the box has by itself: the folder of manifests is read again.
pub async fn damage_anywhere_in_the_local_state_touches_no_container() -> Result<()> {
    let mut outpost = Outpost::new(OutpostOptions::default())?;
    let apps = [bystander(), App::new("app", Kind::Pod, 1)];
    for app in &apps {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let before = settled(&outpost, &apps).await?;
    let file = outpost.state_dir().join("local.bin");
    for (what, damage) in DAMAGE {
        outpost.kill()?;
        let mut bytes = std::fs::read(&file)?;
        damage(&mut bytes);
        std::fs::write(&file, &bytes)?;
        let said = outpost.output().len();
        outpost.start()?;
        let after = settled(&outpost, &apps).await.context(what)?;
        untouched(&before, &after).context(what)?;
        ensure!(outpost.output()[said..].contains("cannot be read"), "{what}: not said");
    }
    Ok(())
}

/// SIGSTOP, while much happens.
pub async fn an_agent_that_was_stopped_for_a_while_catches_up() -> Result<()> {
    let mut outpost = Outpost::new(OutpostOptions::default())?;
    let (one, two) = (App::new("app", Kind::Pod, 1), App::new("app", Kind::Pod, 2));
    let (dies, new) = (App::new("dies", Kind::Single, 1), App::new("new", Kind::SideBySide, 1));
    for app in [&one, &dies, &bystander()] {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let before = settled(&outpost, &[bystander(), one, dies.clone()]).await?;
    outpost.agent()?.pause()?;
    two.put(&outpost)?;
    new.put(&outpost)?;
    let victim = before.iter().find(|one| one.app == "dies").context("it is there")?;
    outpost.options.host.run(&["kill", &victim.id]).await?;
    tokio::time::sleep(STOPPED).await;
    outpost.agent()?.resume()?;
    let after = settled(&outpost, &[bystander(), two, dies, new]).await?;
    let others: Vec<_> = before.iter().filter(|one| one.app != "dies").cloned().collect();
    untouched(&others, &after)?;
    let again = after.iter().find(|one| one.app == "dies").context("it is there")?;
    ensure!(again.restarts == 1, "{again:?}");
    Ok(())
}
