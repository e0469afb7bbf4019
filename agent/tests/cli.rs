//! The binary as an operator meets it: exit codes, and one clear line per error.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Without the caller's own settings.
fn agent(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skerry-agent"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SKERRY_") || name == "DOCKER_HOST" {
            command.env_remove(name);
        }
    }
    command
}

fn run(args: &[&str]) -> Output {
    agent(args).output().expect("it runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An agent on a box without Docker and without a controller.
fn start(state: &Path) -> Child {
    let state = state.to_str().expect("text");
    let args =
        ["run", "--node-name", "box", "--state-dir", state, "--docker-socket", "/nonexistent/docker.sock"];
    agent(&[&args[..], &["--controller", "http://127.0.0.1:1"]].concat()).spawn().expect("it starts")
}

/// Reads the log up to a line with these words. From the first line on, the agent listens to signals.
fn wait_for(child: &mut Child, words: &str) -> String {
    let log = BufReader::new(child.stderr.as_mut().expect("piped"));
    let mut lines = log.lines().map(|line| line.expect("text"));
    lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("the log ended without {words:?}"))
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
}

#[test]
fn help_and_completion_are_there() {
    let help = run(&["run", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("--node-name") && text.contains("[labels]"), "{text}");
    let completion = run(&["completion", "bash"]);
    assert!(completion.status.success() && !completion.stdout.is_empty());
    assert!(String::from_utf8_lossy(&run(&["--version"]).stdout).starts_with("skerry-agent "));
}

#[test]
fn wrong_usage_and_configuration_exit_with_2_and_one_line() {
    assert_eq!(run(&["fly"]).status.code(), Some(2));
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "state_dir = \"/x\"\n").expect("written");
    for (args, words) in [
        (vec!["run", "--config", "/nonexistent/agent.toml"], "/nonexistent/agent.toml"),
        (vec!["run", "--config", file.to_str().expect("text")], "agent.toml:1: unknown field"),
        (vec!["run", "--node-name", "A_b"], "node-name"),
        (vec!["run", "--controller", "http://example.com:7443"], "plain text is accepted on loopback only"),
        (vec!["run", "--docker-socket", "tcp://box:2375"], "unix:///var/run/docker.sock"),
    ] {
        let output = run(&args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(words) && text.lines().count() == 1, "{args:?}: {text}");
    }
}

#[test]
fn two_agents_do_not_share_a_state_folder_and_sigterm_ends_one_in_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut first = start(dir.path());
    let line = wait_for(&mut first, "--docker-socket");
    assert!(line.contains("/nonexistent/docker.sock"), "{line}");
    let second = start(dir.path()).wait_with_output().expect("it ends");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains(&format!("process {}", first.id())), "{}", stderr(&second));

    let asked = Instant::now();
    terminate(&first);
    let ended = first.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn a_corrupt_state_is_kept_aside_and_the_agent_runs_on() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("desired.bin"), b"no state").expect("written");
    let mut child = start(dir.path());
    wait_for(&mut child, "desired.corrupt-1");
    terminate(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(std::fs::read(dir.path().join("desired.corrupt-1")).expect("kept"), b"no state");
}
