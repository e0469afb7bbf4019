//! What the agent is told: flags over environment over `agent.toml` over defaults. Every error names where the value came from, what was
//! wrong with it, and what would be right.

#[cfg(test)]
mod fuzz;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use skerry_agent_core::{AppNames, Device, Policy};
use skerry_proto::caps;
use skerry_terms::NodeName;

use crate::housekeeper::Rules;
use crate::logging::{LogFormat, LogLevel};
use rules::{GivenAppNames, GivenDevice, GivenDevices, GivenHousekeeping, GivenPolicy, Lie};

/// Read when `--config` does not name another. It may be missing.
pub const DEFAULT_PATH: &str = "/etc/skerry/agent.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/skerry";
const DEFAULT_DOCKER: &str = "unix:///var/run/docker.sock";
const DEFAULT_MANIFESTS: &str = "/etc/skerry/manifests";
const DEFAULT_CONTROLLER: &str = "http://127.0.0.1:7443";

/// Everything that the agent is told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub node: NodeName,
    pub controller: ControllerUrl,
    pub state_dir: PathBuf,
    /// Path of Docker's socket.
    pub docker_socket: PathBuf,
    /// For the EdgeNode object, when it is created.
    pub labels: BTreeMap<String, String>,
    /// Where the key of the store is. Absent: in the state folder.
    pub store_key: Option<PathBuf>,
    /// Folder of static manifests.
    pub manifest_dir: PathBuf,
    /// Where the box's own command line reaches the agent. Absent: in /run, else in the state folder.
    pub admin_socket: Option<PathBuf>,
    /// Folder of seccomp profiles that apps may name. Absent: they may name none.
    pub seccomp_folder: Option<PathBuf>,
    pub app_names: AppNames,
    /// What `skerry.dev/NAME` resources stand for.
    pub devices: BTreeMap<String, Device>,
    pub policy: Policy,
    pub housekeeping: Rules,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
}

/// Values as they were given, on the command line or in the file. Absent means: ask the next source.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Given {
    pub node_name: Option<String>,
    pub controller: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub docker_socket: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub store_key: Option<PathBuf>,
    pub manifest_dir: Option<PathBuf>,
    pub admin_socket: Option<PathBuf>,
    pub seccomp_folder: Option<PathBuf>,
    #[serde(default)]
    pub app_names: GivenAppNames,
    #[serde(default)]
    pub policy: GivenPolicy,
    #[serde(default, deserialize_with = "rules::devices")]
    pub devices: GivenDevices,
    #[serde(default)]
    pub housekeeping: GivenHousekeeping,
    pub log_format: Option<LogFormat>,
    pub log_level: Option<LogLevel>,
}

/// Where the controller is. Plain text goes nowhere but to this box itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerUrl(String);

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}:{line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{key} (from {source_name}): {why}")]
    Value { key: &'static str, source_name: String, why: String },
}

/// A configuration of a thousand lines has some 50 KiB.
const FILE_MAX: u64 = 1 << 20;
/// How much of a value is quoted.
const QUOTE_MAX: usize = 200;

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let length = std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_MAX} bytes")));
    }
    // Some editors put a byte order mark there.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The file's values. A default file that is missing says nothing; one that was asked for must be there.
pub fn read(path: &Path, explicit: bool) -> Result<Given, ConfigError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !explicit => {
            return Ok(Given::default());
        }
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    parse(path, &text)
}

/// How much of a wrong line is quoted.
const LINE_MAX: usize = 80;

fn parse(path: &Path, text: &str) -> Result<Given, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // The line itself names the key; the parser's message often does not.
        let written: String = text.lines().nth(line - 1).unwrap_or_default().chars().take(LINE_MAX).collect();
        let said = caps::truncate(&error.message().replace('\n', " "), QUOTE_MAX);
        let message = format!("{said}, in `{}`", written.trim());
        ConfigError::Syntax { path: path.to_owned(), line, message }
    })
}

