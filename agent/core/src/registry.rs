//! Which credentials are for which image, as kubelet finds them: by the registry's host, with wildcards in its labels, its port, and
//! the beginning of the path.

use crate::RegistryAuth;

/// Docker Hub's own name for itself in a configuration, for images without a registry in their name.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// A key of `auths` as it is compared: without scheme, and without the API version that Docker used to write behind the host.
pub fn pattern(registry: &str) -> String {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let bare = bare.unwrap_or(registry);
    let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let versioned = path.starts_with("/v1/") || path.starts_with("/v2/");
    let path = if versioned { &path["/v1".len()..] } else { path };
    let path = if path == "/" { "" } else { path };
    format!("{host}{path}")
}

/// The credentials to try for an image, in the order of `auths`; none for an anonymous pull. `auths` are sorted by the reader of the
/// app, so that the longest match comes first.
pub fn credentials<'a>(auths: &'a [RegistryAuth], image: &str) -> Vec<&'a RegistryAuth> {
    let repository = repository(image);
    let matching: Vec<_> = auths.iter().filter(|auth| matches(&auth.registry, &repository)).collect();
    if !matching.is_empty() || !is_default(image) {
        return matching;
    }
    auths.iter().filter(|auth| auth.registry == DEFAULT_REGISTRY).collect()
}

/// The name of an image without tag and digest, with Docker Hub's parts that a user may leave out.
fn repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    match name.split_once('/') {
        Some((host, _)) if is_host(host) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// Tells a registry's host from a user's name on Docker Hub, as Docker does.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

/// True for an image of Docker Hub.
fn is_default(image: &str) -> bool {
    match image.split_once('/') {
        Some((host, _)) => matches!(host, "docker.io" | DEFAULT_REGISTRY) || !is_host(host),
        None => true,
    }
}

/// True if the pattern's host matches label by label, its port is the same, and its path is how the repository's begins.
fn matches(pattern: &str, repository: &str) -> bool {
    let (host, path) = split(pattern);
    let (other_host, other_path) = split(repository);
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let (other_host, other_port) = other_host.split_once(':').unwrap_or((other_host, ""));
    let labels = |host: &str| host.split('.').count();
    port == other_port
        && other_path.starts_with(path)
        && labels(host) == labels(other_host)
        && host.split('.').zip(other_host.split('.')).all(|(glob, label)| glob_matches(glob, label))
}

fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find('/').unwrap_or(name.len()))
}

/// `*` for any characters, `?` for one. In time proportional to the product of the lengths, at worst.
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it has swallowed.
    let mut star = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == b'*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == b'?' || glob[g] == text[t]) {
            g += 1;
            t += 1;
        } else if let Some((at, swallowed)) = star {
            star = Some((at, swallowed + 1));
            g = at + 1;
            t = swallowed + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sensitive;

    fn tried(registries: &[&str], image: &str) -> Vec<String> {
        let auth = |registry: &&str| RegistryAuth {
            registry: pattern(registry),
            username: String::new(),
            password: Sensitive::default(),
            identity_token: Sensitive::default(),
        };
        let auths: Vec<_> = registries.iter().map(auth).collect();
        credentials(&auths, image).into_iter().map(|auth| auth.registry.clone()).collect()
    }

    #[test]
    fn a_key_is_compared_without_scheme_and_version() {
        for (registry, expected) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://r.example/v2/", "r.example"),
            ("r.example/", "r.example"),
            ("r.example:5000/team", "r.example:5000/team"),
            ("r.example/v1/team", "r.example/team"),
            ("r.example/v1x", "r.example/v1x"),
        ] {
            assert_eq!(pattern(registry), expected);
        }
    }

    #[test]
    fn hosts_ports_and_paths_decide() {
        for (registry, image, expected) in [
            ("r.example", "r.example/web:1", true),
            ("r.example", "r.example/team/web@sha256:00", true),
            ("r.example/team", "r.example/team/web", true),
            ("r.example/team", "r.example/other/web", false),
            ("r.example", "r.example:5000/web", false),
            ("r.example:5000", "r.example:5000/web:1", true),
            ("*.example", "r.example/web", true),
            ("*.example", "a.r.example/web", false),
            ("*.*.example", "a.r.example/web", true),
            ("r?.example", "r1.example/web", true),
            ("pre*fix.example", "pre-fix.example/web", true),
            ("pre*fix.example", "prefi.example/web", false),
            ("localhost:5000", "localhost:5000/web", true),
            ("docker.io", "web", true),
            ("docker.io/team", "team/web", true),
            ("docker.io/library", "team/web", false),
            ("https://index.docker.io/v1/", "web", true),
            ("https://index.docker.io/v1/", "team/web", true),
            ("https://index.docker.io/v1/", "docker.io/team/web", true),
            ("https://index.docker.io/v1/", "r.example/web", false),
        ] {
            assert_eq!(!tried(&[registry], image).is_empty(), expected, "{registry} for {image}");
        }
    }

    #[test]
    fn all_matches_are_tried_in_order_and_docker_hubs_only_without_any() {
        let registries = ["r.example/team", "r.example", "index.docker.io", "docker.io"];
        assert_eq!(tried(&registries, "r.example/team/web"), ["r.example/team", "r.example"]);
        assert_eq!(tried(&registries, "r.example/web"), ["r.example"]);
        assert_eq!(tried(&registries, "web"), ["docker.io"]);
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!glob_matches(&"*a".repeat(100), &"a".repeat(99)));
    }
}
