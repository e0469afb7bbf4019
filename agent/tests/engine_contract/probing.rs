//! Probes against real servers on this machine, and commands on the fake engine: each kind of question with each kind of answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use skerry_agent::probes::{self, Probed, Tasks};
use skerry_agent_core::{
    ContainerId, Handler, HttpGet, Probe, ProbeKind, ProbeTask, ProbeVerdict, Scheme, WallMillis,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::fake::Fake;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

/// The task that runs probes, with the test as its supervisor.
struct Prober {
    tasks: watch::Sender<Tasks>,
    verdicts: mpsc::Receiver<Probed>,
    running: JoinHandle<()>,
}

impl Prober {
    fn start(fake: &Fake) -> Self {
        let (tasks, todo) = watch::channel(Tasks::new());
        let (tell, verdicts) = mpsc::channel(1);
        let running = tokio::spawn(probes::run(Arc::new(fake.clone()), todo, tell));
        Self { tasks, verdicts, running }
    }

    fn ask(handler: Handler) -> Self {
        let prober = Self::start(&Fake::new());
        prober.tasks.send_replace(one(handler));
        prober
    }

    async fn verdict(&mut self) -> ProbeVerdict {
        let probed = tokio::time::timeout(PATIENCE, self.verdicts.recv()).await;
        probed.expect("a verdict in time").expect("it runs").verdict
    }
}

fn key(i: usize) -> (ContainerId, ProbeKind) {
    (ContainerId(format!("c{i}")), ProbeKind::Readiness)
}

fn one(handler: Handler) -> Tasks {
    Tasks::from([(key(0), task(handler))])
}

fn task(handler: Handler) -> ProbeTask {
    let probe = Probe {
        handler,
        initial_delay: Duration::ZERO,
        timeout: Duration::from_millis(300),
        period: Duration::from_millis(10),
        success_threshold: 1,
        failure_threshold: 2,
        grace: None,
    };
    ProbeTask { probe, address: Some(LOCAL), started_at: WallMillis(i64::MAX) }
}

fn get(port: NonZeroU16) -> HttpGet {
    HttpGet { scheme: Scheme::Http, host: None, port, path: "/healthz".to_owned(), headers: Vec::new() }
}

fn http(port: NonZeroU16) -> Handler {
    Handler::Http(get(port))
}

async fn listener() -> (TcpListener, NonZeroU16) {
    let listener = TcpListener::bind((LOCAL, 0)).await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    (listener, NonZeroU16::new(port).expect("a port"))
}

/// A server whose answer to every GET is the present status; and how many were asked.
async fn http_server() -> (NonZeroU16, Arc<AtomicI32>, Arc<AtomicUsize>) {
    let (listener, port) = listener().await;
    let (status, asked) = (Arc::new(AtomicI32::new(200)), Arc::new(AtomicUsize::new(0)));
    let (says, counts) = (status.clone(), asked.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            counts.fetch_add(1, Ordering::Relaxed);
            let status = says.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {status} so\r\ncontent-length: 2\r\n\r\nok");
            // The client may have been ended meanwhile.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, status, asked)
}

#[tokio::test]
async fn an_http_probe_follows_the_status_and_tells_only_changes() {
    let (port, status, asked) = http_server().await;
    let mut prober = Prober::ask(http(port));
    assert!(prober.verdict().await.ok);
    for code in [204, 301, 399] {
        status.store(code, Ordering::Relaxed);
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(prober.verdicts.try_recv().is_err(), "{code} is a success, and no news");
    }
    status.store(503, Ordering::Relaxed);
    let verdict = prober.verdict().await;
    assert_eq!(
        verdict,
        ProbeVerdict { ok: false, message: "HTTP probe failed with statuscode: 503".to_owned() }
    );
    status.store(200, Ordering::Relaxed);
    assert!(prober.verdict().await.ok);
}

#[tokio::test]
async fn containers_that_hang_do_not_hold_up_the_others() {
    let (_silent, hangs) = listener().await;
    let (port, _, _) = http_server().await;
    let patient = |handler| {
        let mut task = task(handler);
        task.probe.timeout = Duration::from_secs(3600);
        task
    };
    let mut tasks: Tasks = (0..100).map(|i| (key(i), patient(http(hangs)))).collect();
    let (well, _) = key(999);
    tasks.insert((well.clone(), ProbeKind::Readiness), patient(http(port)));
    let mut prober = Prober::start(&Fake::new());
    prober.tasks.send_replace(tasks);
    let probed = tokio::time::timeout(PATIENCE, prober.verdicts.recv()).await;
    assert_eq!(probed.expect("a verdict in time").map(|probed| probed.id), Some(well));
}

#[tokio::test]
async fn a_probe_that_is_taken_away_asks_no_more_and_one_that_comes_does() {
    let (port, _, asked) = http_server().await;
    let mut prober = Prober::ask(http(port));
    assert!(prober.verdict().await.ok);
    prober.tasks.send_replace(Tasks::new());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let rest = asked.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked.load(Ordering::Relaxed), rest);
    prober.tasks.send_replace(one(http(port)));
    assert!(prober.verdict().await.ok, "it starts from nothing");
}

#[tokio::test]
async fn a_server_that_does_not_answer_has_failed() {
    let (listener, port) = listener().await;
    let mut prober = Prober::ask(http(port));
    let verdict = prober.verdict().await;
    assert!(!verdict.ok && verdict.message.contains("context deadline exceeded"), "{verdict:?}");
    drop(listener);
    prober.tasks.send_replace(Tasks::from([(key(1), task(http(port)))]));
    let verdict = prober.verdict().await;
    assert!(verdict.message.contains("refused"), "{verdict:?}");
}

#[tokio::test]
async fn a_tcp_probe_wants_a_connection_and_nothing_else() {
    let (open, port) = listener().await;
    let mut prober = Prober::ask(Handler::Tcp { host: None, port });
    assert!(prober.verdict().await.ok);
    drop(open);
    let verdict = prober.verdict().await;
    assert!(!verdict.ok && verdict.message.contains("refused"), "{verdict:?}");
}

#[tokio::test]
async fn a_container_without_an_address_is_not_ready_and_says_why() {
    let prober = Prober::start(&Fake::new());
    let port = NonZeroU16::new(80).expect("a port");
    let handlers =
        [http(port), Handler::Tcp { host: None, port }, Handler::Grpc { port, service: String::new() }];
    let nowhere = |handler| ProbeTask { address: None, ..task(handler) };
    let count = handlers.len();
    let tasks = handlers.into_iter().enumerate().map(|(i, handler)| (key(i), nowhere(handler)));
    prober.tasks.send_replace(tasks.collect());
    let mut prober = prober;
    for _ in 0..count {
        let verdict = prober.verdict().await;
        assert!(!verdict.ok && verdict.message.contains("the container has no address"), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_named_host_is_asked_in_place_of_the_container() {
    let (port, _, _) = http_server().await;
    let mut prober = Prober::start(&Fake::new());
    let elsewhere = Some("192.0.2.1".parse().expect("an address"));
    let host = Some("127.0.0.1".to_owned());
    for handler in [Handler::Http(HttpGet { host: host.clone(), ..get(port) }), Handler::Tcp { host, port }] {
        let task = ProbeTask { address: elsewhere, ..task(handler) };
        prober.tasks.send_replace(BTreeMap::from([(key(0), task)]));
        assert!(prober.verdict().await.ok);
    }
}

#[tokio::test]
async fn a_command_is_asked_by_its_exit_code_and_an_engine_that_is_away_is_no_answer() {
    let fake = Fake::new();
    fake.runs("c0");
    let mut prober = Prober::start(&fake);
    let command = vec!["cat".to_owned(), "/healthy".to_owned()];
    prober.tasks.send_replace(one(Handler::Exec { command }));
    assert!(prober.verdict().await.ok);
    fake.set_up(false);
    fake.take_calls();
    let mut calls = 0;
    while calls < 5 {
        calls += fake.take_calls().len();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(prober.verdicts.try_recv().is_err());
    fake.set_sick("cat /healthy", true);
    fake.set_up(true);
    let verdict = prober.verdict().await;
    assert_eq!(verdict.message, "the command ended with exit code 1");
    fake.set_sick("cat /healthy", false);
    assert!(prober.verdict().await.ok);
}

#[tokio::test]
async fn not_all_are_asked_at_once_and_none_is_forgotten() {
    let (listener, port) = listener().await;
    let most = Arc::new(AtomicUsize::new(0));
    let (open, peak) = (Arc::new(AtomicUsize::new(0)), most.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            peak.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let open = open.clone();
            tokio::spawn(async move {
                // To the end of what the client says; it is never answered.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    let mut prober = Prober::start(&Fake::new());
    let slow = |i| {
        let task = task(http(port));
        (key(i), ProbeTask { probe: Probe { failure_threshold: 1, ..task.probe }, ..task })
    };
    prober.tasks.send_replace((0..150).map(slow).collect());
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 150 {
        let probed = tokio::time::timeout(PATIENCE, prober.verdicts.recv()).await.expect("in time");
        told.insert(probed.expect("it runs").id);
    }
    let most = most.load(Ordering::Relaxed);
    // The server hears of an end a little later than the client.
    assert!((32..=110).contains(&most), "{most} at once");
}

#[tokio::test]
async fn it_ends_when_nobody_gives_tasks_or_listens() {
    let Prober { tasks, verdicts, running } = Prober::start(&Fake::new());
    drop(tasks);
    tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("no panic");
    drop(verdicts);

    let (port, _, _) = http_server().await;
    let Prober { tasks, verdicts, running } = Prober::ask(http(port));
    drop(verdicts);
    tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("no panic");
    drop(tasks);
}

mod grpc {
    //! A health service of one answer.

    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use futures::future::BoxFuture;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::body::Body;
    use tonic::codegen::Service;
    use tonic::server::{Grpc, NamedService, UnaryService};
    use tonic::{Request, Response, Status};
    use tonic_prost::ProstCodec;

    use super::*;

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    struct CheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    struct CheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
    }

    #[derive(Clone)]
    struct Health(Arc<AtomicI32>);

    impl NamedService for Health {
        const NAME: &'static str = "grpc.health.v1.Health";
    }

    impl UnaryService<CheckRequest> for Health {
        type Response = CheckResponse;
        type Future = BoxFuture<'static, Result<Response<CheckResponse>, Status>>;
        fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
            let status = self.0.load(Ordering::Relaxed);
            Box::pin(async move {
                match request.get_ref().service.as_str() {
                    "db" => Ok(Response::new(CheckResponse { status })),
                    other => Err(Status::not_found(format!("no service {other:?}"))),
                }
            })
        }
    }

    impl Service<http::Request<Body>> for Health {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let service = self.clone();
            Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
                Ok(grpc.unary(service, request).await)
            })
        }
    }

    async fn server(status: i32) -> (NonZeroU16, Arc<AtomicI32>) {
        let (listener, port) = listener().await;
        let status = Arc::new(AtomicI32::new(status));
        let health = Health(status.clone());
        let serve = tonic::transport::Server::builder()
            .add_service(health)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serve);
        (port, status)
    }

    #[tokio::test]
    async fn a_grpc_probe_wants_serving() {
        let (port, status) = server(1).await;
        let mut prober = Prober::ask(Handler::Grpc { port, service: "db".to_owned() });
        let verdict = prober.verdict().await;
        assert!(verdict.ok, "{verdict:?}");
        status.store(2, Ordering::Relaxed);
        let verdict = prober.verdict().await;
        assert_eq!(verdict.message, "service unhealthy (responded with \"NOT_SERVING\")");
    }

    #[tokio::test]
    async fn a_grpc_probe_tells_what_is_wrong() {
        let (port, _) = server(1).await;
        let mut prober = Prober::ask(Handler::Grpc { port, service: "cache".to_owned() });
        let verdict = prober.verdict().await;
        assert!(!verdict.ok && verdict.message.contains("no service \"cache\""), "{verdict:?}");

        let (port, _, _) = http_server().await;
        let mut prober = Prober::ask(Handler::Grpc { port, service: String::new() });
        assert!(!prober.verdict().await.ok, "a server of something else");

        let (closed, port) = listener().await;
        drop(closed);
        let mut prober = Prober::ask(Handler::Grpc { port, service: String::new() });
        let verdict = prober.verdict().await;
        assert!(verdict.message.contains("failed to connect"), "{verdict:?}");
    }
}