/// Flags and environment over the file over the defaults.
pub fn resolve(flags: Given, file: Given, path: &Path) -> Result<Config, ConfigError> {
    let file_name = path.display().to_string();
    let pick = |flag: Option<String>, file: Option<String>, default: &dyn Fn() -> (String, String)| match (
        flag, file,
    ) {
        (Some(value), _) => (value, "command line or environment".to_owned()),
        (None, Some(value)) => (value, file_name.clone()),
        (None, None) => default(),
    };
    let value_error = |key, source_name: &str, why: String| {
        let why = caps::truncate(&why, 2 * QUOTE_MAX);
        ConfigError::Value { key, source_name: source_name.to_owned(), why }
    };

    let (node, source) = pick(flags.node_name, file.node_name, &|| {
        (crate::facts::hostname().to_lowercase(), "this host's name".to_owned())
    });
    let node = node
        .parse::<NodeName>()
        .map_err(|error| value_error("node-name", &source, format!("{error}; set --node-name")))?;
    let (controller, source) =
        pick(flags.controller, file.controller, &|| (DEFAULT_CONTROLLER.to_owned(), "default".to_owned()));
    let controller = controller.parse().map_err(|why| value_error("controller", &source, why))?;
    let (docker, source) = pick(flags.docker_socket, file.docker_socket, &docker_default);
    let docker_socket = socket_path(&docker).map_err(|why| value_error("docker-socket", &source, why))?;
    let labels: BTreeMap<_, _> = file.labels.into_iter().chain(flags.labels).collect();
    if labels.len() > caps::NODE_LABELS_MAX {
        let why = format!("{} labels, at most {} are allowed", labels.len(), caps::NODE_LABELS_MAX);
        return Err(value_error("labels", &file_name, why));
    }
    let state_dir = flags.state_dir.or(file.state_dir).unwrap_or_else(|| DEFAULT_STATE_DIR.into());
    let store_key = flags.store_key.or(file.store_key);
    let manifest_dir = flags.manifest_dir.or(file.manifest_dir).unwrap_or_else(|| DEFAULT_MANIFESTS.into());
    let devices = file.devices.into_iter().map(|(name, GivenDevice(device))| (name, device));
    let devices: BTreeMap<String, Device> = devices.collect();
    let admin_socket = flags.admin_socket.or(file.admin_socket);
    let own = [
        Some(state_dir.clone()),
        store_key.clone(),
        Some(manifest_dir.clone()),
        Some(path.to_owned()),
        admin_socket.clone(),
        file.seccomp_folder.clone(),
    ];
    let lie = Lie {
        docker_socket: &docker_socket,
        own: own.into_iter().flatten().collect(),
        seccomp_profiles: file.seccomp_folder.is_some(),
        devices: devices.keys().cloned().collect(),
    };
    let policy = rules::policy(file.policy, lie);
    Ok(Config {
        node,
        controller,
        state_dir,
        docker_socket,
        labels,
        store_key,
        manifest_dir,
        admin_socket,
        seccomp_folder: file.seccomp_folder,
        app_names: file.app_names.into(),
        devices,
        policy,
        housekeeping: file.housekeeping.into(),
        log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        log_level: flags.log_level.or(file.log_level).unwrap_or_default(),
    })
}

/// Docker's own variable, as its command line uses it.
fn docker_default() -> (String, String) {
    match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => (host, "DOCKER_HOST".to_owned()),
        Ok(_) | Err(_) => (DEFAULT_DOCKER.to_owned(), "default".to_owned()),
    }
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(format!("{text:?} is not the path of a socket; write unix:///var/run/docker.sock"))
    }
}

impl FromStr for ControllerUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is not http://HOST:PORT");
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(match text.starts_with("https://") {
                true => "https:// needs an enrolled identity, which this version does not have yet; use http:// to a loopback address".to_owned(),
                false => shape(),
            });
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(shape)?;
        port.parse::<std::num::NonZeroU16>().map_err(|_| shape())?;
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = match address.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => host == "localhost",
        };
        if !loopback {
            return Err(format!(
                "plain text is accepted on loopback only, and {host} is not this box; use http://127.0.0.1:{port}"
            ));
        }
        Ok(Self(format!("http://{authority}")))
    }
}

