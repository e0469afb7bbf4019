//! What the processes may.

use bollard::models::HostConfig;
use skerry_agent_core::{Seccomp, Security};

/// `profile` is the content of the profile that the spec names, when it names one.
pub(super) fn set(host: &mut HostConfig, security: &Security, profile: Option<String>) {
    let Security {
        // Both are in the container's user, which is prepared.
        user: _,
        group: _,
        // Was checked before.
        non_root: _,
        read_only_root,
        add_capabilities,
        drop_capabilities,
        privileged,
        no_new_privileges,
        seccomp,
    } = security;
    let seccomp = match seccomp {
        Seccomp::RuntimeDefault => None,
        Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
        Seccomp::Localhost(_) => profile.map(|profile| format!("seccomp={profile}")),
    };
    let options: Vec<String> =
        no_new_privileges.then(|| "no-new-privileges".to_owned()).into_iter().chain(seccomp).collect();
    host.readonly_rootfs = read_only_root.then_some(true);
    host.cap_add = (!add_capabilities.is_empty()).then(|| add_capabilities.clone());
    host.cap_drop = (!drop_capabilities.is_empty()).then(|| drop_capabilities.clone());
    host.privileged = privileged.then_some(true);
    host.security_opt = (!options.is_empty()).then_some(options);
}
