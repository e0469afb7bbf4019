//! Bad input on every door: command lines, configuration files, the session port.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skerry_proto::wire::sessions_client::SessionsClient;
use skerry_proto::wire::{AgentMessage, Hello, agent_message, controller_message};
use skerry_tests::{Daemon, IMAGE, eventually, target_dir, unique};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Endpoint;

use crate::apply::app_yaml;
use crate::{Shared, shared};

/// Runs a binary of ours that ends by itself; returns its exit code and what it said.
pub fn refused(binary: &str, args: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(target_dir()?.join(binary)).args(args).env_remove("RUST_LOG").output()?;
    let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).trim().to_owned();
    Ok((output.status.code().context("it was killed")?, said))
}

pub async fn plain_text_beyond_loopback_is_refused(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let kubeconfig = format!("--kubeconfig={}", site.control_plane.kubeconfig().display());
    let (code, said) = refused("skerry-controller", &["run", &kubeconfig, "--listen=0.0.0.0:7443"])?;
    ensure!(code != 0 && said.contains("0.0.0.0:7443") && said.contains("loopback"), "{code}: {said}");
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("agent.toml");
    std::fs::write(&config, "controller = \"http://192.0.2.1:7443\"\n")?;
    let (code, said) = refused("skerry-agent", &["run", &format!("--config={}", config.display())])?;
    ensure!(code == 2 && said.contains("192.0.2.1") && said.contains("loopback"), "{code}: {said}");
    Ok(())
}

pub async fn a_bad_config_is_one_clear_line(_: Shared) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("agent.toml");
    let path = config.display().to_string();
    let cases = [
        ("node-nam = \"a\"\n", "node-nam"),
        ("node-name = \"A_B\"\n", "A_B"),
        ("controller = \"here\"\n", "here"),
        ("controller = 7\n", "controller"),
        ("[labels]\na = 1\n", "a = 1"),
        ("node-name = \"a\n", "agent.toml:1:"),
    ];
    for (text, named) in cases {
        std::fs::write(&config, text)?;
        let (code, said) = refused("skerry-agent", &["run", &format!("--config={path}")])?;
        ensure!(code == 2, "{text:?}: exit code {code}: {said}");
        ensure!(said.contains(named) && said.contains(&path), "{text:?}: {said}");
        ensure!(!said.contains("panicked") && said.lines().count() <= 6, "{text:?}: {said}");
    }
    let (code, said) = refused("skerry-agent", &["run", "--config=/nonexistent/agent.toml"])?;
    ensure!(code == 2 && said.contains("/nonexistent/agent.toml"), "{code}: {said}");
    let (code, said) = refused("skerry-controller", &["run", "--kubeconfig=/nonexistent/kubeconfig"])?;
    ensure!(code != 0 && said.contains("/nonexistent/kubeconfig"), "{code}: {said}");
    Ok(())
}

pub async fn garbage_ends_that_session_only(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;

    // Not HTTP/2 at all.
    let mut raw = tokio::net::TcpStream::connect(("127.0.0.1", site.session_port)).await?;
    raw.write_all(&[0xff; 4096]).await?;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), raw.read_to_end(&mut answer)).await;
    ensure!(ended.is_ok(), "the link is still open");

    let message = |hello: Hello| AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) };
    let hello = |node: String| Hello { protocol: skerry_proto::PROTOCOL, node, ..Default::default() };
    let cases = [
        ("no hello first", AgentMessage { kind: Some(agent_message::Kind::Ack(Default::default())) }),
        ("a bad node name", message(hello("../../etc".into()))),
        ("an empty node name", message(hello(String::new()))),
        (
            "a frame over the cap",
            message(Hello { state_corrupt: "x".repeat(5 << 20), ..hello(unique("big")) }),
        ),
    ];
    for (what, first) in cases {
        let channel =
            Endpoint::from_shared(format!("http://127.0.0.1:{}", site.session_port))?.connect().await?;
        let stream = tokio_stream::iter([first]);
        let mut client = SessionsClient::new(channel);
        // An answer may be an error at once, or a stream that ends with one.
        let refused = match client.connect(stream).await {
            Err(_) => true,
            Ok(answer) => is_refused(answer.into_inner()).await,
        };
        ensure!(refused, "{what} was not refused");
    }

    // Nobody else noticed.
    let pod = format!("{{containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}");
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod)).await?;
    node.phase(&namespace, "app", "Running").await?;
    ensure!(!node.output().contains("Superseded"), "the node's own session was ended");
    Ok(())
}

/// True if the stream ends without a welcome, be it by a refusal, an error or nothing.
async fn is_refused(mut stream: tonic::Streaming<skerry_proto::wire::ControllerMessage>) -> bool {
    loop {
        match tokio::time::timeout(Duration::from_secs(10), stream.message()).await {
            Ok(Ok(Some(message))) => match message.kind {
                Some(controller_message::Kind::Refusal(_)) => return true,
                Some(controller_message::Kind::Welcome(_)) => return false,
                Some(_) | None => {}
            },
            Ok(Ok(None) | Err(_)) => return true,
            Err(_) => return false,
        }
    }
}

pub async fn the_second_agent_on_a_state_is_refused(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let mut node = site.node().await?;
    let pid = node.agent()?.pid();
    let args = ["run".to_owned(), format!("--config={}", node.log().join("agent.toml").display())];
    let mut second = Daemon::start("skerry-agent", node.log(), "second", &args)?;
    let code = second.wait(Duration::from_secs(10))?;
    let said = second.output();
    ensure!(code == Some(1) && said.contains(&pid.to_string()), "{code:?}: {said}");
    node.agent()?.check_alive()?;
    eventually("the first goes on", || async { node.ready().await }).await
}
