//! The binary as an operator meets it: exit codes, and one clear line per error.

mod bad_config;
mod bad_state;
#[path = "../support/own_bridge.rs"]
mod own_bridge;
mod own_daemon;

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
    let more = ["--controller", "http://127.0.0.1:1", "--manifest-dir", "/nonexistent/manifests"];
    let door = ["--admin-socket", &door(state)];
    agent(&[&args[..], &more, &door].concat()).spawn().expect("it starts")
}

/// Where the agent with this state folder answers.
fn door(state: &str) -> String {
    format!("{state}/agent.sock")
}

/// Asks the agent with this state folder.
fn ask(state: &Path, args: &[&str]) -> Output {
    let state = state.to_str().expect("text");
    let place = ["--state-dir", state, "--admin-socket", &door(state), "--node-name", "box"];
    let (command, rest) = args.split_first().expect("a command");
    run(&[&[*command], &place[..], rest].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As a script on the box asks.
fn curl(state: &Path, args: &[&str]) -> String {
    let door = door(state.to_str().expect("text"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "10", "--write-out", " %{http_code}", "--unix-socket", &door]);
    stdout(&command.args(args).output().expect("curl runs"))
}

const WEB: &str = "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web}
spec:
  placement: {nodeSelector: {}}
  template:
    spec:
      containers:
      - {name: main, image: 'busybox:1'}
";

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

#[test]
fn a_self_check_says_what_is_wrong_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path().join("state");
    let check = |more: &[&str]| {
        let place = ["self-check", "--node-name", "box", "--state-dir", state.to_str().expect("text")];
        let output = run(&[&place[..], &["--docker-socket", "/nonexistent/docker.sock"], more].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), answer)
    };
    let (code, answer) = check(&[]);
    assert_eq!((code, &answer["name"], &answer["handOver"]), (Some(0), &"skerry-agent".into(), &1.into()));
    assert!(
        answer["docker"].as_str().is_some_and(|why| why.contains("/nonexistent/docker.sock")),
        "{answer}"
    );
    assert!(!state.exists(), "it touches nothing");

    std::fs::create_dir(&state).expect("made");
    std::fs::write(state.join("desired.bin"), b"no state").expect("written");
    let (code, answer) = check(&[]);
    assert!(code == Some(1) && answer["problems"][0].to_string().contains("desired.bin"), "{answer}");
    assert_eq!(std::fs::read_dir(&state).expect("listed").count(), 1, "nothing is kept aside");

    let (code, answer) = check(&["--config", "/nonexistent/agent.toml"]);
    assert!(code == Some(1) && answer["problems"][0].to_string().contains("agent.toml"), "{answer}");
}

