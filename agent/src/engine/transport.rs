//! The way to Docker's socket: one connection per question, and a bound on what comes back. bollard reads an answer to its end before it looks
//! at it, whatever its size; here the bytes are counted as they come in.
//!
//! Lists, events and the progress of a pull are read here, piece by piece: the first one that makes no sense ends them.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::errors::Error;
use bollard::{BollardRequest, body_full};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::{DeserializeOwned, Deserializer as _, Error as _, SeqAccess, Visitor};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// One answer. A list of two thousand containers, with all that Docker says of each, is 3 to 6 MiB.
const ANSWER_MAX: usize = 8 << 20;
/// One line of a stream. An event carries the labels of its container.
const LINE_MAX: usize = 1 << 20;
/// Entries of a list. Docker itself becomes slow beyond a thousand containers.
const LIST_MAX: usize = 10_000;

/// Docker said more than a sane Docker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("docker's answer is longer than {max} bytes")]
pub(super) struct TooLong {
    max: usize,
}

/// True if a call failed because of the answer's size: Docker is there, and what it says is of no use.
pub(super) fn is_too_long(error: &Error) -> bool {
    let is_it = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<TooLong>());
    // The variant is transparent: the error in it is not among its sources.
    if let Error::IOError { err } = error {
        return is_it(err);
    }
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(is_it) {
            return true;
        }
        next = error.source();
    }
    false
}

fn too_long(max: usize) -> Error {
    io::Error::other(TooLong { max }).into()
}

/// How bollard reaches Docker.
pub(super) async fn send(socket: PathBuf, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
    let stream = UnixStream::connect(&socket).await?;
    let max = match is_stream(request.uri().path()) {
        true => usize::MAX,
        false => ANSWER_MAX,
    };
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
    request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
    let metered = Metered { stream, left: max, max };
    let (mut sender, connection) = http1::handshake(TokioIo::new(metered)).await?;
    // Ends with the answer, or with whoever waits for it.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender.send_request(request).await?)
}

/// What has no end of its own: its parts are bounded by whoever reads them.
fn is_stream(path: &str) -> bool {
    let runs = path.contains("/exec/") && path.ends_with("/start");
    runs || ["/events", "/logs", "/images/create"].iter().any(|end| path.ends_with(end))
}

/// Asks without bollard. Fails in Docker's words where it says no.
async fn ask(
    client: &bollard::Docker,
    socket: &Path,
    method: Method,
    path: &str,
    header: Option<(&'static str, HeaderValue)>,
) -> Result<Incoming, Error> {
    let version = client.client_version();
    let path = format!("/v{}.{}{path}", version.major_version, version.minor_version);
    let mut request = Request::builder().method(method).uri(path).body(body_full(Bytes::new()))?;
    request.headers_mut().extend(header.map(|(name, value)| (HeaderName::from_static(name), value)));
    let response = send(socket.to_owned(), request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    let text = response.into_body().collect().await?.to_bytes();
    let words = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let words = words.as_ref().and_then(|words| words["message"].as_str());
    let message = words.map_or_else(|| String::from_utf8_lossy(&text).into_owned(), str::to_owned);
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

/// A query's value, as a path takes it.
pub(super) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A list, each entry taken as it is read: of a long one no more is in memory than what `take` keeps.
pub(super) async fn list<T: DeserializeOwned>(
    client: &bollard::Docker,
    socket: &Path,
    path: &str,
    take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), Error> {
    let text = ask(client, socket, Method::GET, path, None).await?.collect().await?.to_bytes();
    let mut json = serde_json::Deserializer::from_slice(&text);
    json.deserialize_seq(Each { take, entry: std::marker::PhantomData })?;
    Ok(json.end()?)
}

struct Each<T, F> {
    take: F,
    entry: std::marker::PhantomData<T>,
}

impl<'de, T: DeserializeOwned, F: FnMut(T) -> Result<(), String>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(entry) = entries.next_element()? {
            count += 1;
            if count > LIST_MAX {
                return Err(A::Error::custom(format!("a list of more than {LIST_MAX} entries")));
            }
            (self.take)(entry).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// A stream of JSON values, one per line.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// Up to here there is no end of a line in the buffer.
    searched: usize,
}

impl Lines {
    pub async fn open(client: &bollard::Docker, socket: &Path, path: &str) -> Result<Self, Error> {
        let body = ask(client, socket, Method::GET, path, None).await?;
        Ok(Self { body, buffer: Vec::new(), searched: 0 })
    }

    /// Of something that is begun by asking.
    pub async fn post(
        client: &bollard::Docker,
        socket: &Path,
        path: &str,
        header: Option<(&'static str, HeaderValue)>,
    ) -> Result<Self, Error> {
        let body = ask(client, socket, Method::POST, path, header).await?;
        Ok(Self { body, buffer: Vec::new(), searched: 0 })
    }

    /// The next value; nothing at the stream's end. Cancel-safe: what was read stays in the buffer.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + at).collect();
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_MAX {
                return Err(too_long(LINE_MAX));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

/// Counts what comes in.
#[derive(Debug)]
struct Metered {
    stream: UnixStream,
    left: usize,
    max: usize,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other(TooLong { max: self.max }))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_answer_is_seen_through_what_wraps_it() {
        assert!(is_too_long(&too_long(1)));
        assert!(!is_too_long(&Error::IOError { err: io::ErrorKind::BrokenPipe.into() }));
    }

    #[test]
    fn only_what_has_no_end_is_not_counted() {
        for path in
            ["/v1.41/events", "/v1.41/containers/a/logs", "/v1.41/images/create", "/v1.41/exec/a/start"]
        {
            assert!(is_stream(path), "{path}");
        }
        for path in [
            "/v1.41/containers/json",
            "/v1.41/containers/logs/json",
            "/v1.41/exec/a/json",
            "/v1.41/containers/a/start",
        ] {
            assert!(!is_stream(path), "{path}");
        }
    }
}
