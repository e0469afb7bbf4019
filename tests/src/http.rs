//! One HTTP request, as small as it gets: the tests ask their own containers on loopback.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most that is read of an answer.
const ANSWER_MAX: u64 = 1 << 20;

/// GET from a port of loopback: status code and body.
pub async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(5), exchange).await.context("no answer in 5 s")??;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("not an answer: {answer:?}") };
    let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((code.with_context(|| format!("not a status line: {head:?}"))?, body.to_owned()))
}
