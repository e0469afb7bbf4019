//! One container, and what only holds among all of them.

use std::collections::BTreeSet;

use super::report::{Path, Report};
use super::{env, image, probe, resources, security, text};
use crate::{Container, ContainerKind, PodSpec, VolumeMount, bounds};

/// Where each container of a pod is.
pub(super) fn with_paths<'a>(
    pod: &'a PodSpec,
    path: &Path,
) -> impl Iterator<Item = (ContainerKind, &'a Container, Path)> {
    let (main, init) = (path.field("containers"), path.field("initContainers"));
    let before = pod.init_containers.len();
    pod.all_containers().enumerate().map(move |(i, (kind, container))| {
        let path = if i < before { init.index(i) } else { main.index(i - before) };
        (kind, container, path)
    })
}

pub(super) fn check_all(pod: &PodSpec, path: &Path, report: &mut Report) {
    let mut names = BTreeSet::new();
    let mut texts = 0usize;
    for (kind, container, path) in with_paths(pod, path) {
        if !names.insert(container.name.as_str()) {
            report.add(
                &path.field("name"),
                format!("the name {:?} is used by another container of this app", container.name),
            );
        }
        check(kind, container, pod, &path, report);
        texts += container.command.iter().chain(&container.args).map(String::len).sum::<usize>();
        let value = |value: &Option<String>| value.as_ref().map_or(0, String::len);
        texts += container.env.iter().map(|var| var.name.len() + value(&var.value)).sum::<usize>();
    }
    let message = format!(
        "command, args and env of all containers must have at most {} bytes together; they have {texts}. Put large values into a ConfigMap and mount it",
        bounds::TEXT_TOTAL
    );
    report.require(texts <= bounds::TEXT_TOTAL, &path.field("containers"), message);
}

fn check(kind: ContainerKind, container: &Container, pod: &PodSpec, path: &Path, report: &mut Report) {
    let Container {
        name,
        image,
        image_pull_policy: _,
        command,
        args,
        env: variables,
        ports: _,
        resources,
        working_dir,
        env_from,
        volume_mounts,
        startup_probe,
        readiness_probe,
        liveness_probe,
        lifecycle,
        termination_message_path,
        termination_message_policy: _,
        security_context: _,
        stdin: _,
        tty: _,
        restart_policy,
    } = container;
    text::label(name, &path.field("name"), report);
    report.require(image::is_reference(image), &path.field("image"), image::RULE);
    words(command, &path.field("command"), report);
    words(args, &path.field("args"), report);
    env::check(variables, env_from, container, pod, path, report);
    if let Some(resources) = resources {
        resources::check(resources, &path.field("resources"), report);
    }
    if let Some(folder) = working_dir.as_deref().filter(|folder| !folder.is_empty()) {
        text::absolute_path(folder, &path.field("workingDir"), report);
    }
    mounts(volume_mounts, pod, &path.field("volumeMounts"), report);
    if let Some(file) = termination_message_path {
        text::absolute_path(file, &path.field("terminationMessagePath"), report);
    }
    security::check_container(container, pod, path, report);
    probe::check_all(container, pod, path, report);
    let alone = [
        ("startupProbe", startup_probe.is_some()),
        ("readinessProbe", readiness_probe.is_some()),
        ("livenessProbe", liveness_probe.is_some()),
        ("lifecycle", lifecycle.is_some()),
    ];
    match kind {
        ContainerKind::Init => {
            for (field, _) in alone.into_iter().filter(|(_, given)| *given) {
                report.add(&path.field(field), "may not be set for init containers without restartPolicy=Always");
            }
        }
        ContainerKind::Main => report.require(
            restart_policy.is_none(),
            &path.field("restartPolicy"),
            "may not be set for non-init containers; the policy of the app is spec.template.spec.restartPolicy",
        ),
        ContainerKind::Sidecar => {}
    }
}

pub(super) fn words(words: &[String], path: &Path, report: &mut Report) {
    if !report.fits(words.len(), bounds::WORDS, path) {
        return;
    }
    for (i, word) in words.iter().enumerate() {
        let path = path.index(i);
        report.short(word, bounds::WORD, &path);
        report.require(!word.contains('\0'), &path, "must not contain a NUL byte");
    }
}

fn mounts(mounts: &[VolumeMount], pod: &PodSpec, path: &Path, report: &mut Report) {
    if !report.fits(mounts.len(), bounds::MOUNTS, path) {
        return;
    }
    let mut taken = BTreeSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let VolumeMount { name, mount_path, sub_path, sub_path_expr, read_only: _ } = mount;
        let path = path.index(i);
        let known = pod.volumes.iter().any(|volume| volume.name == *name);
        report.require(
            known,
            &path.field("name"),
            format!(
                "not found: no volume of the app is called {name:?}; add it to spec.template.spec.volumes"
            ),
        );
        let mount_field = path.field("mountPath");
        text::absolute_path(mount_path, &mount_field, report);
        report.require(!mount_path.contains(':'), &mount_field, "must not contain ':'");
        let clean: Vec<_> = mount_path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        report.require(
            !clean.is_empty() || !mount_path.starts_with('/'),
            &mount_field,
            "must not be the root folder: the container's own files are there",
        );
        report.require(
            taken.insert(clean),
            &mount_field,
            "must be unique: another mount of this container has it",
        );
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if let Some(sub_path) = sub_path.as_deref().filter(|sub_path| !sub_path.is_empty()) {
            text::relative_path(sub_path, &path.field("subPath"), report);
        }
        if let Some(expr) = sub_path_expr.as_deref().filter(|expr| !expr.is_empty()) {
            text::relative_path(expr, &path.field("subPathExpr"), report);
        }
        report.require(
            !(given(sub_path) && given(sub_path_expr)),
            &path.field("subPathExpr"),
            "subPathExpr and subPath are mutually exclusive",
        );
    }
}
