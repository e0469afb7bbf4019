//! Commands in a container.

use std::time::{Duration, Instant};

use skerry_agent::engine::{Engine as _, EngineError, Ran};

use super::{Bed, cli};
use crate::scenario::{app, create_specs, desired};

const PATIENCE: Duration = Duration::from_secs(20);

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_command_is_run_and_its_end_told() {
    let bed = Bed::new("exec");
    let spec = create_specs(&desired(&bed.node, &[app("exec", &[&bed.image], "1")])).remove(0);
    let docker = bed.docker();
    docker.create(&spec).await.expect("created");
    let error = docker.exec(&spec.name, &sh("true"), PATIENCE).await.expect_err("it does not run");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    docker.start(&spec.name).await.expect("started");

    let ran = docker.exec(&spec.name, &sh("echo out; echo err >&2; exit 3"), PATIENCE).await.expect("ran");
    assert_eq!(ran.exit_code, 3);
    assert!(ran.output.contains("out\n") && ran.output.contains("err\n"), "{ran:?}");
    let ran = docker.exec(&spec.name, &sh("yes | head -c 100000"), PATIENCE).await.expect("ran");
    assert_eq!((ran.exit_code, ran.output.len()), (0, 10 << 10), "read to the end, kept in part");
    let ran = docker.exec(&spec.name, &["/missing".to_owned()], PATIENCE).await;
    match ran {
        Ok(Ran { exit_code: 126 | 127, .. }) | Err(EngineError::Refused { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let bed = Bed::new("exec-late");
    let spec = create_specs(&desired(&bed.node, &[app("late", &[&bed.image], "1")])).remove(0);
    let docker = bed.docker();
    docker.create(&spec).await.expect("created");
    docker.start(&spec.name).await.expect("started");
    let began = Instant::now();
    let late = docker.exec(&spec.name, &sh("exec sleep 4321"), Duration::from_millis(700)).await;
    assert!(matches!(late, Err(EngineError::TimedOut { .. })), "{late:?}");
    assert!(began.elapsed() < PATIENCE);
    let sleeps = || cli(&["exec", &spec.name, "sh", "-c", "ps | grep -c '[s]leep 4321' || true"]);
    while sleeps() != "0" {
        assert!(began.elapsed() < PATIENCE, "it is still there");
    }
}
