//! What the box's owner lets apps do. The owner has the last word: whatever a controller asks for, what is not allowed here is refused, and
//! the refusal names the rule of `agent.toml` and the field of the app. Everything that reaches beyond an app's own containers is denied by
//! default.
//!
//! Not here: what a path of the box resolves to. Whoever mounts it asks [`Policy::host_path_allowed`] about the result.

mod image;
mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{Container, Kind, Network, Seccomp, Security, ValidApp, Volume};

pub use image::RegistryPattern;
pub(crate) use image::in_full;
pub use path::PathError;

/// The capabilities that Docker gives to every container: to add one of them adds nothing.
const GIVEN_ANYWAY: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The kernel parameters that Kubernetes counts as safe: of one app's own namespaces, and of no harm to others.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// The rules of one box. The default is what a box without any configuration has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub privileged: bool,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    /// Folders and files of the box that apps may mount, with all below them.
    pub host_paths: Vec<PathBuf>,
    /// Capabilities that may be added, without `CAP_`; `ALL` allows all.
    pub capabilities: BTreeSet<String>,
    /// Docker's own socket may be mounted: whoever has it is root on the box.
    pub docker_socket: bool,
    /// Where images may come from. Empty: from anywhere.
    pub registries: Vec<RegistryPattern>,
    /// Kernel parameters that may be set beside the safe ones; one that ends with `*` allows all that begin like it.
    pub sysctls: Vec<String>,
    pub seccomp_unconfined: bool,
    /// The box has a folder of seccomp profiles.
    pub seccomp_profiles: bool,
    /// Names of the `skerry.dev/NAME` resources that the box offers.
    pub devices: BTreeSet<String>,
    /// Docker's socket, under all its names.
    pub docker_sockets: Vec<PathBuf>,
    /// The agent's own folders, under all their names: never mounted.
    pub agent_folders: Vec<PathBuf>,
}

/// Whoever has one of these is root on the box: Docker's, and those of the containerd below it.
const ENGINE_SOCKETS: [&str; 5] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/var/run/docker/containerd/containerd.sock",
];

impl Default for Policy {
    fn default() -> Self {
        Self {
            privileged: false,
            host_network: false,
            host_pid: false,
            host_ipc: false,
            host_paths: Vec::new(),
            capabilities: BTreeSet::new(),
            docker_socket: false,
            registries: Vec::new(),
            sysctls: Vec::new(),
            seccomp_unconfined: false,
            seccomp_profiles: false,
            devices: BTreeSet::new(),
            docker_sockets: ENGINE_SOCKETS.map(PathBuf::from).into(),
            agent_folders: Vec::new(),
        }
    }
}

/// What the box's owner does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {field}: {why}")]
pub struct Refusal {
    /// The rule's key in `agent.toml`, such as `policy.privileged`.
    pub rule: String,
    /// The field's path from the object's root.
    pub field: String,
    /// What it asks for, and what would allow it.
    pub why: String,
}

const POD: &str = "spec.template.spec";

