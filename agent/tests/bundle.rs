//! A support archive of a box with a real Docker and apps that have Secrets in every way that there is: none of them is in it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

/// Looked for in the archive. Each way into the app has one of its own, so that a failure names the way.
const WAYS: [&str; 8] = ["variable", "whole", "file", "argument", "pull", "printed", "literal", "word"];

fn marker(way: &str) -> String {
    format!("m4rk3r-of-{way}-{}", std::process::id())
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn skerry(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skerry-agent"));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SKERRY_") || name == "DOCKER_HOST" {
            command.env_remove(name);
        }
    }
    command
}

/// Ends the agent, and takes away what it has made.
struct Box7 {
    agent: Child,
    node: String,
}

impl Drop for Box7 {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let filter = format!("label=skerry.dev/node={}", self.node);
        let ids = text(&run(Command::new("docker").args(["ps", "-aq", "--filter", &filter])));
        if !ids.trim().is_empty() {
            run(Command::new("docker").args(["rm", "-fv"]).args(ids.split_whitespace()));
        }
    }
}

fn manifest(image: &str) -> String {
    let pull = BASE64_STANDARD.encode(format!("keeper:{}", marker("pull")));
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{variable: {variable}, file: {file}, argument: {argument}, printed: {printed}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: all}}
stringData: {{WHOLE: {whole}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: pull}}
type: kubernetes.io/dockerconfigjson
stringData: {{.dockerconfigjson: '{{"auths": {{"r.example": {{"auth": "{pull}"}}}}}}'}}
---
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {{name: web}}
spec:
  placement: {{nodeSelector: {{}}}}
  template:
    metadata: {{annotations: {{note: none}}}}
    spec:
      terminationGracePeriodSeconds: 0
      imagePullSecrets: [{{name: pull}}]
      volumes: [{{name: keys, secret: {{secretName: keys, items: [{{key: file, path: file}}]}}}}]
      containers:
      - name: main
        image: "{image}"
        command: [sh, -c, 'echo "says $P"; exec sleep 9999', "$(A)"]
        args: [{word}, --token={word}]
        envFrom: [{{secretRef: {{name: all}}}}]
        env:
        - {{name: V, valueFrom: {{secretKeyRef: {{name: keys, key: variable}}}}}}
        - {{name: A, valueFrom: {{secretKeyRef: {{name: keys, key: argument}}}}}}
        - {{name: P, valueFrom: {{secretKeyRef: {{name: keys, key: printed}}}}}}
        - {{name: L, value: {literal}}}
        lifecycle: {{preStop: {{exec: {{command: [echo, "$(A)", {word}]}}}}}}
        readinessProbe: {{exec: {{command: ["true", {word}]}}}}
        volumeMounts: [{{name: keys, mountPath: /etc/keys}}]
---
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {{name: broken}}
spec:
  placement: {{nodeSelector: {{}}}}
  template:
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: "{image}"
        command: ["$(A)"]
        env: [{{name: A, valueFrom: {{secretKeyRef: {{name: keys, key: argument}}}}}}]
"#,
        variable = marker("variable"),
        file = marker("file"),
        argument = marker("argument"),
        printed = marker("printed"),
        whole = marker("whole"),
        literal = marker("literal"),
        word = marker("word"),
    )
}

/// Every form in which a marker could be in a text.
fn leaks(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let leaked = |way: &&&str| {
        let marker = marker(way);
        // Base64 of it at each of the three places that it can have in a longer text, without what its neighbours decide.
        let shifted = (0..3usize).map(|shift| {
            let padded = format!("{}{marker}", "x".repeat(shift));
            let encoded = BASE64_STANDARD_NO_PAD.encode(padded);
            encoded[4..encoded.len() - 4].to_owned()
        });
        shifted.chain([marker.clone()]).any(|form| text.contains(&form))
    };
    WAYS.iter().filter(leaked).map(|way| (*way).to_owned()).collect()
}

