use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::access::{Identity, ServerNames, UserRole, Vault, add_user};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default)]
struct Shelf(Mutex<HashMap<String, Vec<u8>>>);

impl Vault for Shelf {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.0.lock().expect("nobody panics with it").get(name).cloned())
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), BoxError> {
        self.0.lock().expect("nobody panics with it").insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

/// A running server and what it takes to come in.
struct Fixture {
    address: SocketAddr,
    shelf: Shelf,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

/// Answers with who asks; `/watch` never ends by itself.
fn service() -> Router {
    Router::new().route("/watch", get(async || Body::new(Endless(true)))).fallback(
        async |Extension(who): Extension<Arc<Identity>>, request: Request<Body>| {
            let leaks = request.headers().contains_key("authorization");
            format!("{}{}", who.name, if leaks { " with the token" } else { "" })
        },
    )
}

/// One frame, then silence.
struct Endless(bool);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match std::mem::take(&mut self.0) {
            true => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"event"))))),
            false => std::task::Poll::Pending,
        }
    }
}

impl Fixture {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder")).await
    }

    /// With the users of this folder.
    async fn start_in(folder: tempfile::TempDir) -> Self {
        let shelf = Shelf::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let authority = Arc::new(Authority::load_or_make(&shelf, SystemTime::now()).expect("an authority"));
        let names = ServerNames::new(address, &[]).expect("names");
        let served = ServerCert::new(authority.clone(), names, SystemTime::now()).expect("a certificate");
        let tls = tls_config(&authority, Arc::new(served)).expect("TLS");
        let users = Arc::new(Users::open(folder.path().join("users.yaml")).expect("no users"));
        let stop = CancellationToken::new();
        let done = tokio::spawn(serve(listener, tls, users, service(), stop.clone()));
        Self { address, shelf, stop, done }
    }

    fn kept(&self) -> Vec<u8> {
        self.shelf.load("api-authority").expect("a shelf").expect("an authority")
    }

    /// A client certificate of the server's authority that ends `seconds` from now.
    fn certificate(&self, name: &str, group: &str, seconds: i64) -> Certificate {
        let kept = self.kept();
        let ca = CertificateDer::from_pem_slice(&kept).expect("a certificate");
        let key = KeyPair::try_from(&PrivateKeyDer::from_pem_slice(&kept).expect("a key")).expect("a key");
        issue(&Issuer::from_ca_cert_der(&ca, key).expect("an issuer"), name, group, seconds)
    }

    async fn connect(
        &self,
        alpn: &str,
        certificate: Option<Certificate>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.kept()).expect("a certificate")).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            Some((chain, key)) => config.with_client_auth_cert(vec![chain], key).expect("a key"),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One request on a connection of its own.
    async fn ask(
        &self,
        alpn: &str,
        certificate: Option<Certificate>,
        authorization: &str,
    ) -> Result<Answer, BoxError> {
        let stream = TokioIo::new(self.connect(alpn, certificate).await?);
        let mut request = Request::get("https://localhost/healthz").body(Empty::<Bytes>::new())?;
        if !authorization.is_empty() {
            request.headers_mut().insert("authorization", authorization.parse()?);
        }
        let response = if alpn == "h2" {
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            send.send_request(request).await?
        } else {
            let (mut send, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            send.send_request(request).await?
        };
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

type Answer = (StatusCode, String);
type Certificate = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn issue(issuer: &Issuer<'_, KeyPair>, name: &str, group: &str, seconds: i64) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(7200)).into();
    let span = Duration::from_secs(seconds.unsigned_abs());
    params.not_after = if seconds < 0 { now - span } else { now + span }.into();
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// Reads to the end; what came, and how long it took.
async fn drained(mut stream: impl tokio::io::AsyncRead + Unpin) -> (Vec<u8>, Duration) {
    let (mut all, began) = (Vec::new(), Instant::now());
    let ended = timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok(), "the server holds on to the connection");
    (all, began.elapsed())
}

#[test]
fn the_api_is_for_this_machine_unless_told_otherwise() {
    for (address, is_local) in [
        ("127.0.0.1:6443", true),
        ("127.8.8.8:6443", true),
        ("[::1]:6443", true),
        ("[::ffff:127.0.0.1]:6443", true),
        ("0.0.0.0:6443", false),
        ("[::]:6443", false),
        ("192.0.2.7:6443", false),
    ] {
        let address: SocketAddr = address.parse().expect("an address");
        let checked = check_listen(address, false);
        assert_eq!(checked.is_ok(), is_local, "{address}");
        assert!(check_listen(address, true).is_ok());
        if let Err(refused) = checked {
            let text = refused.to_string();
            assert!(text.contains("--allow-remote") && text.contains(&address.to_string()), "{text}");
        }
    }
}

#[tokio::test]
async fn who_is_nobody_gets_401_whatever_is_asked() {
    let fixture = Fixture::start().await;
    for alpn in ["h2", "http/1.1"] {
        for authorization in ["", "Bearer", "Bearer ", "Bearer nope", "Basic YTpi", "Bearer  x"] {
            let (status, body) = fixture.ask(alpn, None, authorization).await.expect("an answer");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(
                (status, body),
                (StatusCode::UNAUTHORIZED, crate::status::ApiError::unauthorized().body())
            );
        }
    }
}

#[tokio::test]
async fn a_token_lets_its_user_in_and_goes_no_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let namespaces = ["plant-a".to_owned()];
    let token =
        add_user(&folder.path().join("users.yaml"), "eddy", UserRole::Editor, &namespaces).expect("added");
    let fixture = Fixture::start_in(folder).await;
    for alpn in ["h2", "http/1.1"] {
        for scheme in ["Bearer", "bearer"] {
            let answer = fixture.ask(alpn, None, &format!("{scheme} {token}")).await.expect("an answer");
            assert_eq!(answer, (StatusCode::OK, "eddy".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_certificate_of_ours_lets_in_until_it_ends() {
    let fixture = Fixture::start().await;
    for alpn in ["h2", "http/1.1"] {
        let valid = fixture.certificate("carla", "system:masters", 600);
        let answer = fixture.ask(alpn, Some(valid), "Bearer nope").await.expect("an answer");
        assert_eq!(answer, (StatusCode::OK, "carla".to_owned()));
        let expired = fixture.certificate("carla", "system:masters", -600);
        let refused = fixture.ask(alpn, Some(expired), "").await;
        assert!(refused.is_err(), "{refused:?}");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let foreign = issue(&Issuer::new(params, key), "carla", "system:masters", 600);
        let refused = fixture.ask(alpn, Some(foreign), "").await;
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let fixture = Fixture::start().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("POST /x HTTP/1.1\r\n\r\n{}", "x".repeat(100_000)),
    ] {
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert_eq!(
            answer,
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        );
    }
}

#[tokio::test]
async fn what_is_no_tls_is_closed_at_once() {
    let fixture = Fixture::start().await;
    for garbage in
        [&[0u8; 64][..], b"\x16\x03\x01\xff\xff garbage", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"ssh"]
    {
        let mut stream = TcpStream::connect(fixture.address).await.expect("a connection");
        stream.write_all(garbage).await.expect("written");
        stream.shutdown().await.expect("closed");
        let (_, took) = drained(stream).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let token = fixture.ask("h2", None, "").await.expect("the server lives");
    assert_eq!(token.0, StatusCode::UNAUTHORIZED);
}

/// All take their time at once: silence before TLS, half a handshake, silence after it, half a head, a preface and no more.
#[tokio::test]
async fn who_dawdles_is_cut_off() {
    let fixture = Fixture::start().await;
    let silent = TcpStream::connect(fixture.address).await.expect("a connection");
    let mut half = TcpStream::connect(fixture.address).await.expect("a connection");
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("written");
    let mut quiet = Vec::new();
    for (alpn, start) in [
        ("h2", ""),
        ("http/1.1", ""),
        ("http/1.1", "GET / HTTP/1.1\r\nHost: x\r\nA: "),
        ("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut stream = fixture.connect(alpn, None).await.expect("a connection");
        stream.write_all(start.as_bytes()).await.expect("written");
        quiet.push(stream);
    }
    tokio::time::pause(); // from here on time passes as fast as nothing else happens
    let all = async {
        tokio::join!(drained_time(silent), drained_time(half), async {
            let times = quiet.into_iter().map(|stream| tokio::spawn(drained_time(stream)));
            for time in times.collect::<Vec<_>>() {
                time.await.expect("cut off");
            }
        });
    };
    timeout(Duration::from_secs(20), all).await.expect("within the timeouts of a stranger");
}

/// Like `drained`, where a reset is as good as an end.
async fn drained_time(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let fixture = Fixture::start().await;
    let mut stream = fixture.connect("http/1.1", None).await.expect("a connection");
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(80_000));
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test]
async fn a_watch_ends_when_the_server_does() {
    for alpn in ["h2", "http/1.1"] {
        let fixture = Fixture::start().await;
        let certificate = fixture.certificate("carla", "system:masters", 600);
        let stream = TokioIo::new(fixture.connect(alpn, Some(certificate)).await.expect("a connection"));
        let request = Request::get("https://localhost/watch").body(Empty::<Bytes>::new()).expect("a request");
        let response = if alpn == "h2" {
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            send.send_request(request).await
        } else {
            let (mut send, connection) =
                hyper::client::conn::http1::handshake(stream).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            send.send_request(request).await
        };
        let mut body = response.expect("an answer").into_body();
        let first = body.frame().await.expect("a frame").expect("an event");
        assert_eq!(first.into_data().expect("data"), "event");
        fixture.stop.cancel();
        let rest = timeout(Duration::from_secs(2), body.collect()).await.expect("ended at once");
        assert!(rest.expect("a clean end").to_bytes().is_empty());
        timeout(Duration::from_secs(2), fixture.done).await.expect("ended at once").expect("no panic");
        assert!(TcpStream::connect(fixture.address).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn who_does_not_go_is_left_behind() {
    let fixture = Fixture::start().await;
    let half = TcpStream::connect(fixture.address).await.expect("a connection");
    let idle = fixture.connect("h2", None).await.expect("a connection");
    tokio::time::pause(); // from here on time passes as fast as nothing else happens
    fixture.stop.cancel();
    timeout(Duration::from_secs(7), fixture.done).await.expect("ended by the deadline").expect("no panic");
    drop((half, idle));
}

#[tokio::test(start_paused = true)]
async fn a_failing_accept_does_not_spin() {
    let tries = AtomicUsize::new(0);
    let failing = || {
        tries.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Err(io::Error::from_raw_os_error(24))) // EMFILE
    };
    let spun = timeout(Duration::from_secs(10), accepted(failing)).await;
    assert!(spun.is_err());
    assert!(tries.load(Ordering::Relaxed) <= 51, "{tries:?}");
}

#[tokio::test]
async fn more_connections_than_there_are_slots_wait_their_turn() {
    let fixture = Fixture::start().await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(TcpStream::connect(fixture.address).await.expect("a connection"));
    }
    let late = fixture.ask("h2", None, "");
    tokio::pin!(late);
    assert!(timeout(Duration::from_millis(500), late.as_mut()).await.is_err(), "there was a slot left");
    drop(held);
    let (status, _) = timeout(Duration::from_secs(5), late).await.expect("a slot").expect("an answer");
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
