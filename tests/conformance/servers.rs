//! What the cases ask of servers in containers, and what they need for it: a certificate, and enough of MQTT.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whose name is in a [`certificate`].
pub const HOST: &str = "lights.example";

/// A certificate that vouches for itself, and its key.
pub fn certificate() -> Result<(String, String)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
    Ok((cert.pem(), signing_key.serialize_pem()))
}

/// A Secret `kubernetes.io/tls` of this name with a new certificate, and the certificate.
pub fn tls_secret(name: &str) -> Result<(String, String)> {
    let (certificate, key) = certificate()?;
    let data = serde_json::json!({"tls.crt": certificate, "tls.key": key});
    Ok((
        format!("{{kind: Secret, metadata: {{name: {name}}}, type: kubernetes.io/tls, stringData: {data}}}"),
        certificate,
    ))
}

/// GET over TLS from an address; only this certificate is trusted.
pub async fn get_secure(address: &str, port: u16, certificate: &str) -> Result<String> {
    let trusted = tempfile::NamedTempFile::new()?;
    std::fs::write(trusted.path(), certificate)?;
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "5", "--cacert"])
        .arg::<&Path>(trusted.path())
        .args(["--resolve", &format!("{HOST}:{port}:{address}"), &format!("https://{HOST}:{port}/")])
        .output()
        .await
        .context("curl is missing: run `tests/host/prepare.sh`")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A connection to an MQTT broker, greeted. No message here is longer than 127 bytes.
pub struct Mqtt(TcpStream);

impl Mqtt {
    pub async fn connect(port: u16) -> Result<Self> {
        let mut broker = Self(TcpStream::connect(("127.0.0.1", port)).await?);
        // CONNECT: MQTT 3.1.1, a clean session, no name. The answer is CONNACK, accepted.
        broker.send(0x10, &[&text("MQTT"), &[4, 2, 0, 60][..], &text("")].concat()).await?;
        let answer = broker.receive().await?;
        ensure!(answer == (0x20, vec![0, 0]), "{answer:?}");
        Ok(broker)
    }

    /// Publishes what the broker is to keep, and waits until it has it.
    pub async fn retain(&mut self, topic: &str, word: &str) -> Result<()> {
        self.send(0x33, &[&text(topic), &[0, 1][..], word.as_bytes()].concat()).await?;
        let answer = self.receive().await?;
        ensure!(answer == (0x40, vec![0, 1]), "{answer:?}");
        Ok(())
    }

    /// What the broker has kept of a topic.
    pub async fn retained(&mut self, topic: &str) -> Result<String> {
        self.send(0x82, &[&[0, 2][..], &text(topic), &[0]].concat()).await?;
        let answer = self.receive().await?;
        ensure!(answer == (0x90, vec![0, 2, 0]), "{answer:?}");
        let (kind, body) = self.receive().await?;
        ensure!(kind == 0x31, "{kind:x} {body:?}");
        Ok(String::from_utf8(body.get(2 + topic.len()..).context("a message")?.to_vec())?)
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let packet = [&[kind, u8::try_from(body.len())?][..], body].concat();
        Ok(self.0.write_all(&packet).await?)
    }

    async fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let receive = async {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).await?;
            let mut body = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut body).await?;
            Ok::<_, std::io::Error>((head[0], body))
        };
        Ok(tokio::time::timeout(Duration::from_secs(5), receive).await.context("no answer in 5 s")??)
    }
}

/// As MQTT writes a text: its length first.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes()].concat()
}
