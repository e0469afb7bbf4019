//! Command lines and data directories that cannot work: one clear line, and nothing is changed.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use skerry_tests::free_port;

use crate::trust::refused;
use crate::{Shared, shared};

fn standalone(dir: &Path, more: &[&str]) -> Result<(i32, String)> {
    let dir = format!("--data-dir={}", dir.display());
    let api = format!("--api-listen=127.0.0.1:{}", free_port()?);
    let mut args = vec!["standalone", &dir];
    for flag in [&api, "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"] {
        let name = flag.split('=').next().unwrap_or_default();
        if !more.iter().any(|given| given.split('=').next() == Some(name)) {
            args.push(flag);
        }
    }
    args.extend(more);
    refused("skerry-controller", &args)
}

/// One line, and no line of a panic.
fn is_clear(said: &str) -> bool {
    said.lines().count() == 1 && !said.contains("panicked")
}

pub async fn an_open_door_is_asked_for(_: Shared) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let (code, said) = standalone(&data, &["--api-listen=0.0.0.0:6443"])?;
    ensure!(
        code == 1 && is_clear(&said) && said.contains("--allow-remote") && said.contains("0.0.0.0:6443"),
        "{code}: {said}"
    );
    ensure!(!data.exists(), "something was made");
    for (flags, named) in [
        (["--api-listen=nowhere"].as_slice(), "nowhere"),
        (&["--listen=0.0.0.0:7443"], "0.0.0.0:7443"),
        (&["--log-format=xml"], "xml"),
        (&["--tls-san=a b"], "a b"),
        (&["backup"], "backup"),
    ] {
        let (code, said) = standalone(&data, flags)?;
        ensure!(code != 0 && said.contains(named) && !said.contains("panicked"), "{flags:?}: {code}: {said}");
    }
    Ok(())
}

pub async fn one_process_has_the_data(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let dir = site.control_plane.data_dir();
    let (code, said) = standalone(&dir, &[])?;
    ensure!(code == 1 && is_clear(&said), "{code}: {said}");
    let pid = site.controller_pid().unwrap_or_default().to_string();
    ensure!(said.contains(&dir.display().to_string()) && said.contains(&pid), "{said}");
    site.namespace().await?;
    Ok(())
}

pub async fn a_bad_data_directory_is_one_clear_line(_: Shared) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, "not a folder")?;
    let mut cases = vec![(file.clone(), "file")];
    let below = file.join("data");
    cases.push((below, "file/data"));
    // Root may write everywhere but here.
    cases.push(("/proc/skerry/data".into(), "/proc/skerry"));
    for (name, content) in [
        ("garbage", &b"this is no database, however long it may be"[..]),
        ("empty", b""),
        ("foreign", b"SQLite format 3\0"),
    ] {
        let data = dir.path().join(name);
        fs::create_dir(&data)?;
        fs::write(data.join("store.db"), content)?;
        cases.push((data, "store.db"));
    }
    let lost = dir.path().join("lost");
    fs::create_dir(&lost)?;
    fs::write(lost.join("store.db-wal"), "x")?;
    cases.push((lost, "store.db"));
    for (data, named) in cases {
        let before = fs::read(data.join("store.db")).ok();
        let (code, said) = standalone(&data, &[])?;
        ensure!(code == 1 && is_clear(&said) && said.contains(named), "{}: {code}: {said}", data.display());
        ensure!(fs::read(data.join("store.db")).ok() == before, "{}: it was changed", data.display());
    }
    ensure!(fs::read_to_string(&file)? == "not a folder");
    Ok(())
}
