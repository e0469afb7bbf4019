//! Credentials for registries, from the Secrets that `imagePullSecrets` names. A Secret that does not exist, or is of another type,
//! is left out as kubelet does: the image may be there already, or need none.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use skerry_agent_core::registry::pattern;
use skerry_agent_core::{RegistryAuth, Sensitive};
use skerry_proto::caps;

use super::config::{Kind, Object};
use super::wrong::{Wrong, check_length};
use super::{App, Ledger};

/// Credentials of one app.
const AUTHS_MAX: usize = 256;

/// `.dockerconfigjson`.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

/// One registry's credentials; `auth` wins over user and password.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// In the order in which they are tried.
pub(super) fn read(
    app: &App<'_>,
    ledger: &mut Ledger,
    secrets: Vec<String>,
) -> Result<Vec<RegistryAuth>, Wrong> {
    check_length("imagePullSecrets", secrets.len(), caps::LIST_MAX)?;
    let mut auths = Vec::new();
    for name in secrets {
        let Some(secret) = app.config.get(Kind::Secret, &name) else { continue };
        match entries(secret) {
            Ok(entries) => auths.extend(entries),
            Err(why) => ledger.miss(format!("secret {name:?} {why}")),
        }
    }
    check_length("imagePullSecrets", auths.len(), AUTHS_MAX)?;
    // The longer of two patterns of one host is the better match, and sorts behind. Equal ones stay in the order of the Secrets.
    auths.sort_by(|a, b| b.registry.cmp(&a.registry));
    Ok(auths)
}

/// What is wrong with a Secret of credentials. It shows nothing of its content.
enum Unreadable {
    NotJson(&'static str),
    Auth,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(key) => write!(f, "has a {key} that is no configuration of registries"),
            Self::Auth => f.write_str("has an auth that is not USER:PASSWORD in base64"),
        }
    }
}

fn entries(secret: &Object) -> Result<Vec<RegistryAuth>, Unreadable> {
    const JSON: &str = ".dockerconfigjson";
    const LEGACY: &str = ".dockercfg";
    let content = |key| secret.data.get(key).filter(|content| !content.is_empty());
    let auths = match secret.secret_type.as_str() {
        "kubernetes.io/dockerconfigjson" => content(JSON)
            .map(|json| serde_json::from_slice::<DockerConfig>(json).map(|config| config.auths))
            .transpose()
            .map_err(|_| Unreadable::NotJson(JSON))?,
        "kubernetes.io/dockercfg" => content(LEGACY)
            .map(|json| serde_json::from_slice::<BTreeMap<String, Entry>>(json))
            .transpose()
            .map_err(|_| Unreadable::NotJson(LEGACY))?,
        _ => None,
    };
    auths.unwrap_or_default().into_iter().map(|(registry, entry)| credentials(&registry, entry)).collect()
}

fn credentials(registry: &str, entry: Entry) -> Result<RegistryAuth, Unreadable> {
    let Entry { username, password, auth, identity_token } = entry;
    let (username, password) = if auth.is_empty() {
        (username, password)
    } else {
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or(Unreadable::Auth)?;
        let (username, password) = decoded.split_once(':').ok_or(Unreadable::Auth)?;
        // Docker itself pads what it writes with NUL.
        (username.to_owned(), password.trim_end_matches('\0').to_owned())
    };
    Ok(RegistryAuth {
        registry: pattern(registry),
        username,
        password: Sensitive(password),
        identity_token: Sensitive(identity_token),
    })
}
