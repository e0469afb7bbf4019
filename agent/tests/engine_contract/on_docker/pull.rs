//! Pulls from a registry that asks who one is. The registry is a few lines here: it serves no image, it only tells who may know that.

use std::sync::{Arc, Mutex};

use skerry_agent::engine::{Engine as _, EngineError};
use skerry_agent_core::{RegistryAuth, Sensitive};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::Bed;

/// `Authorization` headers of requests for a manifest, in their order; empty for none.
type Seen = Arc<Mutex<Vec<String>>>;

/// A password that has characters on which the two alphabets of base64 differ, at every offset.
const PASSWORD: &str = "???>>>~~~ü/pass";

async fn registry() -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let seen = Seen::default();
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, told.clone()));
        }
    });
    (port, seen)
}

async fn serve(stream: TcpStream, seen: Seen) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut authorization) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line if path.is_empty() => path = line.to_owned(),
                line => {
                    if let Some(value) = line.strip_prefix("Authorization: ") {
                        authorization = value.to_owned();
                    }
                }
            }
        }
        let manifest = path.contains("/manifests/");
        if manifest {
            seen.lock().expect("not poisoned").push(authorization.clone());
        }
        let (status, body) = match (authorization == right(), manifest) {
            (false, _) => {
                ("401 Unauthorized", r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#)
            }
            (true, true) => {
                ("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}"#)
            }
            (true, false) => ("200 OK", "{}"),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"r\"\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The header of the user who may know.
fn right() -> String {
    let encode = std::process::Command::new("sh")
        .args(["-c", &format!("printf '%s' 'user:{PASSWORD}' | base64 -w0")])
        .output()
        .expect("base64 runs");
    format!("Basic {}", String::from_utf8_lossy(&encode.stdout))
}

fn auth(registry: &str, password: &str) -> RegistryAuth {
    RegistryAuth {
        registry: registry.to_owned(),
        username: "user".to_owned(),
        password: Sensitive(password.to_owned()),
        identity_token: Sensitive::default(),
    }
}

#[tokio::test]
async fn credentials_are_tried_in_their_order_and_only_where_they_belong() {
    let bed = Bed::new("pull");
    let docker = bed.docker();
    let (port, seen) = registry().await;
    let registry = format!("127.0.0.1:{port}");
    let image = format!("{registry}/team/app:1");
    let take = || std::mem::take(&mut *seen.lock().expect("not poisoned"));

    let error = docker.pull(&image, &[]).await.expect_err("nobody may know");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(!take().contains(&right()));
    let auths = [auth("elsewhere.example", PASSWORD), auth(&registry, "wrong"), auth(&registry, PASSWORD)];
    let error = docker.pull(&image, &auths).await.expect_err("there is no image");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(take().contains(&right()), "the password reaches the registry as it is");
    assert!(!error.to_string().contains(PASSWORD) && !error.to_string().contains("wrong"), "{error}");
    let error = docker.pull(&image, &auths[2..]).await.expect_err("there is no image").to_string();
    assert!(
        error.contains("not here") || error.contains("not found") || error.contains("unknown"),
        "{error}"
    );
}