impl fmt::Display for ControllerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skerry_agent_core::housekeeping::Limits;

    use super::*;

    fn file(text: &str) -> Result<Given, ConfigError> {
        parse(Path::new("/etc/skerry/agent.toml"), text)
    }

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        let given =
            file("node-name = \"box-7\"\nstate-dir = \"/a\"\n[labels]\nsite = \"hz\"\n").expect("parsed");
        let flags = Given { state_dir: Some("/b".into()), ..Default::default() };
        let config = resolve(flags, given, Path::new("f")).expect("resolved");
        assert_eq!((config.node.as_str(), config.state_dir.to_str()), ("box-7", Some("/b")));
        assert_eq!(config.controller.to_string(), DEFAULT_CONTROLLER);
        assert_eq!(config.labels["site"], "hz");
    }

    #[test]
    fn a_misspelled_key_is_an_error_with_its_line() {
        let error = file("node-name = \"a\"\n\nstatedir = \"/a\"\n").expect_err("refused").to_string();
        assert!(error.starts_with("/etc/skerry/agent.toml:3: "), "{error}");
        assert!(error.contains("statedir") && error.contains("state-dir"), "{error}");
        let error = file("log-format = \"xml\"\n").expect_err("refused").to_string();
        assert!(error.starts_with("/etc/skerry/agent.toml:1: ") && error.contains("xml"), "{error}");
    }

    #[test]
    fn the_owners_rules_are_read() {
        let given = file(
            r#"
store-key = "/media/stick/store.key"
manifest-dir = "/srv/manifests"
seccomp-folder = "/etc/skerry/seccomp"
app-names = "All"
[policy]
privileged = true
host-network = true
host-paths = ["/data"]
capabilities = ["CAP_NET_ADMIN", "SYS_TIME"]
registries = ["ghcr.io/acme"]
[devices.camera]
paths = ["/dev/video0"]
[devices.gpu]
gpu = true
count = 2
[housekeeping]
image-gc-high-percent = 90
image-min-age = "1h30m"
"#,
        );
        let config = resolve(Given::default(), given.expect("parsed"), Path::new("f")).expect("resolved");
        let policy = &config.policy;
        assert_eq!(
            (policy.privileged, policy.host_network, policy.host_pid, policy.docker_socket),
            (true, true, false, false)
        );
        assert_eq!(policy.host_paths, [Path::new("/data")]);
        assert!(policy.capabilities.iter().eq(["NET_ADMIN", "SYS_TIME"]));
        assert!(policy.registries[0].matches("ghcr.io/acme/web") && policy.seccomp_profiles);
        assert!(policy.devices.iter().eq(["camera", "gpu"]));
        assert_eq!((config.devices["camera"].count, config.devices["gpu"].count), (1, 2));
        assert_eq!(config.app_names, AppNames::All);
        let limits = Limits { high_percent: 90, low_percent: 80, min_age: Duration::from_secs(5400) };
        assert_eq!(config.housekeeping, Rules { image_gc: Some(limits) });
        for own in [DEFAULT_STATE_DIR, "/media/stick/store.key", "/srv/manifests", "/run/skerry"] {
            assert!(policy.agent_folders.iter().any(|folder| folder == Path::new(own)), "{own}");
        }
    }

    #[test]
    fn without_rules_everything_is_denied() {
        let config = resolve(Given::default(), Given::default(), Path::new("f")).expect("resolved");
        let Policy { docker_sockets, agent_folders, .. } = config.policy.clone();
        assert_eq!(config.policy, Policy { docker_sockets, agent_folders, ..Policy::default() });
        assert_eq!(config.app_names, AppNames::Namespace);
        assert_eq!(config.housekeeping.image_gc, Some(Limits::default()));
        let off = file("[housekeeping]\nimage-gc = false").expect("parsed");
        let off = resolve(Given::default(), off, Path::new("f")).expect("resolved");
        assert_eq!(off.housekeeping.image_gc, None);
    }

    #[test]
    fn a_link_counts_by_both_its_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let real = dir.path().canonicalize().expect("there").join("real");
        std::fs::create_dir(&real).expect("created");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let text = format!("state-dir = {:?}\n[policy]\nhost-paths = [{:?}]", link.join("state"), link);
        let config =
            resolve(Given::default(), file(&text).expect("parsed"), Path::new("f")).expect("resolved");
        for (path, allowed) in [
            (link.join("a"), true),
            (real.join("a"), true),
            (link.join("state/x"), false),
            (real.join("state"), false),
        ] {
            assert_eq!(config.policy.host_path_allowed(&path).is_ok(), allowed, "{}", path.display());
        }
    }

    #[test]
    fn a_wrong_rule_names_its_line_and_what_is_meant() {
        for (text, line, words) in [
            ("[policy]\nprivilegd = true", 2, "privilegd"),
            ("[policy]\nprivileged = \"yes\"", 2, "privileged"),
            ("[policy]\nhost-paths = [\"data\"]", 2, "absolute"),
            ("[policy]\nhost-paths = [\"/data/../etc\"]", 2, "absolute"),
            ("[policy]\n\ncapabilities = [\"net_admin\"]", 3, "NET_ADMIN"),
            ("[policy]\nregistries = [\"https://ghcr.io\"]", 2, "HOST"),
            ("app-names = \"Some\"", 1, "Namespace"),
            ("[devices.camera]\ncount = 1", 1, "paths"),
            ("[devices.camera]\npaths = [\"video0\"]", 1, "/dev/NAME"),
            ("[devices.camera]\npaths = [\"/dev/../etc/x\"]", 1, "/dev/NAME"),
            ("[devices.camera]\npaths = [\"/dev/video0\"]\ncount = 0", 1, "at least 1"),
            ("[devices.camera]\npath = [\"/dev/video0\"]", 2, "paths"),
            ("[devices.\"a b\"]\ngpu = true", 1, "a b"),
            ("[housekeeping]\nimage-gc-high-percent = 101", 1, "100"),
            ("[housekeeping]\nimage-gc-low-percent = 85", 1, "lower"),
            ("[housekeeping]\nimage-min-age = \"soon\"", 2, "10m"),
            ("[housekeeping]\nimage-gc-hi = 1", 2, "image-gc-high-percent"),
        ] {
            let error = file(text).expect_err(text).to_string();
            let place = format!("/etc/skerry/agent.toml:{line}: ");
            assert!(error.starts_with(&place) && error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn only_an_explicit_file_must_exist() {
        let path = Path::new("/nonexistent/agent.toml");
        assert_eq!(read(path, false).expect("defaults"), Given::default());
        assert!(matches!(read(path, true), Err(ConfigError::Read { .. })));
    }

    #[test]
    fn plain_text_stays_on_the_box() {
        for url in ["http://127.0.0.1:7443", "http://[::1]:7443/", "http://localhost:1"] {
            assert!(url.parse::<ControllerUrl>().is_ok(), "{url}");
        }
        for (url, words) in [
            ("http://10.0.0.1:7443", "loopback only"),
            ("http://example.com:7443", "loopback only"),
            ("http://localhost.example.com:7443", "loopback only"),
            ("https://example.com:7443", "identity"),
            ("http://127.0.0.1", "HOST:PORT"),
            ("http://127.0.0.1:0", "HOST:PORT"),
            ("http://127.0.0.1:1@example.com:7443", "loopback only"),
            ("http://127.0.0.1:1/x", "HOST:PORT"),
            ("127.0.0.1:7443", "HOST:PORT"),
        ] {
            let error = url.parse::<ControllerUrl>().expect_err(url);
            assert!(error.contains(words), "{url}: {error}");
        }
    }

    #[test]
    fn a_bad_value_names_its_key_its_source_and_a_fix() {
        let bad =
            |given: Given| resolve(given, Given::default(), Path::new("f")).expect_err("refused").to_string();
        let error = bad(Given { node_name: Some("A_b".to_owned()), ..Default::default() });
        assert!(error.starts_with("node-name (from command line") && error.contains("lower case"), "{error}");
        let error = bad(Given { docker_socket: Some("tcp://x:1".to_owned()), ..Default::default() });
        assert!(
            error.starts_with("docker-socket") && error.contains("unix:///var/run/docker.sock"),
            "{error}"
        );
    }
}
