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
    for line in ["host: app.example", "x-twice: a", "x-twice: b", "user-agent: kube-probe/", "accept: */*"] {
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
    let https = HttpGet { scheme: Scheme::Https, ..get(port, "/a") };
    let error = http_get(&https, Some(LOCAL), PATIENCE).await.expect_err("no https");
    assert!(error.to_string().contains("https://127.0.0.1"), "{error}");
}

#[test]
fn a_redirect_is_resolved_against_where_it_was_met() {
    let base = Target { host: "a.example".to_owned(), port: 8080, path: "/x/y?q".to_owned() };
    for (location, leads) in [
        ("/z", Some("http://a.example:8080/z")),
        ("z", Some("http://a.example:8080/x/z")),
        ("?r", Some("http://a.example:8080/x/y?r")),
        ("//A.example/z", Some("http://A.example:80/z")),
        ("http://a.example:81", Some("http://a.example:81/")),
        ("http://a.example?z", Some("http://a.example:80/?z")),
        ("http://b.example/", None),
        ("https://a.example/", None),
        ("ftp:z", None),
    ] {
        let leads_to = base.follow(location).map(|target| target.url().to_lowercase());
        assert_eq!(leads_to, leads.map(str::to_lowercase), "{location}");
    }
}
