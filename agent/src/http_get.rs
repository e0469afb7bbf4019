//! One bounded GET request, as kubelet makes it for probes and hooks: a connection of its own, redirects within the host followed, the
//! status told and the beginning of the body. What a status means is the caller's matter.

mod tls;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use skerry_agent_core::{HttpGet, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Of the body, what is kept for a message. kubelet's own bound.
const BODY_MAX: usize = 10 << 10;
/// Go's client, and so kubelet, gives up after as many.
const REDIRECTS_MAX: usize = 10;
/// The largest head of an answer that is read; what servers commonly allow.
const HEAD_MAX: usize = 16 << 10;

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Its beginning, at most 10 KiB; bytes that are no text are replaced.
    pub body: String,
}

impl Answer {
    /// Kubernetes' idea of a success: any status from 200 to 399.
    pub fn is_success(&self) -> bool {
        (200..400).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("Get {url:?}: the container has no address")]
    NoAddress { url: String },
    #[error("Get {url:?}: no TLS")]
    Tls {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("Get {url:?}: no valid request: {why}")]
    Invalid { url: String, why: String },
    #[error("Get {url:?}: cannot connect")]
    Connect {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("Get {url:?}: the answer broke off")]
    Broken {
        url: String,
        #[source]
        source: hyper::Error,
    },
    #[error("Get {url:?}: stopped after {REDIRECTS_MAX} redirects")]
    Redirects { url: String },
    #[error("Get {url:?}: context deadline exceeded (no answer within {} s)", after.as_secs_f32())]
    TimedOut { url: String, after: Duration },
}

/// Asks, and follows redirects that stay on the host; another redirect is the answer. `address` is the container's, for a request that names
/// no host.
pub async fn http_get(
    get: &HttpGet,
    address: Option<IpAddr>,
    timeout: Duration,
) -> Result<Answer, HttpError> {
    let mut target = Target::of(get, address)?;
    let first = target.url();
    let ask = async {
        for _ in 0..=REDIRECTS_MAX {
            let (answer, location) = target.ask(&get.headers).await?;
            let next = location.filter(|_| (300..400).contains(&answer.status));
            match next.and_then(|location| target.follow(&location)) {
                Some(next) => target = next,
                None => return Ok(answer),
            }
        }
        Err(HttpError::Redirects { url: target.url() })
    };
    match tokio::time::timeout(timeout, ask).await {
        Ok(result) => result,
        Err(_elapsed) => Err(HttpError::TimedOut { url: first, after: timeout }),
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    scheme: Scheme,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// With its query; begins with a slash.
    path: String,
}

impl Target {
    fn of(get: &HttpGet, address: Option<IpAddr>) -> Result<Self, HttpError> {
        let host = get.host.clone().or_else(|| address.map(|address| address.to_string()));
        let known = host.is_some();
        let target = Self {
            scheme: get.scheme,
            host: host.unwrap_or_default(),
            port: get.port.get(),
            path: encoded(&get.path),
        };
        match known {
            true => Ok(target),
            false => Err(HttpError::NoAddress { url: target.url() }),
        }
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn url(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    async fn ask(&self, headers: &[(String, String)]) -> Result<(Answer, Option<String>), HttpError> {
        let request = self.request(headers)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|source| HttpError::Connect { url: self.url(), source })?;
        match self.scheme {
            Scheme::Http => self.talk(request, stream).await,
            Scheme::Https => {
                let stream = tls::connect(&self.host, stream).await;
                let stream = stream.map_err(|source| HttpError::Tls { url: self.url(), source })?;
                self.talk(request, stream).await
            }
        }
    }

    async fn talk(
        &self,
        request: Request<Empty<Bytes>>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(Answer, Option<String>), HttpError> {
        let broken = |source| HttpError::Broken { url: self.url(), source };
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_MAX);
        let (mut sender, connection) =
            http.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            read(response).await.map_err(broken)
        };
        // The connection is driven beside the talk, and ends with it. One that ended first has told the talk.
        let drive = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            answer = talk => answer,
            never = drive => never,
        }
    }

    fn request(&self, headers: &[(String, String)]) -> Result<Request<Empty<Bytes>>, HttpError> {
        let invalid = |why: String| HttpError::Invalid { url: self.url(), why };
        let path: Uri = self.path.parse().map_err(|_| invalid(format!("path {:?}", self.path)))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path;
        let agent = concat!("skerry-probe/", env!("CARGO_PKG_VERSION"));
        let own = [(USER_AGENT, agent), (ACCEPT, "*/*"), (CONNECTION, "close")];
        request.headers_mut().extend(own.map(|(name, value)| (name, HeaderValue::from_static(value))));
        let host = self.authority();
        let host = HeaderValue::from_str(&host).map_err(|_| invalid(format!("host {host:?}")))?;
        request.headers_mut().insert(HOST, host);
        let mut given = http::HeaderMap::new();
        for (name, value) in headers {
            let wrong = || invalid(format!("header {name:?}"));
            let header: HeaderName = name.parse().map_err(|_| wrong())?;
            given.append(header, HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        // Those of the spec replace ours; several of one name are all sent.
        request.headers_mut().extend(given);
        Ok(request)
    }

    /// Where a redirect leads, when it stays on this host and this agent can go there.
    fn follow(&self, location: &str) -> Option<Self> {
        let to = |path: String| Self { path: encoded(&path), ..self.clone() };
        let schemes = [("http://", Scheme::Http), ("https://", Scheme::Https), ("//", self.scheme)];
        let absolute = schemes.into_iter().find_map(|(prefix, scheme)| {
            // Schemes are written either way.
            let (start, rest) = location.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some((scheme, rest))
        });
        if let Some((scheme, rest)) = absolute {
            let (authority, path) = match rest.find(['/', '?', '#']) {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let authority: http::uri::Authority = authority.parse().ok()?;
            let host = authority.host().trim_matches(['[', ']']);
            let port = authority.port_u16().unwrap_or(match scheme {
                Scheme::Http => 80,
                Scheme::Https => 443,
            });
            return host.eq_ignore_ascii_case(&self.host).then(|| Self {
                scheme,
                port,
                ..to(path.to_owned())
            });
        }
        if location.starts_with('/') {
            return Some(to(location.to_owned()));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        if location.starts_with('?') {
            return Some(to(format!("{path}{location}")));
        }
        // A relative one replaces the last part of the path; one with a scheme leads elsewhere.
        let has_scheme = location.split('/').next().is_some_and(|first| first.contains(':'));
        let folder = &path[..=path.rfind('/')?];
        (!has_scheme).then(|| to(format!("{folder}{location}")))
    }
}

/// The beginning of the body, and where the answer redirects to. The rest is not waited for: the connection is closed.
async fn read(response: Response<Incoming>) -> Result<(Answer, Option<String>), hyper::Error> {
    let (head, mut body) = response.into_parts();
    let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut text = Vec::new();
    while text.len() < BODY_MAX
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            text.extend_from_slice(&data[..data.len().min(BODY_MAX - text.len())]);
        }
    }
    let body = String::from_utf8_lossy(&text).into_owned();
    Ok((Answer { status: head.status.as_u16(), body }, location))
}

/// A path as it may stand in a request: begins with a slash, no fragment, what is not allowed is percent-encoded.
fn encoded(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                encoded += &format!("%{byte:02X}")
            }
            0x21..=0x7e => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