impl Policy {
    /// The first thing in an app that is not allowed.
    pub fn judge(&self, app: &ValidApp) -> Result<(), Refusal> {
        let host = app.network == Network::Host;
        allow(!host || self.host_network, "host-network", "hostNetwork", "the network of the box")?;
        allow(!app.host_pid || self.host_pid, "host-pid", "hostPID", "the processes of the box")?;
        allow(!app.host_ipc || self.host_ipc, "host-ipc", "hostIPC", "the IPC of the box")?;
        for name in app.sysctls.keys() {
            self.judge_sysctl(name)?;
        }
        for (name, volume) in &app.volumes {
            if let Volume::HostPath { path, kind: _ } = volume {
                let field = format!("{POD}.volumes[{name}].hostPath.path");
                self.host_path_allowed(Path::new(path)).map_err(|error| error.refusal(field, path))?;
            }
        }
        for (field, container) in fields(app) {
            self.judge_image(&field, &container.image)?;
            self.judge_security(&field, &container.security)?;
            if let Some(device) = container.devices.keys().find(|device| !self.devices.contains(*device)) {
                return Err(Refusal {
                    rule: format!("devices.{device}"),
                    field: format!("{field}.resources.limits[skerry.dev/{device}]"),
                    why: format!(
                        "the box offers no such device; its owner can list one as [devices.{device}]"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Whether apps may mount this path of the box. Asked about the path as it is written, and again about what it resolves to.
    pub fn host_path_allowed(&self, path: &Path) -> Result<(), PathError> {
        path::judge(self, path)
    }

    fn judge_sysctl(&self, name: &str) -> Result<(), Refusal> {
        let allowed = |rule: &String| match rule.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => rule == name,
        };
        if SAFE_SYSCTLS.contains(&name) || self.sysctls.iter().any(allowed) {
            return Ok(());
        }
        Err(Refusal {
            rule: "policy.sysctls".to_owned(),
            field: format!("{POD}.securityContext.sysctls[{name}]"),
            why: format!("{name} is none of the safe ones; the box's owner can add it to the list"),
        })
    }

    fn judge_image(&self, field: &str, image: &str) -> Result<(), Refusal> {
        let is_id = image::is_id(image);
        let listed = || !is_id && self.registries.iter().any(|pattern| pattern.matches(image));
        if self.registries.is_empty() || listed() {
            return Ok(());
        }
        Err(Refusal {
            rule: "policy.registries".to_owned(),
            field: format!("{field}.image"),
            why: match is_id {
                true => format!(
                    "{image} may be the id of any image on the box; a name needs a tag, such as {image}:latest"
                ),
                false => format!("{image} comes from {}, which is not in the list", image::origin(image)),
            },
        })
    }

    fn judge_security(&self, container: &str, security: &Security) -> Result<(), Refusal> {
        let Security {
            user: _,
            group: _,
            non_root: _,
            read_only_root: _,
            add_capabilities,
            drop_capabilities: _,
            privileged,
            no_new_privileges: _,
            seccomp,
        } = security;
        let context = format!("{container}.securityContext");
        if *privileged && !self.privileged {
            return Err(refusal("privileged", format!("{context}.privileged"), "a privileged container"));
        }
        for name in add_capabilities {
            let bare = name.strip_prefix("CAP_").unwrap_or(name);
            let listed = self.capabilities.contains("ALL") || self.capabilities.contains(bare);
            if !listed && !GIVEN_ANYWAY.contains(&bare) {
                return Err(Refusal {
                    rule: "policy.capabilities".to_owned(),
                    field: format!("{context}.capabilities.add"),
                    why: format!("{bare} is not in the list"),
                });
            }
        }
        let field = || format!("{context}.seccompProfile");
        match seccomp {
            Seccomp::Unconfined if !self.seccomp_unconfined => {
                Err(refusal("seccomp-unconfined", field(), "a container without a seccomp profile"))
            }
            Seccomp::Localhost(profile) if !self.seccomp_profiles => Err(Refusal {
                rule: "seccomp-folder".to_owned(),
                field: format!("{}.localhostProfile", field()),
                why: format!("{profile} cannot be found: the box's owner has named no folder of profiles"),
            }),
            Seccomp::RuntimeDefault | Seccomp::Unconfined | Seccomp::Localhost(_) => Ok(()),
        }
    }
}

fn refusal(rule: &str, field: String, what: &str) -> Refusal {
    let why = format!("{what} is not allowed on this box; its owner can set {rule} = true");
    Refusal { rule: format!("policy.{rule}"), field, why }
}

fn allow(allowed: bool, rule: &str, field: &str, what: &str) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(refusal(rule, format!("{POD}.{field}"), what)) }
}

/// Each container with its path.
fn fields(app: &ValidApp) -> impl Iterator<Item = (String, &Container)> {
    let of = |list: &'static str, mains: bool| {
        let containers = app.containers().iter().filter(move |c| (c.kind == Kind::Main) == mains);
        containers.enumerate().map(move |(i, container)| (format!("{POD}.{list}[{i}]"), container))
    };
    of("initContainers", false).chain(of("containers", true))
}
