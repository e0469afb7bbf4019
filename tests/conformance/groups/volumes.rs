//! emptyDir, hostPath, and `local`, the folder that outlives updates.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = empty_dirs();
    cases.extend(memory());
    cases.extend(host_paths());
    cases.extend(host_path_types());
    cases.extend(locals());
    cases
}

fn empty_dirs() -> Vec<Case> {
    vec![
        Case::pod(
            "an_empty_dir_is_everybodys",
            "[sig-storage] EmptyDir volumes volume on default medium should have the correct mode [LinuxOnly]",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "stat -c %a /data; ls /data", "777")
        .inspects("main", "/Mounts/0/Destination", "/data")
        .inspects("main", "/Mounts/0/RW", true),
        Case::pod(
            "a_user_writes_with_the_modes_that_it_asks_for",
            "[sig-storage] EmptyDir volumes should support (non-root,0666,default) [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1001}
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "umask 0; cd /data; for mode in 644 666 777; do echo x > f$mode; chmod $mode f$mode; done; stat -c '%a %u' f*", "644 1001\n666 1001\n777 1001"),
        Case::pod(
            "containers_share_a_volume",
            "[sig-storage] EmptyDir volumes pod should support shared volumes between containers",
            r#"
volumes: [{name: shared, emptyDir: {}}]
containers:
- {name: reader, command: [sleep, "9999"], volumeMounts: [{name: shared, mountPath: /mine}]}
- {name: writer, command: [sh, -c, 'echo Hello > /theirs/greeting; exec sleep 9999'], volumeMounts: [{name: shared, mountPath: /theirs}]}
"#,
        )
        .says("reader", "cat /mine/greeting", "Hello"),
        Case::pod(
            "new_files_belong_to_the_fs_group",
            "[sig-storage] EmptyDir volumes when FSGroup is specified [LinuxOnly] new files should be created with FSGroup ownership when container is non-root",
            r#"
securityContext: {runAsUser: 1001, fsGroup: 123}
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "echo x > /data/new && stat -c '%u %g' /data/new", "1001 123")
        .says("main", "stat -c '%a %g' /data", "2777 123"),
        Case::story(
            "it_outlives_a_restart_and_goes_with_the_app",
            "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir: A container crashing does not remove a Pod from a node. The data in an emptyDir \
             volume is safe across container crashes. When a Pod is removed, the data in the emptyDir is deleted permanently",
            async |scene| {
                let pod = r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sh, -c, 'echo x >> /data/starts; echo > /data/ready; trap "exit 3" TERM; while :; do sleep 0.1; done']
  volumeMounts: [{name: data, mountPath: /data}]
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("main", "cat /data/starts", "x").await?;
                let source = app.inspect("main").await?;
                let source = source.pointer("/Mounts/0/Source").and_then(Value::as_str).context("a mount")?.to_owned();
                skerry_tests::docker_run(&["kill", "-s", "TERM", &app.id("main").await?]).await?;
                app.says("main", "cat /data/starts", "x\nx").await?;
                app.delete().await?;
                skerry_tests::eventually("the data is gone", || async {
                    ensure!(!std::path::Path::new(&source).exists(), "{source} is still there");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::pod(
            "a_mount_is_read_only_for_one_container",
            "kubectl explain pod.spec.containers.volumeMounts.readOnly: Mounted read-only if true, read-write otherwise (false or unspecified)",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: writer, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
- {name: reader, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data, readOnly: true}]}
"#,
        )
        .says("writer", "echo y > /data/x && cat /data/x", "y")
        .says("reader", "echo z 2>/dev/null > /data/x || cat /data/x", "y")
        .inspects("reader", "/Mounts/0/RW", false),
    ]
}

fn memory() -> Vec<Case> {
    vec![
        Case::pod(
            "a_volume_in_memory_is_everybodys",
            "[sig-storage] EmptyDir volumes volume on tmpfs should have the correct mode [LinuxOnly]",
            r#"
volumes: [{name: data, emptyDir: {medium: Memory}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "grep ' /data ' /proc/mounts | cut -d ' ' -f 3; stat -c %a /data", "tmpfs\n777"),
        Case::pod(
            "a_user_writes_into_memory",
            "[sig-storage] EmptyDir volumes should support (non-root,0644,tmpfs) [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1001}
volumes: [{name: data, emptyDir: {medium: Memory}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "echo content > /data/f; chmod 644 /data/f; stat -c '%a %u' /data/f; cat /data/f", "644 1001\ncontent"),
        Case::pod(
            "memory_has_the_size_that_is_asked_for",
            "[sig-storage] EmptyDir volumes pod should support memory backed volumes of specified size [LinuxOnly]",
            r#"
volumes: [{name: data, emptyDir: {medium: Memory, sizeLimit: 10Mi}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
"#,
        )
        .says("main", "df -k /data | tail -n 1 | awk '{print $2}'", "10240")
        .says("main", "dd if=/dev/zero of=/data/f bs=1M count=11 2>&1 | grep -o 'No space left'", "No space left"),
        Case::story(
            "memory_is_shared_and_outlives_a_restart",
            "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir: all containers in the Pod can read and write the same files in the emptyDir \
             volume; a container crash leaves the data as it is, with medium Memory as well",
            async |scene| {
                let pod = r#"
volumes: [{name: data, emptyDir: {medium: Memory}}]
containers:
- {name: writer, command: [sh, -c, 'echo x >> /data/starts; exec sleep 9999'], volumeMounts: [{name: data, mountPath: /data}]}
- {name: reader, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /mine}]}
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("reader", "cat /mine/starts", "x").await?;
                skerry_tests::docker_run(&["kill", &app.id("writer").await?]).await?;
                app.says("reader", "cat /mine/starts", "x\nx").await
            },
        ),
        Case::refused(
            "a_size_on_disk_cannot_be_kept",
            "https://kubernetes.io/docs/concepts/storage/volumes/#emptydir: a size limit can be specified for the default medium, which kubelet keeps by \
             eviction. There is no eviction on a box, so it is refused",
            "{volumes: [{name: data, emptyDir: {sizeLimit: 10Mi}}], containers: [{name: main}]}",
            &["sizeLimit"],
        ),
    ]
}

fn host_paths() -> Vec<Case> {
    vec![
        Case::story(
            "a_host_path_is_the_boxs_own_folder",
            "[sig-storage] HostPath should support r/w",
            async |scene| {
                let folder = scene.folder()?;
                std::fs::write(format!("{folder}/from-the-box"), "box")?;
                let pod = format!(
                    "{{volumes: [{{name: h, hostPath: {{path: {folder}}}}}], containers: [\
                     {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /h}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "cat /h/from-the-box; echo pod > /h/from-the-pod", "box").await?;
                ensure!(
                    std::fs::read_to_string(format!("{folder}/from-the-pod"))? == "pod\n",
                    "another folder"
                );
                Ok(())
            },
        ),
        Case::story(
            "a_host_path_keeps_its_mode",
            "[sig-storage] HostPath should give a volume the correct mode [LinuxOnly]",
            async |scene| {
                let folder = scene.folder()?;
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777))?;
                let pod = format!(
                    "{{securityContext: {{fsGroup: 123}}, volumes: [{{name: h, hostPath: {{path: {folder}}}}}], containers: [\
                     {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /h}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "stat -c '%a %g' /h", "1777 0").await
            },
        ),
        Case::story(
            "a_host_path_and_a_path_within",
            "[sig-storage] HostPath should support subPath",
            async |scene| {
                let folder = scene.folder()?;
                std::fs::create_dir(format!("{folder}/sub"))?;
                std::fs::write(format!("{folder}/sub/file"), "here")?;
                let pod = format!(
                    "{{volumes: [{{name: h, hostPath: {{path: {folder}}}}}], containers: [\
                     {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /h, subPath: sub}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "cat /h/file", "here").await
            },
        ),
        Case::story(
            "a_folder_is_made_if_that_is_asked_for",
            "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath: DirectoryOrCreate: If nothing exists at the given path, an empty directory will be \
             created there as needed with permission set to 0755; FileOrCreate: an empty file with permission set to 0644",
            async |scene| {
                let folder = scene.folder()?;
                let pod = format!(
                    r#"
volumes:
- {{name: dir, hostPath: {{path: {folder}/a/b, type: DirectoryOrCreate}}}}
- {{name: file, hostPath: {{path: {folder}/f, type: FileOrCreate}}}}
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts: [{{name: dir, mountPath: /dir}}, {{name: file, mountPath: /file}}]
"#
                );
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "stat -c '%a %F' /dir /file", "755 directory\n644 regular empty file")
                    .await?;
                app.delete().await?;
                ensure!(
                    std::path::Path::new(&format!("{folder}/f")).is_file(),
                    "what is the box's was removed"
                );
                Ok(())
            },
        ),
    ]
}

/// A pod with a hostPath of this type.
fn typed(path: &str, kind: &str) -> String {
    format!(
        "{{volumes: [{{name: h, hostPath: {{path: {path}, type: {kind}}}}}], containers: [\
         {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /h}}]}}]}}"
    )
}

fn host_path_types() -> Vec<Case> {
    vec![
        Case::story(
            "a_folder_must_be_there",
            "[sig-storage] HostPathType Directory Should fail on mounting non-existent directory 'does-not-exist-dir' when HostPathType is HostPathDirectory",
            async |scene| {
                let path = format!("{}/does-not-exist-dir", scene.folder()?);
                let app = scene.apply(APP, &typed(&path, "Directory")).await?;
                app.report("it names the path", |report| report.message.contains(&path)).await?;
                ensure!(
                    !app.exists("main").await? && !std::path::Path::new(&path).exists(),
                    "something was made"
                );
                // It is waited for, not given up.
                std::fs::create_dir(&path)?;
                app.ready().await.map(drop)
            },
        ),
        Case::story(
            "a_folder_is_no_file",
            "[sig-storage] HostPathType Directory Should fail on mounting directory 'adir' when HostPathType is HostPathFile",
            async |scene| {
                let path = scene.folder()?;
                let app = scene.apply(APP, &typed(&path, "File")).await?;
                let report = app.report("it names the path", |report| report.message.contains(&path)).await?;
                ensure!(!report.ready && report.message.to_lowercase().contains("file"), "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "a_file_is_a_file",
            "[sig-storage] HostPathType File Should be able to mount file 'afile' successfully when HostPathType is HostPathFile",
            async |scene| {
                let path = format!("{}/afile", scene.folder()?);
                std::fs::write(&path, "content")?;
                let app = scene.ready(APP, &typed(&path, "File")).await?;
                app.says("main", "cat /h", "content").await
            },
        ),
        Case::story(
            "a_file_is_no_socket",
            "[sig-storage] HostPathType File Should fail on mounting file 'afile' when HostPathType is HostPathSocket",
            async |scene| {
                let path = format!("{}/afile", scene.folder()?);
                std::fs::write(&path, "content")?;
                let app = scene.apply(APP, &typed(&path, "Socket")).await?;
                let report = app.report("it names the path", |report| report.message.contains(&path)).await?;
                ensure!(!report.ready && report.message.to_lowercase().contains("socket"), "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "a_socket_is_a_socket",
            "[sig-storage] HostPathType Socket Should be able to mount socket 'asocket' successfully when HostPathType is HostPathSocket",
            async |scene| {
                let path = format!("{}/asocket", scene.folder()?);
                let _listener = std::os::unix::net::UnixListener::bind(&path)?;
                let app = scene.ready(APP, &typed(&path, "Socket")).await?;
                app.says("main", "test -S /h && echo socket", "socket").await
            },
        ),
        Case::story(
            "a_device_is_a_device",
            "[sig-storage] HostPathType Character Device Should be able to mount character device 'achardev' successfully when HostPathType is HostPathCharDev",
            async |scene| {
                let app = scene.ready(APP, &typed("/dev/null", "CharDevice")).await?;
                app.says("main", "test -c /h && echo device", "device").await
            },
        ),
        Case::story(
            "a_device_is_no_block_device",
            "[sig-storage] HostPathType Character Device Should fail on mounting character device 'achardev' when HostPathType is HostPathBlockDev",
            async |scene| {
                let app = scene.apply(APP, &typed("/dev/null", "BlockDevice")).await?;
                let report =
                    app.report("it names the path", |report| report.message.contains("/dev/null")).await?;
                ensure!(!report.ready, "{report:?}");
                Ok(())
            },
        ),
    ]
}

/// An app that counts its starts in a volume of its own on the box.
fn local(policy: &str, version: &str) -> String {
    format!(
        r#"
volumes: [{{name: data, local: {{reclaimPolicy: {policy}}}}}]
containers:
- name: main
  command: [sh, -c, 'echo {version} >> /data/versions; exec sleep 9999']
  volumeMounts: [{{name: data, mountPath: /data}}]
"#
    )
}

fn locals() -> Vec<Case> {
    vec![
        Case::story(
            "a_local_volume_outlives_updates_and_the_app",
            "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#retain: when the claim is deleted, the volume still exists and the data remains \
             on it, as with local volumes",
            async |scene| {
                let app = scene.ready(APP, &local("Retain", "one")).await?;
                app.says("main", "cat /data/versions", "one").await?;
                app.update(&local("Retain", "two")).await?;
                app.says("main", "cat /data/versions", "one\ntwo").await?;
                app.delete().await?;
                scene.ready(APP, &local("Retain", "three")).await?;
                app.says("main", "cat /data/versions", "one\ntwo\nthree").await?;
                // So that nothing is left on this machine either.
                app.update(&local("Delete", "four")).await?;
                app.says("main", "cat /data/versions", "one\ntwo\nthree\nfour").await
            },
        ),
        Case::story(
            "a_local_volume_goes_with_the_app_if_that_is_chosen",
            "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#delete: deletion removes both the object and the data",
            async |scene| {
                let app = scene.ready(APP, &local("Delete", "one")).await?;
                app.says("main", "cat /data/versions", "one").await?;
                let source = app.inspect("main").await?;
                let source =
                    source.pointer("/Mounts/0/Source").and_then(Value::as_str).context("a mount")?.to_owned();
                app.update(&local("Delete", "two")).await?;
                app.says("main", "cat /data/versions", "one\ntwo").await?;
                app.delete().await?;
                skerry_tests::eventually("the data is gone", || async {
                    ensure!(!std::path::Path::new(&source).exists(), "{source} is still there");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::refused(
            "a_local_volume_needs_a_choice",
            "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming: volumes are either Retained, Recycled, or Deleted. Skerry wants the \
             choice made",
            "{volumes: [{name: data, local: {}}], containers: [{name: main}]}",
            &["reclaimPolicy"],
        ),
    ]
}