#[test]
fn with_no_agent_the_command_line_says_so_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    for args in [&["status"][..], &["remove", "web"], &["upgrade", "/bin/ls"]] {
        let output = ask(dir.path(), args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("agent.sock") && text.contains("skerry-agent run"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn logs_and_exec_name_the_docker_that_does_not_answer() {
    let dir = tempfile::tempdir().expect("a folder");
    for args in [&["logs", "web"][..], &["exec", "web", "--", "true"]] {
        let (command, rest) = args.split_first().expect("a command");
        let output =
            ask(dir.path(), &[&[*command, "--docker-socket", "/nonexistent/docker.sock"], rest].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("/nonexistent/docker.sock"), "{text}");
    }
}

#[test]
fn apps_are_handed_over_shown_and_taken_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path();
    let mut child = start(state);
    wait_for(&mut child, "answering on");
    let file = state.join("web.yaml");
    std::fs::write(&file, WEB).expect("written");
    let file = file.to_str().expect("text");

    let output = ask(state, &["run", "-f", file, "--no-wait"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "default/web was handed over\n");
    // Docker is away: the agent knows the app, and cannot say more.
    let shown = || {
        let output = ask(state, &["status", "-o", "json"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        stdout(&output)
    };
    let began = Instant::now();
    while !shown().contains("\"name\": \"web\"") {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", shown());
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = stdout(&ask(state, &["status", "web"]));
    for words in ["node box", "not connected since", "docker is not ready", "default", "Unknown", "Local"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = ask(state, &["status", "other"]);
    assert!(
        stderr(&output).contains("no app other on this box; there are default/web"),
        "{}",
        stderr(&output)
    );

    let output = ask(state, &["remove", "web"]);
    assert!(output.status.success() && stdout(&output).contains("default/web"), "{}", stderr(&output));
    let answer = curl(state, &["-X", "DELETE", "http://box/v1/apps/default/web"]);
    assert!(answer.ends_with(" 404") && answer.contains("no app default/web was handed over"), "{answer}");
    terminate(&child);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_door_answers_curl_and_refuses_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = dir.path();
    let mut child = start(state);
    wait_for(&mut child, "answering on");
    assert_eq!(curl(state, &["http://box/healthz"]), "ok\n 200");
    let status = curl(state, &["http://box/v1/status"]);
    assert!(status.contains("\"dockerReady\": false") && status.ends_with(" 200"), "{status}");
    let wrong = WEB.replace("image:", "imag: x, image:");
    for (args, words, code) in [
        (&["http://box/nothing"][..], "is not served", " 404"),
        (&["-X", "PUT", "http://box/v1/status"], "only GET", " 405"),
        (&["-X", "DELETE", "http://box/v1/apps/default/A_b"], "error", " 400"),
        (&["--data-binary", &wrong, "http://box/v1/apps"], "spec.template.spec.containers[0].imag", " 422"),
        (&["--data-binary", "", "http://box/v1/apps"], "there is no EdgeApp in it", " 422"),
    ] {
        let answer = curl(state, args);
        assert!(answer.contains(words) && answer.ends_with(code), "{args:?}: {answer}");
    }
    let large = state.join("large.yaml");
    std::fs::write(&large, vec![b'#'; (4 << 20) + 1]).expect("written");
    let large = format!("@{}", large.display());
    let answer = curl(state, &["--data-binary", &large, "http://box/v1/apps"]);
    assert!(answer.ends_with(" 413"), "{answer}");
    terminate(&child);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_wrong_manifest_is_named_with_its_file_and_field_whoever_reads_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("web.yaml");
    std::fs::write(&file, WEB.replace("image:", "imag: x, image:")).expect("written");
    let name = file.to_str().expect("text");
    let state = dir.path().join("state");
    let refuse = || {
        let output = ask(&state, &["run", "-f", name, "--controller", "http://127.0.0.1:1"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let words = "document 1: spec.template.spec.containers[0].imag: unknown field";
        assert!(text.contains(&format!("{name}: ")) && text.contains(words), "{text}");
    };
    refuse();
    let mut child = start(&state);
    wait_for(&mut child, "answering on");
    refuse();
    let output = ask(&state, &["run", "-f", "/nonexistent/web.yaml"]);
    assert!(stderr(&output).contains("/nonexistent/web.yaml"), "{}", stderr(&output));
    terminate(&child);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn without_an_agent_run_f_becomes_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("web.yaml");
    std::fs::write(&file, WEB).expect("written");
    let state = dir.path().join("state");
    let text = state.to_str().expect("text");
    let args =
        ["run", "--node-name", "box", "--state-dir", text, "--docker-socket", "/nonexistent/docker.sock"];
    let more = [
        "--controller",
        "http://127.0.0.1:1",
        "--admin-socket",
        &door(text),
        "-f",
        file.to_str().expect("text"),
    ];
    let mut child = agent(&[&args[..], &more].concat()).spawn().expect("it starts");
    wait_for(&mut child, "/nonexistent/docker.sock");
    let shown = stdout(&ask(&state, &["status", "web", "-o", "json"]));
    assert!(shown.contains("\"source\": \"Local\""), "{shown}");
    terminate(&child);
    assert!(child.wait().expect("it ends").success());
}

/// What `check -o json` says, with its exit code. On this machine, without its Docker and its settings.
fn check(state: &Path, args: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output =
        ask(state, &[&["check", "-o", "json", "--manifest-dir", "/nonexistent/manifests"], args].concat());
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|error| panic!("{error}: {output:?}")), output.status.code())
}

/// The outcome of a check, and what was found.
fn finding<'a>(report: &'a serde_json::Value, id: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().expect("a list");
    let one = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}: {report:#}"));
    let (outcome, found) = (one["outcome"].as_str().expect("text"), one["found"].as_str().expect("text"));
    let fix = one["fix"].as_str().unwrap_or_default();
    assert_eq!(fix.is_empty(), outcome == "ok", "{one:#}");
    (outcome, found)
}

#[test]
fn a_check_names_what_is_wrong_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "node-name = \"box\"\nstatedir = \"/x\"\n").expect("written");
    let state = dir.path().join("state");
    let config = ["--config", file.to_str().expect("text"), "--docker-socket", "/nonexistent/docker.sock"];
    let (report, code) = check(&state, &config);
    assert_eq!(code, Some(3), "{report:#}");
    let (outcome, found) = finding(&report, "config");
    assert!(outcome == "failure" && found.contains("agent.toml:2: unknown field"), "{found}");
    let (outcome, found) = finding(&report, "docker");
    assert!(outcome == "failure" && found.contains("/nonexistent/docker.sock"), "{found}");
    assert_eq!(finding(&report, "agent").0, "warning");
    assert_eq!(finding(&report, "kernel-namespaces").0, "ok");
    assert!(!state.exists(), "a check made the state folder");

    std::fs::create_dir(&state).expect("made");
    std::fs::write(state.join("desired.bin"), b"no state").expect("written");
    let (report, _) = check(&state, &["--only", "state,store-key"]);
    assert_eq!(report["checks"].as_array().expect("a list").len(), 3, "{report:#}");
    assert!(finding(&report, "state").1.contains("desired.bin cannot be read"), "{report:#}");
    assert_eq!(finding(&report, "store-key").0, "failure");
    assert_eq!(std::fs::read(state.join("desired.bin")).expect("still there"), b"no state");
    assert_eq!(std::fs::read_dir(&state).expect("listed").count(), 1, "nothing was made or moved");
}

#[test]
fn a_check_ends_in_time_whatever_hangs() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("docker.sock");
    // Both take connections and never answer.
    let _docker = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let controller = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = format!("http://{}", controller.local_addr().expect("an address"));
    let began = Instant::now();
    let args = ["--docker-socket", socket.to_str().expect("text"), "--controller", &address];
    let (report, code) = check(dir.path(), &args);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(code, Some(3));
    for id in ["docker", "controller"] {
        let (outcome, found) = finding(&report, id);
        assert!(outcome == "failure" && found.contains("no answer within"), "{id}: {found}");
    }
}

#[test]
fn a_check_for_people_is_a_table_and_for_scripts_an_exit_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = ask(
        dir.path(),
        &["check", "--only", "clock,kernel-namespaces", "--docker-socket", "/nonexistent/docker.sock"],
    );
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ok       kernel-namespaces")), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100) && !text.contains('\x1b'), "{text}");
    assert!(text.ends_with("with a warning\n") && stderr(&output).is_empty(), "{text}");
    let output = ask(dir.path(), &["check", "--only", "dokcer"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("docker-version"), "{}", stderr(&output));
}

#[test]
fn a_check_beside_an_agent_asks_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = start(dir.path());
    wait_for(&mut child, "answering on");
    let (report, _) = check(dir.path(), &["--docker-socket", "/nonexistent/docker.sock"]);
    let (outcome, found) = finding(&report, "agent");
    assert!(outcome == "ok" && found.contains("0 apps, controller not connected"), "{found}");
    assert!(finding(&report, "admin-socket").1.contains("mode 600"), "{report:#}");
    terminate(&child);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_bundle_says_what_is_missing_and_replaces_nothing_unasked() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("b.tar");
    let name = file.to_str().expect("text");
    let state = dir.path().join("state");
    let bundle = |more: &[&str]| {
        ask(&state, &[&["bundle", name, "--docker-socket", "/nonexistent/docker.sock"], more].concat())
    };
    let output = bundle(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("missing  docker: "), "{}", stdout(&output));
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    let about =
        Command::new("tar").args(["-xOf", name, "--wildcards", "*/about.txt"]).output().expect("tar runs");
    let about = stdout(&about);
    for words in ["  check.json\n", "  status.json: no agent answers", "  docker: docker does not answer"] {
        assert!(about.contains(words), "{words}: {about}");
    }
    let output = bundle(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert!(bundle(&["--force"]).status.success());
}
