//! Which credentials are for which image, as kubelet decides, and how they reach Docker.

use bollard::auth::DockerCredentials;
use skerry_agent_core::{RegistryAuth, Sensitive};

/// The registry of an image that names none, in Docker's and in kubelet's spelling.
const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_KEY: &str = "index.docker.io";

/// The credentials that are tried for an image, in their order.
pub(super) fn for_image<'a>(image: &str, auths: &'a [RegistryAuth]) -> Vec<&'a RegistryAuth> {
    let (host, path) = split(image);
    let matching: Vec<_> = auths.iter().filter(|auth| matches(&auth.registry, &host, &path)).collect();
    if matching.is_empty() && [DEFAULT_HOST, DEFAULT_KEY].contains(&host.as_str()) {
        return auths.iter().filter(|auth| pattern(&auth.registry).0 == DEFAULT_KEY).collect();
    }
    matching
}

/// Host and path of an image as Docker completes it: `nginx:1` is `docker.io`, `/library/nginx`.
fn split(image: &str) -> (String, String) {
    let name = image.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => name,
    };
    match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (host.to_owned(), format!("/{path}"))
        }
        Some(_) => (DEFAULT_HOST.to_owned(), format!("/{name}")),
        None => (DEFAULT_HOST.to_owned(), format!("/library/{name}")),
    }
}

/// Host and path of a key in `auths`: without a scheme and without the API's version.
fn pattern(registry: &str) -> (&str, &str) {
    let rest =
        registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let path =
        ["/v1/", "/v2/"].iter().find(|version| path.starts_with(**version)).map_or(path, |_| &path[3..]);
    (host, if path == "/" { "" } else { path })
}

/// Part by part, `*` within a part; the path is a prefix.
fn matches(registry: &str, host: &str, path: &str) -> bool {
    let (wanted, prefix) = pattern(registry);
    let with_port = |text: &str| match text.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), port.to_owned()),
        None => (text.to_owned(), String::new()),
    };
    let ((wanted, wanted_port), (host, port)) = (with_port(wanted), with_port(host));
    let (wanted, host): (Vec<_>, Vec<_>) = (wanted.split('.').collect(), host.split('.').collect());
    wanted_port == port
        && wanted.len() == host.len()
        && wanted.iter().zip(&host).all(|(wanted, part)| glob(wanted.as_bytes(), part.as_bytes()))
        && path.starts_with(prefix)
}

/// `*` and `?`, which is what people write.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        (Some((b'?', rest)), Some((_, text))) => glob(rest, text),
        (Some((wanted, rest)), Some((found, text))) => wanted == found && glob(rest, text),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

pub(super) fn credentials(auth: &RegistryAuth) -> DockerCredentials {
    let RegistryAuth { registry, username, password: Sensitive(password), identity_token: Sensitive(token) } =
        auth;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    DockerCredentials {
        username: some(username),
        password: some(password),
        serveraddress: some(registry),
        identitytoken: some(token),
        ..Default::default()
    }
}

/// The header that carries credentials. The library encodes them in the common alphabet, Docker reads the one for URLs, and takes what it
/// cannot read for no credentials at all.
pub(super) const HEADER: &str = "x-registry-auth";

pub(super) fn for_urls(encoded: &str) -> String {
    encoded.replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(registry: &str) -> RegistryAuth {
        RegistryAuth {
            registry: registry.to_owned(),
            username: "u".to_owned(),
            password: Sensitive("p".to_owned()),
            identity_token: Sensitive::default(),
        }
    }

    #[test]
    fn credentials_are_for_the_images_of_their_registry() {
        for (registry, image, is_for) in [
            ("r.example", "r.example/a:1", true),
            ("r.example", "r.example/a@sha256:00", true),
            ("https://r.example/v2/", "r.example/a", true),
            ("r.example", "other.example/a", false),
            ("*.example", "r.example/a", true),
            ("*.example", "a.b.example/a", false),
            ("r?.exa*", "r1.example/a", true),
            ("r.example:5000", "r.example:5000/a:1", true),
            ("r.example:5000", "r.example/a", false),
            ("r.example", "r.example:5000/a", false),
            ("r.example/team", "r.example/team/a", true),
            ("r.example/team", "r.example/other/a", false),
            ("https://index.docker.io/v1/", "nginx", true),
            ("https://index.docker.io/v1/", "user/app:2", true),
            ("docker.io", "nginx", true),
            ("docker.io/library", "nginx", true),
            ("index.docker.io", "r.example/a", false),
            ("localhost:5000", "localhost:5000/a", true),
        ] {
            let auths = [auth(registry)];
            assert_eq!(!for_image(image, &auths).is_empty(), is_for, "{registry} for {image}");
        }
    }

    #[test]
    fn their_order_is_kept() {
        let auths = ["r.example/team", "other", "r.example"].map(auth);
        let found: Vec<_> = for_image("r.example/team/a", &auths).iter().map(|auth| &auth.registry).collect();
        assert_eq!(found, ["r.example/team", "r.example"]);
    }

    #[test]
    fn nothing_of_them_is_shown() {
        assert!(!format!("{:?}", auth("r")).contains("\"p\""));
        assert_eq!(for_urls("a+b/c="), "a-b_c=");
    }
}
