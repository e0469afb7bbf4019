//! What the kernel must be able to do for containers, and the memory of the box.

use std::path::Path;

use super::{Finding, Site, place, read, size};

pub(super) const IDS: &[&str] = &[
    "kernel-cgroup",
    "kernel-overlay",
    "kernel-namespaces",
    "kernel-seccomp",
    "kernel-forwarding",
    "kernel-bridge",
    "kernel-pressure",
    "secrets-memory",
    "memory",
];

/// What limits of apps stand on.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
/// Where files with Secrets lie: the first of these that is in memory.
const MEMORY_FOLDERS: [&str; 2] = ["/run", "/dev/shm"];
/// Free memory below which the next container may be one too many.
const TIGHT: u64 = 128 << 20;
const FULL: u64 = 24 << 20;

/// What is known of the kernel. Texts are as the kernel writes them.
#[derive(Debug, Clone)]
struct Facts {
    /// `/sys/fs/cgroup/cgroup.controllers`: of v2. Empty on v1.
    controllers: String,
    /// `/proc/cgroups`: of v1.
    cgroups: String,
    /// `/proc/filesystems`.
    filesystems: String,
    /// Those of [`NAMESPACES`] that are there.
    namespaces: Vec<&'static str>,
    seccomp: bool,
    /// `/proc/sys/net/ipv4/ip_forward`.
    forwarding: String,
    /// `/proc/sys/net/bridge/bridge-nf-call-iptables`. Empty while the module is not loaded.
    bridge: String,
    pressure: bool,
    /// Those of [`MEMORY_FOLDERS`] that are in memory.
    in_memory: Vec<&'static str>,
    /// `/proc/meminfo`.
    meminfo: String,
}

pub(super) fn check(_site: &Site) -> Vec<Finding> {
    let mounts = place::mounts(&read("/proc/self/mountinfo"));
    let is_memory = |folder: &&str| {
        place::of(&mounts, Path::new(folder))
            .is_some_and(|mount| ["tmpfs", "ramfs"].contains(&mount.kind.as_str()))
    };
    let there = |name: &&str| Path::new("/proc/self/ns").join(name).symlink_metadata().is_ok();
    judge(&Facts {
        controllers: read("/sys/fs/cgroup/cgroup.controllers"),
        cgroups: read("/proc/cgroups"),
        filesystems: read("/proc/filesystems"),
        namespaces: NAMESPACES.into_iter().filter(there).collect(),
        seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
        forwarding: read("/proc/sys/net/ipv4/ip_forward"),
        bridge: read("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        pressure: Path::new("/proc/pressure/memory").exists(),
        in_memory: MEMORY_FOLDERS.into_iter().filter(is_memory).collect(),
        meminfo: read("/proc/meminfo"),
    })
}

fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        cgroup(facts),
        overlay(facts),
        namespaces(facts),
        seccomp(facts),
        forwarding(facts),
        bridge(facts),
        pressure(facts),
        secrets(facts),
        memory(facts),
    ]
}

fn cgroup(facts: &Facts) -> Finding {
    let id = "kernel-cgroup";
    let (version, there): (_, Vec<&str>) = match facts.controllers.is_empty() {
        false => ("v2", facts.controllers.split_whitespace().collect()),
        true => ("v1", facts.cgroups.lines().filter_map(enabled).collect()),
    };
    if there.is_empty() {
        let fix = "mount cgroups: apt-get install cgroupfs-mount, or use a kernel with CONFIG_CGROUPS";
        return Finding::failure(id, "there are no cgroups: no container can be started", fix);
    }
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !there.contains(name)).collect();
    match missing.is_empty() {
        true => Finding::ok(id, format!("{version} with {}", CONTROLLERS.join(", "))),
        false => Finding::warning(
            id,
            format!("{version} without {}: such limits of apps do nothing", missing.join(", ")),
            "add cgroup_enable=memory to the kernel's command line (Raspberry Pi: /boot/firmware/cmdline.txt) and start the box again",
        ),
    }
}

/// `memory 4 12 1`: name, hierarchy, count, enabled.
fn enabled(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let name = words.next().filter(|name| !name.starts_with('#'))?;
    (words.nth(2) == Some("1")).then_some(name)
}

