//! A Docker that answers nonsense, nothing, or without end, on a socket of its own: what it says is never taken for an answer, the agent does
//! nothing on the strength of it, and goes on when it answers sanely.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use skerry_agent::engine::{Docker, Engine as _, EngineError, Folders, Signal};
use skerry_agent_core::Observed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};

use crate::scenario::{app, desired};

/// What is answered to a question.
#[derive(Debug, Clone)]
enum Say {
    /// With this status, and a body of JSON.
    Json(u16, String),
    /// These bytes, and then the line is cut.
    Raw(&'static str),
    /// A good head, and then one byte a second.
    Drip,
    /// A good head, and then these bytes without end.
    Endless(&'static str),
    /// A good head, and nothing more until the line is cut.
    Held,
    /// The line stays open, and nothing comes.
    Nothing,
}

type Script = Box<dyn Fn(&str) -> Option<Say> + Send>;

/// A Docker that does as it is told.
struct Scripted {
    dir: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
    /// Method and path of each question, without the version.
    asked: Arc<Mutex<Vec<String>>>,
    /// The paths as they were asked for.
    spoken: Arc<Mutex<Vec<String>>>,
    /// Cuts the lines that are held.
    cut: Arc<Notify>,
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

impl Scripted {
    /// One that is well, on a box with no containers.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(dir.path().join("docker.sock")).expect("bound");
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (cut, spoken) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let (answers, cuts) = (script.clone(), cut.clone());
        let heard = Heard { asked: asked.clone(), spoken: spoken.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, answers.clone(), heard.clone(), cuts.clone()));
            }
        });
        Self { dir, script, asked, spoken, cut }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// From now on, these questions have these answers.
    fn says(&self, script: impl Fn(&str) -> Option<Say> + Send + 'static) {
        *self.script.lock().expect("no test panics with it") = Box::new(script);
    }

    fn says_to(&self, question: &'static str, say: Say) {
        self.says(move |asked| asked.starts_with(question).then(|| say.clone()));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    fn engine(&self) -> Docker {
        Docker::new(&self.socket(), Folders::new(&self.dir.path().join("state")))
    }
}

/// Where questions are noted.
#[derive(Clone)]
struct Heard {
    asked: Arc<Mutex<Vec<String>>>,
    spoken: Arc<Mutex<Vec<String>>>,
}

