//! Where images come from, and patterns of it.

use std::str::FromStr;

/// Where an image without a registry in its name comes from.
const DOCKER_HUB: &str = "docker.io";
/// Other names of the same.
const DOCKER_HUB_TOO: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// A registry, or a part of one: `docker.io`, `registry.example:5000`, `ghcr.io/acme`, `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPattern {
    host: String,
    /// Any registry below this host.
    below: bool,
    /// Path of images within the registry; empty for all.
    path: Vec<String>,
}

impl FromStr for RegistryPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no registry; write HOST, HOST:PORT, *.DOMAIN, or HOST/PATH");
        let mut parts = text.split('/').map(str::to_owned);
        let host = parts.next().unwrap_or_default();
        let path: Vec<String> = parts.collect();
        let (below, host) = match host.strip_prefix("*.") {
            Some(domain) => (true, domain.to_owned()),
            None => (false, host),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let sound = |part: &String| !part.is_empty() && part.chars().all(word);
        if !sound(&host) || !path.iter().all(sound) {
            return Err(wrong());
        }
        Ok(Self { host: canonical(&host), below, path })
    }
}

impl RegistryPattern {
    /// True if the image comes from there.
    pub fn matches(&self, image: &str) -> bool {
        let (host, name) = split(image);
        let from_host = match self.below {
            true => host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.host,
        };
        let mut parts = name.split('/');
        from_host && self.path.iter().all(|part| parts.next() == Some(part.as_str()))
    }
}

/// True if Docker would look for an image with this id on the box, wherever that came from. A tag makes a name of every other text.
pub(super) fn is_id(image: &str) -> bool {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit())
}

/// The registry that an image comes from.
pub(super) fn origin(image: &str) -> String {
    split(image).0
}

/// A reference in one form for all ways to write it, as Docker reads it: with its registry, and with its digest or else its tag. Docker lists
/// `nginx:latest` for what was asked for as `docker.io/library/nginx`.
pub(crate) fn in_full(image: &str) -> String {
    let (host, name) = split(image);
    let (tagged, digest) = match image.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (image, None),
    };
    let last = tagged.rsplit('/').next().unwrap_or_default();
    match (digest, last.split_once(':')) {
        (Some(digest), _) => format!("{host}/{name}@{digest}"),
        (None, Some((_, tag))) => format!("{host}/{name}:{tag}"),
        (None, None) => format!("{host}/{name}:latest"),
    }
}

fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if DOCKER_HUB_TOO.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host }
}

/// Registry and path of an image, without tag and digest, as Docker reads a reference.
fn split(image: &str) -> (String, String) {
    let image = image.split('@').next().unwrap_or_default();
    let (host, rest) = match image.split_once('/') {
        // No name on a registry has capitals: Docker, too, takes them for a host's.
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (canonical(first), rest)
        }
        Some(_) | None => (DOCKER_HUB.to_owned(), image),
    };
    let tag = rest.rfind(':').filter(|colon| rest.rfind('/').is_none_or(|slash| slash < *colon));
    let name = tag.and_then(|colon| rest.get(..colon)).unwrap_or(rest);
    match host == DOCKER_HUB && !name.contains('/') {
        true => (host, format!("library/{name}")),
        false => (host, name.to_owned()),
    }
}