fn eventually(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    loop {
        match look() {
            Ok(()) => return,
            Err(why) if began.elapsed() > Duration::from_secs(60) => panic!("{what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[test]
fn no_secret_of_an_app_is_in_a_bundle() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/host/test-image.sh");
    let made = run(&mut Command::new(script));
    assert!(made.status.success(), "run tests/host/prepare.sh --docker first: {}", text(&made));
    let image = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let node = format!("bundle-{}", std::process::id());
    let (state, door, manifests) = (path("state"), path("state/agent.sock"), path("manifests"));
    std::fs::create_dir(&manifests).expect("made");
    std::fs::write(path("manifests/apps.yaml"), manifest(&image)).expect("written");
    let config = path("agent.toml");
    let lines = format!(
        "# password = \"{}\"\nnode-name = {node:?}\nstate-dir = {state:?}\nadmin-socket = {door:?}\nmanifest-dir = {manifests:?}\ncontroller = \"http://127.0.0.1:1\"\n",
        marker("literal")
    );
    std::fs::write(&config, lines).expect("written");
    let agent = skerry(&["run", "--config", &config]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut box7 = Box7 { agent, node };
    // The log is read to its end, so that the agent never waits for its reader.
    let log = BufReader::new(box7.agent.stderr.take().expect("piped"));
    std::thread::spawn(move || log.lines().for_each(drop));

    eventually("one app runs, the other cannot", || {
        let shown = text(&run(&mut skerry(&["status", "--config", &config])));
        let fits =
            |app: &str, words: &str| shown.lines().any(|line| line.contains(app) && line.contains(words));
        match fits(" web ", "Running") && shown.contains("broken") && shown.contains("***") {
            true => Ok(()),
            false => Err(shown),
        }
    });
    // Docker itself knows them: what is looked for below is there to be found.
    let ids = text(&run(Command::new("docker").args([
        "ps",
        "-aq",
        "--filter",
        &format!("label=skerry.dev/node={}", box7.node),
    ])));
    let inspected = run(Command::new("docker").arg("inspect").args(ids.split_whitespace()));
    for way in ["variable", "whole", "argument", "literal", "word"] {
        assert!(text(&inspected).contains(&marker(way)), "{way}: the app does not have it");
    }

    for (name, more, down) in
        [("a.tar", &[][..], false), ("b.tar", &["--container-logs"], false), ("c.tar", &[], true)]
    {
        if down {
            box7.agent.kill().expect("killed");
            box7.agent.wait().expect("it ended");
        }
        let file = path(name);
        let made = run(&mut skerry(&[&["bundle", &file, "--config", &config], more].concat()));
        assert!(made.status.success(), "{}", text(&made));
        assert_eq!(leaks(&made.stdout), Vec::<String>::new(), "{}", text(&made));
        let bytes = std::fs::read(&file).expect("read");
        assert_eq!(leaks(&bytes), Vec::<String>::new(), "{name}: {}", String::from_utf8_lossy(&bytes));
        let all = String::from_utf8_lossy(&bytes).into_owned();
        for words in ["docker/inspect/", "apps/manifest/default.web.txt", "V=(not shown)", "dockerconfigjson"]
        {
            assert!(all.contains(words), "{name} lacks {words}");
        }
        assert_eq!(all.contains("says ***"), more == ["--container-logs"], "{name}");
        assert_eq!(all.contains("status.json: no agent answers"), down, "{name}");
    }

    // Without the key nobody knows the Secrets: what could hold one is left out.
    std::fs::rename(path("state/store.key"), path("key-elsewhere")).expect("moved");
    let file = path("d.tar");
    let made = run(&mut skerry(&["bundle", &file, "--config", &config, "--container-logs"]));
    assert!(made.status.success(), "{}", text(&made));
    let bytes = std::fs::read(&file).expect("read");
    assert_eq!(leaks(&bytes), Vec::<String>::new());
    let all = String::from_utf8_lossy(&bytes).into_owned();
    assert!(all.contains("container-logs: what the box has stored cannot be read"), "{all}");
}
