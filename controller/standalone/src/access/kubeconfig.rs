//! The kubeconfig files with which people come in: the admin's, which the server keeps valid in its data directory, and those that
//! are written for other users. Nobody's `~/.kube/config` is ever touched.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::KeyPair;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use x509_parser::pem::parse_x509_pem;

use super::authority::{Authority, AuthorityError, Leaf, is_key_of};
use super::private_file::write_private;
use super::server_cert::ServerCert;
use super::{MASTERS, yaml};

const CLUSTER: &str = "skerry";
const CONTEXT: &str = "skerry";
const ADMIN: &str = "skerry-admin";
/// Between two tries at a file that could not be written; a full disk has months to be seen to.
const RETRY: Duration = Duration::from_secs(60 * 60);
/// Kubeconfig files with many clusters have some tens of kilobytes.
const MAX_FILE: u64 = 4 << 20;

/// Why a kubeconfig was not written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("failed to read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("failed to write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("{} names no server and authority; start the server once, it writes the file", .0.display())]
    NoServer(PathBuf),
    #[error("server {0:?} does not begin with https://")]
    NoUrl(String),
}

/// Where clients on this machine reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Of a server that listens there; one that listens on every address is reached by loopback.
    pub fn of(listen: SocketAddr) -> Self {
        let address = match listen.ip() {
            IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address.to_canonical(),
        };
        Self(format!("https://{}", SocketAddr::new(address, listen.port())))
    }

    pub fn url(&self) -> &str {
        &self.0
    }
}

/// The admin's file, mode 0600. Entries that somebody has added to it stay; comments do not.
#[derive(Debug)]
pub struct AdminKubeconfig {
    path: PathBuf,
    endpoint: Endpoint,
    authority: Arc<Authority>,
}

impl AdminKubeconfig {
    pub fn new(path: PathBuf, endpoint: Endpoint, authority: Arc<Authority>) -> Self {
        Self { path, endpoint, authority }
    }

    /// Writes the file if it is not there, or if its certificate, authority or address is not what it should be. Answers with the
    /// time from which on it is to be written again.
    pub fn refresh(&self, now: SystemTime) -> Result<SystemTime, KubeconfigError> {
        let file = read(&self.path)?;
        if let Some(renew_at) = file.as_ref().and_then(|file| self.valid_until(file, now)) {
            self.close_to_others()?;
            return Ok(renew_at);
        }
        let leaf = self.authority.sign_client(ADMIN, MASTERS, now)?;
        let text = yaml::text(&self.compose(file, &leaf));
        write_private(&self.path, text.as_bytes())
            .map_err(|error| KubeconfigError::Write(self.path.clone(), error))?;
        tracing::info!(path = %self.path.display(), "wrote the admin's kubeconfig");
        Ok(leaf.renew_at)
    }