fn overlay(facts: &Facts) -> Finding {
    match facts.filesystems.lines().any(|line| line.split_whitespace().next_back() == Some("overlay")) {
        true => Finding::ok("kernel-overlay", "overlayfs is there"),
        false => Finding::warning(
            "kernel-overlay",
            "overlayfs is not loaded: unless Docker has another storage driver, it copies whole images",
            "modprobe overlay, and name it in /etc/modules-load.d; a kernel needs CONFIG_OVERLAY_FS",
        ),
    }
}

fn namespaces(facts: &Facts) -> Finding {
    let missing: Vec<_> = NAMESPACES.into_iter().filter(|name| !facts.namespaces.contains(name)).collect();
    match missing.as_slice() {
        [] => Finding::ok("kernel-namespaces", NAMESPACES.join(", ")),
        ["cgroup"] => Finding::warning(
            "kernel-namespaces",
            "no cgroup namespaces: containers see the cgroups of the box",
            "use a kernel of 4.6 or newer",
        ),
        missing => Finding::failure(
            "kernel-namespaces",
            format!("there are no namespaces of {}", missing.join(", ")),
            "use a kernel with CONFIG_NAMESPACES and all below it",
        ),
    }
}

fn seccomp(facts: &Facts) -> Finding {
    match facts.seccomp {
        true => Finding::ok("kernel-seccomp", "filters are there"),
        false => Finding::warning(
            "kernel-seccomp",
            "no seccomp: containers may make every system call, and profiles of apps cannot be honoured",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn forwarding(facts: &Facts) -> Finding {
    let id = "kernel-forwarding";
    match facts.forwarding.as_str() {
        "1" => Finding::ok(id, "IPv4 is forwarded"),
        "" => Finding::warning(
            id,
            "it cannot be told whether IPv4 is forwarded",
            "look at sysctl net.ipv4.ip_forward",
        ),
        _ => Finding::warning(
            id,
            "IPv4 is not forwarded: containers have no network but with hostNetwork",
            "sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d; Docker sets it when it starts, something unset it",
        ),
    }
}

fn bridge(facts: &Facts) -> Finding {
    let id = "kernel-bridge";
    match facts.bridge.as_str() {
        "1" => Finding::ok(id, "bridges pass through netfilter"),
        "" => Finding::warning(
            id,
            "br_netfilter is not loaded: a container may not reach the hostPort of another on this box",
            "modprobe br_netfilter, and name it in /etc/modules-load.d",
        ),
        _ => Finding::warning(
            id,
            "bridges pass by netfilter: a container may not reach the hostPort of another on this box",
            "sysctl -w net.bridge.bridge-nf-call-iptables=1, and in /etc/sysctl.d",
        ),
    }
}

fn pressure(facts: &Facts) -> Finding {
    match facts.pressure {
        true => Finding::ok("kernel-pressure", "the kernel tells of pressure (PSI)"),
        false => Finding::warning(
            "kernel-pressure",
            "the kernel does not tell of pressure (PSI): a lack of memory is noticed later",
            "add psi=1 to the kernel's command line; a kernel needs CONFIG_PSI",
        ),
    }
}

fn secrets(facts: &Facts) -> Finding {
    match facts.in_memory.first() {
        Some(folder) => {
            Finding::ok("secrets-memory", format!("files with Secrets are kept in memory, in {folder}"))
        }
        None => Finding::warning(
            "secrets-memory",
            "neither /run nor /dev/shm is in memory: apps that mount Secrets do not start",
            "mount -t tmpfs tmpfs /dev/shm, and in /etc/fstab",
        ),
    }
}

fn memory(facts: &Facts) -> Finding {
    let kib = |name: &str| {
        let line = facts.meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let (Some(total), Some(free)) = (kib("MemTotal:"), kib("MemAvailable:")) else {
        return Finding::warning(
            "memory",
            "the kernel does not say how much is free",
            "look at /proc/meminfo",
        );
    };
    let (total, free) = (total.saturating_mul(1024), free.saturating_mul(1024));
    let found = format!("{} of {} free", size(free), size(total));
    let fix = "give apps limits, or fewer of them to this box: docker stats shows who has how much";
    match free {
        ..FULL => Finding::failure("memory", found, fix),
        FULL..TIGHT => Finding::warning("memory", found, fix),
        TIGHT.. => Finding::ok("memory", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn facts() -> Facts {
        Facts {
            controllers: "cpuset cpu io memory hugetlb pids rdma misc".to_owned(),
            cgroups: String::new(),
            filesystems: "nodev\tsysfs\nnodev\toverlay\n\text4".to_owned(),
            namespaces: NAMESPACES.to_vec(),
            seccomp: true,
            forwarding: "1".to_owned(),
            bridge: "1".to_owned(),
            pressure: true,
            in_memory: vec!["/run"],
            meminfo: "MemTotal:        3884208 kB\nMemFree: 1 kB\nMemAvailable:    2000000 kB".to_owned(),
        }
    }

    const V1: &str =
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t60\t1\nmemory\t0\t70\t0\npids\t8\t60\t1";

    #[test]
    fn a_good_kernel_is_all_right() {
        let findings = judge(&facts());
        assert!(findings.iter().all(|finding| finding.outcome == Outcome::Ok), "{findings:#?}");
        let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, IDS);
        let v1 = cgroup(&Facts {
            controllers: String::new(),
            cgroups: V1.replace("0\t70\t0", "4\t70\t1"),
            ..facts()
        });
        assert_eq!((v1.outcome, v1.found.as_str()), (Outcome::Ok, "v1 with cpu, memory, pids"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_fix() {
        let meminfo = |free: u64| format!("MemTotal: 3884208 kB\nMemAvailable: {free} kB");
        let without = |name: &str| NAMESPACES.into_iter().filter(|one| *one != name).collect();
        let v1 = Facts { controllers: String::new(), cgroups: V1.to_owned(), ..facts() };
        let cases: [(&str, Facts, Outcome, &str); 14] = [
            ("kernel-cgroup", v1, Outcome::Warning, "v1 without memory"),
            (
                "kernel-cgroup",
                Facts { controllers: "cpu memory".to_owned(), ..facts() },
                Outcome::Warning,
                "pids",
            ),
            (
                "kernel-cgroup",
                Facts { controllers: String::new(), ..facts() },
                Outcome::Failure,
                "no cgroups",
            ),
            (
                "kernel-overlay",
                Facts { filesystems: String::new(), ..facts() },
                Outcome::Warning,
                "overlayfs",
            ),
            ("kernel-namespaces", Facts { namespaces: without("net"), ..facts() }, Outcome::Failure, "net"),
            (
                "kernel-namespaces",
                Facts { namespaces: without("cgroup"), ..facts() },
                Outcome::Warning,
                "cgroup",
            ),
            ("kernel-seccomp", Facts { seccomp: false, ..facts() }, Outcome::Warning, "seccomp"),
            (
                "kernel-forwarding",
                Facts { forwarding: "0".to_owned(), ..facts() },
                Outcome::Warning,
                "not forwarded",
            ),
            ("kernel-bridge", Facts { bridge: String::new(), ..facts() }, Outcome::Warning, "not loaded"),
            ("kernel-bridge", Facts { bridge: "0".to_owned(), ..facts() }, Outcome::Warning, "pass by"),
            ("kernel-pressure", Facts { pressure: false, ..facts() }, Outcome::Warning, "PSI"),
            ("secrets-memory", Facts { in_memory: Vec::new(), ..facts() }, Outcome::Warning, "do not start"),
            (
                "memory",
                Facts { meminfo: meminfo(100 << 10), ..facts() },
                Outcome::Warning,
                "100.0 MiB of 3.7 GiB",
            ),
            ("memory", Facts { meminfo: meminfo(10 << 10), ..facts() }, Outcome::Failure, "10.0 MiB"),
        ];
        for (id, facts, outcome, words) in cases {
            let findings = judge(&facts);
            let bad: Vec<_> = findings.iter().filter(|finding| finding.outcome > Outcome::Ok).collect();
            let [one] = bad.as_slice() else { panic!("{id}: {bad:#?}") };
            assert_eq!((one.id, one.outcome), (id, outcome), "{one:?}");
            assert!(one.found.contains(words) && !one.fix.is_empty(), "{one:?}");
        }
        assert_eq!(memory(&Facts { meminfo: String::new(), ..facts() }).outcome, Outcome::Warning);
    }
}