async fn converse(mut stream: UnixStream, script: Arc<Mutex<Script>>, heard: Heard, cut: Arc<Notify>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&part[..n]),
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    heard.spoken.lock().expect("no test panics with it").push(path.to_owned());
    let path = path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
    let path = if path.starts_with("ersion") { "/version" } else { path };
    let question = format!("{method} {path}");
    heard.asked.lock().expect("no test panics with it").push(question.clone());
    let said = script.lock().expect("no test panics with it")(&question);
    let say = said.unwrap_or_else(|| sane(&question));
    let done = async {
        match say {
            Say::Json(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(body.as_bytes()).await
            }
            Say::Raw(bytes) => stream.write_all(bytes.as_bytes()).await,
            Say::Drip => {
                stream.write_all(HEAD.as_bytes()).await?;
                loop {
                    stream.write_all(b"1\r\n[\r\n").await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Say::Endless(bytes) => {
                stream.write_all(HEAD.as_bytes()).await?;
                let many = bytes.repeat(1 + 8192 / bytes.len());
                let chunk = format!("{:x}\r\n{many}\r\n", many.len());
                loop {
                    stream.write_all(chunk.as_bytes()).await?;
                }
            }
            Say::Held => {
                stream.write_all(HEAD.as_bytes()).await?;
                cut.notified().await;
                Ok(())
            }
            Say::Nothing => {
                // Until the other side hangs up.
                let _ = stream.read(&mut [0]).await;
                Ok(())
            }
        }
    };
    let _: std::io::Result<()> = done.await;
}

/// Docker 20.10 on a box with nothing.
fn sane(question: &str) -> Say {
    let json = |text: &str| Say::Json(200, text.to_owned());
    match question {
        "GET /version" => {
            json(r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Arch":"amd64"}"#)
        }
        "GET /containers/json?all=true" => json("[]"),
        _ if question.starts_with("GET /events") => Say::Held,
        _ if question.starts_with("GET /images/") => json(r#"{"Id":"sha256:00"}"#),
        _ => Say::Json(404, r#"{"message":"no such thing"}"#.to_owned()),
    }
}

const LIST: &str = "GET /containers/json";

async fn unknown(engine: &Docker) -> String {
    let wanted = desired(&"node".parse().expect("a name"), &[app("web", &["busybox:1"], "1")]);
    match engine.observe(Arc::new(wanted)).await {
        Observed::Unknown { why } => why,
        Observed::Known(world) => panic!("{world:?}"),
    }
}

async fn is_well(engine: &Docker) {
    let wanted = desired(&"node".parse().expect("a name"), &[app("web", &["busybox:1"], "1")]);
    match engine.observe(Arc::new(wanted)).await {
        Observed::Known(world) => {
            assert!(world.images.values().all(Option::is_some) && !world.images.is_empty())
        }
        Observed::Unknown { why } => panic!("{why}"),
    }
}

/// One entry that makes sense in all but one respect.
fn entry(wrong: &str) -> Say {
    Say::Json(200, format!("[{{\"Id\":\"a\",\"State\":\"running\",\"Names\":[\"/a\"]}},{wrong}]"))
}

#[tokio::test(start_paused = true)]
async fn a_list_that_makes_no_sense_is_no_look() {
    let docker = Scripted::new();
    let engine = docker.engine();
    is_well(&engine).await;
    let many = |one: &str| Say::Json(200, format!("[{}{one}]", format!("{one},").repeat(99_999)));
    for (say, words) in [
        (Say::Json(200, "{}".to_owned()), "a list"),
        (Say::Json(200, "null".to_owned()), "a list"),
        (Say::Json(200, String::new()), "could not be read"),
        (Say::Json(200, "[{\"Id\":\"a\"".to_owned()), "could not be read"),
        (Say::Json(200, "[".repeat(100_000)), "could not be read"),
        (Say::Json(200, "<html>502 Bad Gateway</html>".to_owned()), "could not be read"),
        (entry("{}"), "without an id"),
        (entry(r#"{"Id":"","State":"running"}"#), "without an id"),
        (entry(r#"{"Id":"b"}"#), "without a state"),
        (entry(r#"{"Id":"b","State":"fluffy"}"#), "fluffy"),
        (entry(r#"{"Id":7,"State":"running"}"#), "invalid type"),
        (entry(r#"{"Id":"b","State":"running","Labels":["x"]}"#), "invalid type"),
        (entry(&format!("\"{}\"", "x".repeat(100_000))), "could not be read"),
        (many(r#"{"Id":"a","State":"running"}"#), "more than 10000 entries"),
        (
            many(
                r#"{"Id":"0123456789012345678901234567890123456789","State":"running","Image":"busybox:1"}"#,
            ),
            "longer than",
        ),
        (Say::Json(500, r#"{"message":"boom"}"#.to_owned()), "boom"),
        (Say::Json(500, String::new()), ""),
        (Say::Json(500, "x".repeat(1 << 20)), "xxx"),
        (Say::Json(503, "shutting down".to_owned()), "shutting down"),
        (Say::Raw("no HTTP at all"), ""),
        (Say::Raw(""), ""),
        (Say::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]"), ""),
        (Say::Raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n[]"), "could not be read"),
        (Say::Raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]"), ""),
        (Say::Endless("["), "longer than"),
        (Say::Endless(" "), "longer than"),
        (Say::Drip, "no answer within 30 s"),
        (Say::Nothing, "no answer within 30 s"),
    ] {
        docker.says_to(LIST, say.clone());
        let why = unknown(&engine).await;
        let shown: String = format!("{say:?}").chars().take(80).collect();
        assert!(why.contains(words) && why.len() < 2000, "{shown}: {why}");
        assert!(why.lines().count() <= 1, "{shown}: {why}");
    }
    docker.says(|_| None);
    is_well(&engine).await;
}

#[tokio::test(start_paused = true)]
async fn one_container_that_makes_no_sense_hides_no_other() {
    let docker = Scripted::new();
    let engine = docker.engine();
    let labels = r#"{"skerry.dev/node":"node","skerry.dev/namespace":"a","skerry.dev/app":"b","skerry.dev/container":"c"}"#;
    let list = format!(
        r#"[{{"Id":"ours","State":"running","Names":["/ours"],"Labels":{labels}}},{{"Id":"other","State":"running","Names":["/other"]}}]"#
    );
    for say in [
        Say::Json(200, "{}".to_owned()),
        Say::Json(200, "[]".to_owned()),
        Say::Json(500, r#"{"message":"boom"}"#.to_owned()),
        Say::Endless("["),
        Say::Drip,
        Say::Nothing,
    ] {
        let list = list.clone();
        docker.says(move |asked| match asked {
            LISTED => Some(Say::Json(200, list.clone())),
            "GET /containers/ours/json" => Some(say.clone()),
            _ => None,
        });
        let wanted = desired(&"node".parse().expect("a name"), &[]);
        let Observed::Known(world) = engine.observe(Arc::new(wanted)).await else {
            panic!("nothing was seen")
        };
        assert_eq!(world.containers.len(), 2);
        let key = "a/b".parse().expect("a key");
        assert!(
            world.unclear.get(&key).is_some_and(|why| why.contains("cannot describe")),
            "{:?}",
            world.unclear
        );
    }
}

const LISTED: &str = "GET /containers/json?all=true";

/// The next signal, with a bound in (paused) time.
async fn signal(signals: &mut mpsc::Receiver<Signal>) -> Signal {
    tokio::time::timeout(Duration::from_secs(600), signals.recv())
        .await
        .expect("in time")
        .expect("it watches")
}

async fn down(signals: &mut mpsc::Receiver<Signal>) -> String {
    loop {
        if let Signal::Down { why } = signal(signals).await {
            return why;
        }
    }
}

async fn up(signals: &mut mpsc::Receiver<Signal>) {
    while !matches!(signal(signals).await, Signal::Up { .. }) {}
}

#[tokio::test(start_paused = true)]
async fn a_docker_that_hangs_is_said_to_and_one_that_recovers_is_found() {
    for (question, words) in [("GET /version", "docker hangs"), ("GET /events", "no answer within 30 s")] {
        let docker = Scripted::new();
        docker.says_to(question, Say::Nothing);
        let (tell, mut signals) = mpsc::channel(8);
        let engine = docker.engine();
        let watching = tokio::spawn(async move { engine.watch(tell).await });
        let why = down(&mut signals).await;
        assert!(why.contains(words), "{question}: {why}");
        docker.says(|_| None);
        up(&mut signals).await;
        watching.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_that_makes_no_sense_is_opened_anew() {
    let docker = Scripted::new();
    let (tell, mut signals) = mpsc::channel(8);
    let engine = docker.engine();
    let watching = tokio::spawn(async move { engine.watch(tell).await });
    up(&mut signals).await;
    for (say, words) in [
        (Say::Endless("x"), "longer than"),
        (Say::Endless("x\n"), "could not be read"),
        (Say::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk"), ""),
        (Say::Json(200, String::new()), "closed its event stream"),
    ] {
        docker.says_to("GET /events", say);
        docker.cut.notify_waiters();
        let mut why = down(&mut signals).await;
        // The first is the line that was cut.
        while !why.contains(words) || why.contains("connection closed before") {
            why = down(&mut signals).await;
        }
        docker.says(|_| None);
        up(&mut signals).await;
    }
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_makes_no_sense_fails_and_takes_no_memory() {
    let docker = Scripted::new();
    let engine = docker.engine();
    for (say, words) in [
        (Say::Endless("x"), "longer than"),
        (Say::Endless("x\n"), "could not be read"),
        (Say::Nothing, "no answer within"),
        (Say::Held, "no answer within"),
        (
            Say::Json(200, "{\"status\":\"Pulling\"}\n{\"error\":\"no such manifest\"}\n".to_owned()),
            "no such manifest",
        ),
        (Say::Json(500, "{\"message\":\"boom\"}".to_owned()), "boom"),
    ] {
        docker.says_to("POST /images/create", say);
        let error = engine.pull("busybox:1", &[]).await.expect_err("no image").to_string();
        assert!(error.contains(words), "{error}");
    }
    docker.says_to("POST /images/create", Say::Json(200, "{\"status\":\"Pulling\"}\n".to_owned()));
    engine.pull("busybox:1", &[]).await.expect("pulled");
}

#[tokio::test(start_paused = true)]
async fn work_for_a_docker_that_hangs_is_given_up_and_work_that_takes_long_is_not() {
    let docker = Scripted::new();
    let engine = docker.engine();
    docker.says(|asked| match asked {
        _ if asked.starts_with("POST") => Some(Say::Nothing),
        "GET /_ping" => Some(Say::Nothing),
        _ => None,
    });
    let error = engine.start("web").await.expect_err("it hangs");
    assert!(
        matches!(error, EngineError::Unavailable { .. }) && error.to_string().contains("hangs"),
        "{error}"
    );
    docker.says_to("POST", Say::Nothing);
    let error = engine.start("web").await.expect_err("it takes too long");
    assert!(matches!(error, EngineError::TimedOut { .. }), "{error}");
}

/// A daemon that is replaced by one of another version, between one line and the next.
#[tokio::test(start_paused = true)]
async fn the_version_is_agreed_on_anew_with_each_daemon() {
    let docker = Scripted::new();
    let (tell, mut signals) = mpsc::channel(8);
    let engine = Arc::new(docker.engine());
    let watched = engine.clone();
    let watching = tokio::spawn(async move { watched.watch(tell).await });
    for version in ["1.41", "1.43", "1.24", "1.41"] {
        docker.says(move |asked| {
            let answer = format!("{{\"Version\":\"{version}\",\"ApiVersion\":\"{version}\"}}");
            (asked == "GET /version").then_some(Say::Json(200, answer))
        });
        docker.cut.notify_waiters();
        loop {
            if signal(&mut signals).await == (Signal::Up { version: version.to_owned() }) {
                break;
            }
        }
        is_well(&engine).await;
        let spoken = docker.spoken.lock().expect("no test panics with it").clone();
        let spoken = spoken.iter().rfind(|path| path.contains("/containers/json"));
        assert!(spoken.is_some_and(|path| path.starts_with(&format!("/v{version}/"))), "{spoken:?}");
    }
    watching.abort();
}

/// Ends the process whatever becomes of the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    fn start(state: &Path, socket: &Path) -> Self {
        let (state, socket) = (state.to_str().expect("text"), socket.to_str().expect("text"));
        let door = format!("{state}/agent.sock");
        let child = Command::new(env!("CARGO_BIN_EXE_skerry-agent"))
            .args(["run", "--node-name", "node", "--state-dir", state, "--docker-socket", socket])
            .args(["--controller", "http://127.0.0.1:1", "--manifest-dir", state, "--admin-socket", &door])
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    /// Its largest memory until now, in KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const WEB: &str = "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web, namespace: test}
spec:
  placement: {nodeSelector: {}}
  template: {spec: {containers: [{name: main, image: 'busybox:1'}]}}
";

/// The whole agent: its memory stays small, it touches nothing, its door goes on answering, and it works as soon as Docker does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_outlasts_a_docker_that_talks_nonsense() {
    let docker = Scripted::new();
    let state = docker.dir.path().join("state");
    std::fs::create_dir(&state).expect("created");
    std::fs::write(state.join("web.yaml"), WEB).expect("written");
    docker.says_to(
        LIST,
        Say::Json(
            200,
            format!("[{}{{}}]", r#"{"Id":"a","State":"running","Labels":{"a":"b"}},"#.repeat(100_000)),
        ),
    );
    let agent = Agent::start(&state, &docker.socket());
    until("it looks", || docker.asked().iter().filter(|asked| asked.starts_with(LIST)).count() >= 2).await;
    docker.says_to(LIST, Say::Endless("{}"));
    let before = docker.asked().len();
    until("it looks again", || docker.asked().len() > before).await;
    docker.says_to(LIST, Say::Nothing);
    let before = docker.asked().len();
    until("it looks once more", || docker.asked().len() > before).await;
    // While Docker says nothing, the agent answers.
    let door = state.join("agent.sock");
    let shown = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "5",
            "--unix-socket",
            door.to_str().expect("text"),
            "http://box/v1/status",
        ])
        .output()
        .expect("curl runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\"dockerReady\": false") && shown.contains("docker"), "{shown}");
    let touched: Vec<String> = docker.asked().into_iter().filter(|asked| !asked.starts_with("GET")).collect();
    assert_eq!(touched, Vec::<String>::new());
    assert!(agent.peak() < 64 << 10, "{} KiB", agent.peak());
    docker.says(|_| None);
    until("it creates the container", || {
        docker.asked().iter().any(|asked| asked.starts_with("POST /containers/create"))
    })
    .await;
}
