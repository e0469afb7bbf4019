//! What processes are and may: the pod's settings, where the container has none of its own.

use skerry_agent_core::{Seccomp, Security};
use skerry_proto::{caps, wire};

use super::text::{id, relative_path, shown};
use super::wrong::{Under, Wrong, each, known};

/// What the pod sets for every container that sets nothing itself.
#[derive(Default)]
pub(super) struct Common {
    user: Option<u32>,
    group: Option<u32>,
    non_root: Option<bool>,
    seccomp: Option<Seccomp>,
}

impl Common {
    pub(super) fn read(
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
        run_as_non_root: Option<bool>,
        profile: Option<wire::SeccompProfile>,
    ) -> Result<Self, Wrong> {
        Ok(Self {
            user: run_as_user.map(id).transpose().under("runAsUser")?,
            group: run_as_group.map(id).transpose().under("runAsGroup")?,
            non_root: run_as_non_root,
            seccomp: profile.map(seccomp).transpose().under("seccompProfile")?,
        })
    }
}

pub(super) fn read(common: &Common, own: Option<wire::SecurityContext>) -> Result<Security, Wrong> {
    let wire::SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem,
        capabilities_add,
        capabilities_drop,
        privileged,
        allow_privilege_escalation,
        seccomp_profile,
    } = own.unwrap_or_default();
    let own = Common::read(run_as_user, run_as_group, run_as_non_root, seccomp_profile)?;
    let capabilities = |field, list| each(field, list, caps::LIST_MAX, capability).under("capabilities");
    Ok(Security {
        user: own.user.or(common.user),
        group: own.group.or(common.group),
        non_root: own.non_root.or(common.non_root).unwrap_or(false),
        read_only_root: read_only_root_filesystem,
        add_capabilities: capabilities("add", capabilities_add)?,
        drop_capabilities: capabilities("drop", capabilities_drop)?,
        privileged,
        no_new_privileges: allow_privilege_escalation == Some(false),
        seccomp: own.seccomp.or_else(|| common.seccomp.clone()).unwrap_or_default(),
    })
}

/// One name for each capability, so that a policy can compare them: `cap_net_admin` is `NET_ADMIN`.
fn capability(name: String) -> Result<String, Wrong> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if !bare.is_empty() && bare.len() <= 64 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(bare.to_owned())
    } else {
        Err(Wrong::new(format_args!("{} is no capability", shown(&name))))
    }
}

fn seccomp(profile: wire::SeccompProfile) -> Result<Seccomp, Wrong> {
    let wire::SeccompProfile { r#type, localhost_profile } = profile;
    Ok(match known(r#type).under("type")? {
        wire::SeccompType::Unspecified => return Err(Wrong::missing().under("type")),
        wire::SeccompType::RuntimeDefault => Seccomp::RuntimeDefault,
        wire::SeccompType::Unconfined => Seccomp::Unconfined,
        wire::SeccompType::Localhost => {
            Seccomp::Localhost(relative_path(&localhost_profile).under("localhostProfile")?)
        }
    })
}
