//! Users, groups, capabilities and kernel settings.

use std::collections::BTreeSet;

use super::report::{Path, Report};
use super::text;
use crate::template::{
    Capabilities, PodSecurityContext, SeccompProfile, SeccompProfileType, SecurityContext, Sysctl,
};
use crate::{Container, PodSpec, bounds};

/// All capabilities: `ALL` in a list.
const ALL: &str = "ALL";
/// What Linux calls them, without the prefix `CAP_`, as of capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// Kernel settings of the IPC namespace.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
/// Longest value of a kernel setting.
const SYSCTL_VALUE: usize = 1024;

pub(super) fn check_pod(context: &PodSecurityContext, pod: &PodSpec, path: &Path, report: &mut Report) {
    let PodSecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root: _,
        fs_group,
        supplemental_groups,
        seccomp_profile,
        sysctls,
    } = context;
    for (field, id) in [("runAsUser", run_as_user), ("runAsGroup", run_as_group), ("fsGroup", fs_group)] {
        report.range(*id, 0, bounds::ID, &path.field(field));
    }
    let groups_path = path.field("supplementalGroups");
    if report.fits(supplemental_groups.len(), bounds::SHORT_LIST, &groups_path) {
        for (i, id) in supplemental_groups.iter().enumerate() {
            report.range(Some(*id), 0, bounds::ID, &groups_path.index(i));
        }
    }
    check_seccomp(seccomp_profile.as_ref(), path, report);
    let sysctls_path = path.field("sysctls");
    if report.fits(sysctls.len(), bounds::SHORT_LIST, &sysctls_path) {
        let mut names = BTreeSet::new();
        for (i, Sysctl { name, value }) in sysctls.iter().enumerate() {
            let path = sysctls_path.index(i);
            let name_path = path.field("name");
            let dotted = name.replace('/', ".");
            check_sysctl(&dotted, pod, &name_path, report);
            report.require(names.insert(dotted), &name_path, format!("{name:?} is set twice"));
            let value_path = path.field("value");
            report.short(value, SYSCTL_VALUE, &value_path);
            report.require(
                !value.contains(char::is_control),
                &value_path,
                "must not contain control characters",
            );
        }
    }
}

/// A kernel setting that belongs to a namespace of the container. Others would change the whole box.
fn check_sysctl(name: &str, pod: &PodSpec, path: &Path, report: &mut Report) {
    let part = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    if name.len() > bounds::SUBDOMAIN || !name.split('.').all(part) {
        report.add(path, "must be the name of a kernel setting, such as net.ipv4.ip_unprivileged_port_start");
        return;
    }
    if name.starts_with("net.") {
        let message = "may not be specified when 'hostNetwork' is true: it would change the whole box";
        report.require(!pod.uses_host_network(), path, message);
    } else if IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.") {
        let message = "may not be specified when 'hostIPC' is true: it would change the whole box";
        report.require(!pod.uses_host_ipc(), path, message);
    } else {
        let message = "does not belong to a container: it would change the whole box. Only net.*, fs.mqueue.* and kernel.msg*, kernel.sem and kernel.shm* do";
        report.add(path, message);
    }
}

pub(super) fn check_container(container: &Container, pod: &PodSpec, path: &Path, report: &mut Report) {
    let path = path.field("securityContext");
    if let Some(context) = &container.security_context {
        check_context(context, &path, report);
    }
    report.require(
        !(pod.effective_non_root(container) && pod.effective_user(container) == Some(0)),
        &path.field("runAsUser"),
        "runAsUser 0 breaks the non-root policy: remove runAsNonRoot, or choose another user",
    );
}

fn check_context(context: &SecurityContext, path: &Path, report: &mut Report) {
    let SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root: _,
        read_only_root_filesystem: _,
        capabilities,
        privileged: _,
        allow_privilege_escalation,
        seccomp_profile,
    } = context;
    report.range(*run_as_user, 0, bounds::ID, &path.field("runAsUser"));
    report.range(*run_as_group, 0, bounds::ID, &path.field("runAsGroup"));
    if let Some(Capabilities { add, drop }) = capabilities {
        for (field, list) in [("add", add), ("drop", drop)] {
            check_capabilities(list, &path.field("capabilities").field(field), report);
        }
    }
    check_seccomp(seccomp_profile.as_ref(), path, report);
    report.require(
        !(context.is_privileged() && *allow_privilege_escalation == Some(false)),
        &path.field("allowPrivilegeEscalation"),
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    );
}

/// A profile of the box's own is named, and is a file in the folder of profiles; no other kind has a name.
fn check_seccomp(profile: Option<&SeccompProfile>, path: &Path, report: &mut Report) {
    let Some(SeccompProfile { kind, localhost_profile }) = profile else { return };
    let path = path.field("seccompProfile").field("localhostProfile");
    match (kind, localhost_profile) {
        (SeccompProfileType::Localhost, Some(name)) => {
            report.short(name, bounds::SUBDOMAIN, &path);
            text::file_path(name, &path, report);
        }
        (SeccompProfileType::Localhost, None) => {
            report.add(&path, "must be set when seccomp type is Localhost");
        }
        (SeccompProfileType::RuntimeDefault | SeccompProfileType::Unconfined, Some(_)) => {
            report.add(&path, "can only be set when seccomp type is Localhost");
        }
        (SeccompProfileType::RuntimeDefault | SeccompProfileType::Unconfined, None) => {}
    }
}

fn check_capabilities(list: &[String], path: &Path, report: &mut Report) {
    if !report.fits(list.len(), bounds::LIST, path) {
        return;
    }
    for (i, name) in list.iter().enumerate() {
        let known = |name: &str| name == ALL || CAPABILITIES.contains(&name);
        let path = path.index(i);
        match name.strip_prefix("CAP_") {
            _ if known(name) => {}
            Some(short) if known(short) => report.add(&path, format!("write it without CAP_: {short}")),
            Some(_) | None => {
                report.add(&path, "is not a capability of Linux; write it as NET_ADMIN, or ALL")
            }
        }
    }
}
