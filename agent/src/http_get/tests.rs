use std::num::NonZeroU16;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(5);

fn get(port: u16, path: &str) -> HttpGet {
    HttpGet {
        scheme: Scheme::Http,
        host: None,
        port: NonZeroU16::new(port).expect("a port"),
        path: path.to_owned(),
        headers: Vec::new(),
    }
}

/// Answers one connection after the other with these texts, and tells the requests.
async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((LOCAL, 0)).await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let serve = async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let byte = stream.read_u8().await.expect("a whole head");
                request.push(byte);
            }
            requests.push(String::from_utf8(request).expect("text"));
            // The client may have seen enough.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        requests
    };
    (port, tokio::spawn(serve))
}

#[tokio::test]
async fn status_body_and_headers_are_as_sent() {
    let (port, served) = server(vec!["HTTP/1.1 503 no\r\ncontent-length: 4\r\n\r\nsick".to_owned()]).await;
    let mut request = get(port, "/health z?full=1#top");
    request.headers = vec![
        ("Host".to_owned(), "app.example".to_owned()),
        ("X-Twice".to_owned(), "a".to_owned()),
        ("X-Twice".to_owned(), "b".to_owned()),
    ];
    let answer = http_get(&request, Some(LOCAL), PATIENCE).await.expect("an answer");
    assert_eq!(answer, Answer { status: 503, body: "sick".to_owned() });
    assert!(!answer.is_success());
    let requests = served.await.expect("served");
    let head = requests[0].to_lowercase();
    assert!(head.starts_with("get /health%20z?full=1 http/1.1\r\n"), "{head}");
    for line in ["host: app.example", "x-twice: a", "x-twice: b", "user-agent: skerry-probe/", "accept: */*"]
    {
        assert!(head.contains(&format!("\r\n{line}")), "{line} in {head}");
    }
    assert_eq!(head.matches("\r\nhost:").count(), 1);
}

#[tokio::test]
async fn a_redirect_on_the_host_is_followed_and_one_elsewhere_is_the_answer() {
    let (port, served) = server(vec![
        "HTTP/1.1 302 f\r\nlocation: b?x\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 302 f\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ])
    .await;
    let answer = http_get(&get(port, "/dir/a"), Some(LOCAL), PATIENCE).await.expect("an answer");
    assert!(answer.status == 302 && answer.is_success());
    assert!(served.await.expect("served")[1].starts_with("GET /dir/b?x HTTP/1.1\r\n"));

    let endless = "HTTP/1.1 301 m\r\nlocation: /a\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (port, _served) = server(vec![endless; REDIRECTS_MAX + 1]).await;
    let error = http_get(&get(port, "/a"), Some(LOCAL), PATIENCE).await.expect_err("endless");
    assert!(error.to_string().ends_with("stopped after 10 redirects"), "{error}");
}

#[tokio::test]
async fn of_a_long_body_only_the_beginning_is_read() {
    let body = "x".repeat(BODY_MAX * 3);
    let (port, _served) = server(vec![format!("HTTP/1.0 200 ok\r\n\r\n{body}")]).await;
    let answer = http_get(&get(port, "/"), Some(LOCAL), PATIENCE).await.expect("an answer");
    assert_eq!(answer.body.len(), BODY_MAX);
}

#[tokio::test]
async fn silence_and_refusal_are_told_apart() {
    let silent = TcpListener::bind((LOCAL, 0)).await.expect("a socket");
    let port = silent.local_addr().expect("an address").port();
    let error =
        http_get(&get(port, "/a"), Some(LOCAL), Duration::from_millis(50)).await.expect_err("silence");
    assert!(matches!(error, HttpError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("Get \"http://127.0.0.1:{port}/a\": context deadline")));
    drop(silent);
    let error = http_get(&get(port, "/a"), Some(LOCAL), PATIENCE).await.expect_err("nobody listens");
    assert!(matches!(error, HttpError::Connect { .. }), "{error:?}");
    let error = http_get(&get(port, "/a"), None, PATIENCE).await.expect_err("no address");
    assert!(matches!(error, HttpError::NoAddress { .. }), "{error:?}");
}

#[test]
fn a_redirect_is_resolved_against_where_it_was_met() {
    let scheme = Scheme::Http;
    let base = Target { scheme, host: "a.example".to_owned(), port: 8080, path: "/x/y?q".to_owned() };
    for (location, leads) in [
        ("/z", Some("http://a.example:8080/z")),
        ("z", Some("http://a.example:8080/x/z")),
        ("?r", Some("http://a.example:8080/x/y?r")),
        ("//A.example/z", Some("http://A.example:80/z")),
        ("http://a.example:81", Some("http://a.example:81/")),
        ("http://a.example?z", Some("http://a.example:80/?z")),
        ("http://b.example/", None),
        ("https://a.example/", Some("https://a.example:443/")),
        ("HTTPS://a.example:1/z", Some("https://a.example:1/z")),
        ("https://b.example/", None),
        ("h\u{e9}", Some("http://a.example:8080/x/h%C3%A9")),
        ("ftp:z", None),
    ] {
        let leads_to = base.follow(location).map(|target| target.url().to_lowercase());
        assert_eq!(leads_to, leads.map(str::to_lowercase), "{location}");
    }
}

/// A server with a certificate of nobody's, for another name and long expired.
async fn tls_server(answer: &'static str) -> u16 {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).expect("params");
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind((LOCAL, 0)).await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        stream.write_all(answer.as_bytes()).await.expect("it listens");
        // As many servers do, without a word of parting.
    });
    port
}

#[tokio::test]
async fn over_https_no_certificate_is_verified() {
    let port = tls_server("HTTP/1.1 200 ok\r\ncontent-length: 2\r\n\r\nok").await;
    let https = HttpGet { scheme: Scheme::Https, ..get(port, "/") };
    let answer = http_get(&https, Some(LOCAL), PATIENCE).await.expect("an answer");
    assert_eq!(answer, Answer { status: 200, body: "ok".to_owned() });
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let (port, _served) = server(vec!["HTTP/1.1 400 no\r\n\r\n".to_owned()]).await;
    let https = HttpGet { scheme: Scheme::Https, ..get(port, "/a") };
    let error = http_get(&https, Some(LOCAL), Duration::from_millis(500)).await.expect_err("no TLS");
    assert!(error.to_string().starts_with("Get \"https://127.0.0.1"), "{error}");
}
