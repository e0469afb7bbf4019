//! The API under test: in this process, with its housekeeping, asked without a socket between.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::FutureExt;
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use skerry_standalone::{LocalApi, Standalone};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::judge::ANSWER_MAX;
use crate::request::{Answer, Exchange, Outcome, Request};

/// The namespaces that requests go to; others come and go.
pub const NAMESPACES: [&str; 3] = ["fuzz-a", "fuzz-b", "fuzz-c"];
/// A watch is read until it says nothing for so long.
const QUIET: Duration = Duration::from_millis(20);
/// Of this process, the tests' own data included.
const MEMORY_MAX: u64 = 300 << 20;
/// Beyond so many objects of a kind they are deleted, so that a long run stays like a short one.
const OBJECTS_MAX: usize = 300;
const KINDS: [&str; 9] = [
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/events",
    "/api/v1/namespaces",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/apps/v1/controllerrevisions",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/skerry.dev/v1alpha1/edgeapps",
    "/apis/skerry.dev/v1alpha1/edgenodes",
];
const FORMS: [&str; 3] = [
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
];

/// Ended when dropped.
pub struct Target {
    api: LocalApi,
    _dir: TempDir,
    _stop: DropGuard,
}

impl Target {
    pub async fn open() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-fuzz-").tempdir()?;
        let definitions = skerry_api::crds::all();
        let definitions: Vec<_> = definitions.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let standalone =
            Standalone::open(&dir.path().join("data"), &definitions, ([127, 0, 0, 1], 6443).into()).await?;
        let stop = CancellationToken::new();
        tokio::spawn(standalone.keep_house(stop.clone()));
        let target = Self { api: standalone.local(), _dir: dir, _stop: stop.drop_guard() };
        target.make_namespaces().await?;
        Ok(target)
    }

    async fn make_namespaces(&self) -> Result<()> {
        for name in NAMESPACES {
            let (status, body) = self
                .plain("POST", "/api/v1/namespaces", &format!(r#"{{"metadata":{{"name":"{name}"}}}}"#))
                .await?;
            ensure!(matches!(status, 201 | 409), "namespace {name}: {status} {body}");
        }
        Ok(())
    }

    /// Sends one request; never fails.
    pub async fn ask(&self, request: Request) -> Exchange {
        let start = Instant::now();
        let answered = AssertUnwindSafe(self.answer(&request)).catch_unwind();
        let outcome = match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Outcome::Broken(format!("panicked: {:?}", panic.downcast_ref::<String>())),
            Err(_) => Outcome::Late,
        };
        Exchange { request, time: start.elapsed(), outcome }
    }

    async fn answer(&self, request: &Request) -> Outcome {
        let mut built = http::Request::builder().method(request.method.as_str()).uri(request.uri());
        for (name, value) in &request.headers {
            built = built.header(name, value.as_slice());
        }
        let Ok(built) = built.body(http_body_util::Full::new(bytes::Bytes::from(request.body.clone())))
        else {
            return Outcome::NotHttp;
        };
        let Ok(response) = self.api.clone().oneshot(built).await;
        let (head, mut body) = response.into_parts();
        let kind = head
            .headers
            .get("content-type")
            .map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
        let mut answer = Answer {
            status: head.status.as_u16(),
            content_type: kind.unwrap_or_default(),
            body: Vec::new(),
            is_open: false,
        };
        let watches = request.query.contains("watch") || request.path.contains("/watch");
        loop {
            let frame = if watches {
                match tokio::time::timeout(QUIET, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => {
                        answer.is_open = true;
                        break;
                    }
                }
            } else {
                body.frame().await
            };
            match frame {
                None => break,
                Some(Ok(frame)) => answer.body.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Outcome::Broken(format!("the body broke off: {error}")),
            }
        }
        Outcome::Answered(answer)
    }

    async fn plain(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        self.sent(method, path, body, FORMS[0], "application/json").await
    }

    async fn sent(
        &self,
        method: &str,
        path: &str,
        body: &str,
        accept: &str,
        content_type: &str,
    ) -> Result<(u16, String)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vec![
                ("accept".to_owned(), accept.into()),
                ("content-type".to_owned(), content_type.into()),
            ],
            body: body.into(),
        };
        match self.ask(request).await.outcome {
            Outcome::Answered(answer) => Ok((answer.status, String::from_utf8(answer.body)?)),
            other @ (Outcome::NotHttp | Outcome::Broken(_) | Outcome::Late) => {
                bail!("{method} {path}: {other:?}")
            }
        }
    }

    /// Everything that is stored can be read in every form, and this process has not grown beyond bounds.
    pub async fn look(&self) -> Result<()> {
        for path in KINDS {
            for form in FORMS {
                let (status, body) = self.sent("GET", path, "", form, "").await?;
                ensure!(status == 200, "GET {path} as {form}: {status} {body}");
                let list: Value =
                    serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))?;
                if form == FORMS[0] {
                    self.look_at(path, &list).await?;
                }
            }
        }
        // Requests have deleted some of them.
        let made = async {
            loop {
                match self.make_namespaces().await {
                    Ok(()) => return Ok::<_, anyhow::Error>(()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(ANSWER_MAX, made).await.context("the namespaces cannot be made again")??;
        let memory = resident()?;
        ensure!(memory < MEMORY_MAX, "this process takes {} MiB", memory >> 20);
        Ok(())
    }

    async fn look_at(&self, path: &str, list: &Value) -> Result<()> {
        let items = list["items"].as_array().context("items")?;
        let mut places = BTreeSet::new();
        for item in items {
            let meta = &item["metadata"];
            let name = meta["name"].as_str().with_context(|| format!("an object without a name: {item}"))?;
            let namespace = meta["namespace"].as_str().unwrap_or_default();
            ensure!(meta["uid"].is_string() && meta["resourceVersion"].is_string(), "{item}");
            places.insert(namespace.to_owned());
            let (group, plural) = path.rsplit_once('/').context("a path")?;
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let own = match namespace {
                "" => format!("{path}/{name}"),
                _ => format!("{group}/namespaces/{namespace}/{plural}/{name}"),
            };
            let (status, body) = self.plain("GET", &own, "").await?;
            if meta["deletionTimestamp"].is_string() && meta["finalizers"].is_array() {
                // Else what was deleted would wait for ever, and its namespace too.
                let patch = r#"{"metadata":{"finalizers":null,"resourceVersion":null}}"#;
                self.sent("PATCH", &own, patch, FORMS[0], "application/merge-patch+json").await?;
            }
            // Another request may have deleted it.
            ensure!(matches!(status, 200 | 404), "GET {own}: {status} {body}");
            serde_json::from_str::<Value>(&body).with_context(|| format!("GET {own}: {body}"))?;
        }
        if items.len() > OBJECTS_MAX && !path.ends_with("/namespaces") {
            for place in places {
                let (group, plural) = path.rsplit_once('/').context("a path")?;
                let all = if place.is_empty() {
                    path.to_owned()
                } else {
                    format!("{group}/namespaces/{place}/{plural}")
                };
                self.plain("DELETE", &all, "").await?;
            }
        }
        Ok(())
    }
}

/// What this process holds in memory, in bytes.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib << 10)
}