    /// Keeps the file valid while the server runs.
    pub async fn keep(self, served: Arc<ServerCert>, stop: CancellationToken) {
        loop {
            let now = SystemTime::now();
            let next = self.refresh(now).unwrap_or_else(|error| {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, source, "failed to renew the admin's kubeconfig");
                now + RETRY
            });
            // What is signed after the authority's end is never fresh; that must not become a busy loop.
            let wait = next.duration_since(now).unwrap_or_default().max(RETRY);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = served.renewed.notified() => {}
            }
        }
    }

    /// From when on the file is to be written again; None: now.
    fn valid_until(&self, file: &Value, now: SystemTime) -> Option<SystemTime> {
        let cluster = entry(file, "clusters", "cluster", CLUSTER)?;
        let user = entry(file, "users", "user", ADMIN)?;
        let context = entry(file, "contexts", "context", CONTEXT)?;
        let server_is_ours = cluster.get("server")? == self.endpoint.url();
        let authority_is_ours =
            decoded(cluster, "certificate-authority-data")? == self.authority.pem().as_bytes();
        let context_is_whole = context.get("cluster")? == CLUSTER && context.get("user")? == ADMIN;
        if !(server_is_ours && authority_is_ours && context_is_whole) {
            return None;
        }
        let (_, pem) = parse_x509_pem(&decoded(user, "client-certificate-data")?).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let key = String::from_utf8(decoded(user, "client-key-data")?).ok()?;
        let key = KeyPair::from_pem(&key).ok()?;
        if !is_key_of(&key, &certificate) {
            return None;
        }
        self.authority.fresh_until(&certificate, now)
    }

    /// The file with our entries in place of those of their names.
    fn compose(&self, file: Option<Value>, leaf: &Leaf) -> Value {
        let ca = BASE64.encode(self.authority.pem());
        let certificate = BASE64.encode(leaf.certificate.pem());
        let key = BASE64.encode(leaf.key.serialize_pem());
        let cluster = json!({"server": self.endpoint.url(), "certificate-authority-data": ca});
        let user = json!({"client-certificate-data": certificate, "client-key-data": key});
        let mut context = json!({"cluster": CLUSTER, "user": ADMIN});
        // The namespace that `kubectl config set-context` has put there is the admin's choice.
        let old = file.as_ref().and_then(|file| entry(file, "contexts", "context", CONTEXT));
        if let Some(namespace) = old.and_then(|old| old.get("namespace")) {
            context["namespace"] = namespace.clone();
        }
        let mut file = match file {
            Some(Value::Object(file)) => file,
            Some(_) | None => Map::new(),
        };
        put(&mut file, "clusters", json!({"name": CLUSTER, "cluster": cluster}));
        put(&mut file, "users", json!({"name": ADMIN, "user": user}));
        put(&mut file, "contexts", json!({"name": CONTEXT, "context": context}));
        file.insert("apiVersion".to_owned(), "v1".into());
        file.insert("kind".to_owned(), "Config".into());
        let chosen = file.get("current-context").and_then(Value::as_str).unwrap_or_default();
        if chosen.is_empty() {
            file.insert("current-context".to_owned(), CONTEXT.into());
        }
        Value::Object(file)
    }

    fn close_to_others(&self) -> Result<(), KubeconfigError> {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = || {
            if fs::metadata(&self.path)?.permissions().mode() & 0o077 == 0 {
                return Ok(());
            }
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))
        };
        closed().map_err(|error| KubeconfigError::Write(self.path.clone(), error))
    }
}

/// A kubeconfig for somebody with a token, made from the admin's file, which knows the server and its authority. `server` stands in
/// for the address in it, which is often loopback; it needs to be among the names of the certificate.
pub fn for_user(
    admin: &Path,
    server: Option<&str>,
    name: &str,
    token: &str,
    namespace: Option<&str>,
) -> Result<String, KubeconfigError> {
    let missing = || KubeconfigError::NoServer(admin.to_owned());
    let file = read(admin)?.ok_or_else(missing)?;
    let mut cluster = entry(&file, "clusters", "cluster", CLUSTER).cloned().ok_or_else(missing)?;
    if let Some(server) = server {
        if !server.starts_with("https://") {
            return Err(KubeconfigError::NoUrl(server.to_owned()));
        }
        cluster["server"] = server.into();
    }
    let mut context = json!({"cluster": CLUSTER, "user": name});
    if let Some(namespace) = namespace {
        context["namespace"] = namespace.into();
    }
    Ok(yaml::text(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CLUSTER, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": context}],
        "current-context": CONTEXT,
    })))
}

/// The file; None if it is not there. One that is no YAML is moved aside: whoever broke it finds it there.
fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let failed = |error| KubeconfigError::Read(path.to_owned(), error);
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => return Err(failed(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let text = fs::read(path).map_err(failed)?;
    match serde_yaml::from_slice::<Value>(&text) {
        Ok(file) => Ok(Some(file)),
        Err(error) => {
            let aside = path.with_added_extension("unreadable");
            tracing::warn!(path = %path.display(), %error, aside = %aside.display(), "this is no kubeconfig; it is moved aside");
            fs::rename(path, &aside).map_err(|error| KubeconfigError::Write(aside, error))?;
            Ok(None)
        }
    }
}

/// The named entry of one of the file's three lists.
fn entry<'a>(file: &'a Value, list: &str, field: &str, name: &str) -> Option<&'a Value> {
    let found =
        file.get(list)?.as_array()?.iter().find(|entry| entry.get("name").is_some_and(|own| own == name));
    found?.get(field).filter(|entry| entry.is_object())
}

/// Puts an entry in place of the one of its name, or at the end.
fn put(file: &mut Map<String, Value>, list: &str, entry: Value) {
    let list = file.entry(list).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(entries) = list {
        match entries.iter_mut().find(|own| own.get("name") == entry.get("name")) {
            Some(own) => *own = entry,
            None => entries.push(entry),
        }
    } else {
        *list = Value::Array(vec![entry]);
    }
}

fn decoded(entry: &Value, field: &str) -> Option<Vec<u8>> {
    BASE64.decode(entry.get(field)?.as_str()?).ok()
}

#[cfg(test)]
mod tests;
