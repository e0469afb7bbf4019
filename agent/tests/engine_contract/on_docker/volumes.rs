//! Volumes, as containers see them and as the box keeps them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use skerry_agent::engine::{Docker, Engine as _, EngineError};
use skerry_agent_core::{
    BoundMount, ContainerState, CreateSpec, File, HostPathType, ProjectedVolume, Projection, Reclaim,
    TerminationMessage, TerminationMessagePolicy, Volume,
};

use super::{Bed, cli, script};

fn mount(name: &str, volume: Volume, path: &str) -> BoundMount {
    BoundMount {
        name: name.to_owned(),
        volume,
        path: path.to_owned(),
        read_only: false,
        sub_path: String::new(),
    }
}

fn at(sub_path: &str, mount: BoundMount) -> BoundMount {
    BoundMount { sub_path: sub_path.to_owned(), ..mount }
}

fn files(secret: bool) -> Volume {
    Volume::Files { secret, files: Vec::new() }
}

fn projection(spec: &CreateSpec, secret: bool, content: &str) -> Projection {
    let file = |path: &str, mode| File { path: path.to_owned(), mode, content: content.as_bytes().into() };
    Projection {
        app: spec.app.clone(),
        fs_group: spec.fs_group,
        volumes: vec![ProjectedVolume {
            name: "config".to_owned(),
            secret,
            files: vec![file("a", 0o644), file("dir/b", 0o400)],
        }],
        digest: spec.hash.clone(),
    }
}

#[tokio::test]
async fn a_folder_is_shared_and_the_groups() {
    let bed = Bed::new("empty");
    let docker = bed.docker();
    let mut spec = script(&bed.spec("empty"), "echo one > /v/x; stat -c '%a %g' /v /v/x; touch /r/x 2>&1");
    spec.fs_group = Some(4321);
    spec.security.user = Some(1000);
    spec.mounts = vec![
        mount("cache", Volume::EmptyDir, "/v"),
        BoundMount { read_only: true, ..mount("cache", Volume::EmptyDir, "/r") },
    ];
    let (_, said) = bed.ends(&docker, &spec).await;
    assert!(said.starts_with("2777 4321\n644 4321\n") && said.contains("Read-only"), "{said}");
    let next = CreateSpec { restart_count: 1, name: format!("{}-1", spec.name), ..script(&spec, "cat /v/x") };
    assert_eq!(bed.ends(&docker, &next).await.1, "one", "it outlives the container");

    assert_eq!(bed.look(&docker).await.kept, [spec.app.clone()].into());
    cli(&["rm", "-f", &spec.name, &next.name]);
    docker.discard(&spec.app).await.expect("discarded");
    assert!(bed.look(&docker).await.kept.is_empty());
    docker.discard(&spec.app).await.expect("nothing is there");
}

#[tokio::test]
async fn mounted_files_change_at_once_under_a_running_container() {
    let bed = Bed::new("files");
    let docker = bed.docker();
    for secret in [false, true] {
        let mut spec = bed.spec(if secret { "secret" } else { "plain" });
        spec.mounts =
            vec![mount("config", files(secret), "/etc/app"), at("a", mount("config", files(secret), "/one"))];
        let error = docker.create(&spec).await.expect_err("the files are not there yet");
        assert!(matches!(error, EngineError::Mount { .. }), "{error:?}");
        docker.project(&projection(&spec, secret, "1")).await.expect("written");
        bed.runs(&docker, &spec).await;
        let inside = |script: &str| cli(&["exec", &spec.name, "sh", "-c", script]);
        assert_eq!(inside("cat /etc/app/a /etc/app/dir/b /one"), "111");
        assert_eq!(inside("stat -L -c %a /etc/app/a /etc/app/dir/b"), "644\n400");
        assert!(inside("touch /etc/app/x 2>&1 || true").contains("Read-only"));
        docker.project(&projection(&spec, secret, "2")).await.expect("written");
        assert_eq!(inside("cat /etc/app/a /etc/app/dir/b"), "22");
        assert_eq!(inside("cat /one"), "1", "a subPath does not follow, as in Kubernetes");
        let source = cli(&[
            "inspect",
            "--format",
            "{{range .Mounts}}{{if eq .Destination \"/etc/app\"}}{{.Source}}{{end}}{{end}}",
            &spec.name,
        ]);
        let kind =
            std::process::Command::new("stat").args(["-f", "-c", "%T", &source]).output().expect("stat");
        let is_memory = String::from_utf8_lossy(&kind.stdout).trim() == "tmpfs";
        assert_eq!(is_memory, secret || bed.state.path().starts_with("/dev/shm"), "{source}");
        cli(&["rm", "-f", &spec.name]);
        docker.discard(&spec.app).await.expect("discarded");
        assert!(!PathBuf::from(source).exists());
    }
}

#[tokio::test]
async fn a_volume_in_memory_lives_as_long_as_its_sandbox() {
    let bed = Bed::new("memory");
    let docker = bed.docker();
    let mut specs = bed.specs("memory", 2);
    let memory = || Volume::Memory { size: Some(1 << 20) };
    for spec in &mut specs {
        spec.mounts = vec![mount("scratch", memory(), "/m")];
    }
    specs[2].mounts.push(at("sub/dir", mount("scratch", memory(), "/sub")));
    for spec in &specs {
        bed.runs(&docker, spec).await;
    }
    let inside = |i: usize, script: &str| cli(&["exec", &specs[i].name, "sh", "-c", script]);
    assert_eq!(inside(1, "stat -f -c %T /m; stat -c %a /m; echo x > /m/sub/dir/y"), "tmpfs\n777");
    assert_eq!(inside(2, "cat /m/sub/dir/y /sub/y"), "x\nx");
    let written = inside(1, "head -c 2000000 /dev/zero > /m/big || true; stat -c %s /m/big");
    assert!(written.parse::<u64>().is_ok_and(|bytes| bytes <= 1 << 20), "{written}");
    // A member comes and goes; what is in memory stays.
    let (id, _) = bed.find(&docker, &specs[1].name).await;
    docker.stop(&id, None).await.expect("stopped");
    docker.start(&specs[1].name).await.expect("started");
    assert_eq!(inside(1, "cat /m/sub/dir/y"), "x");
    for spec in &specs {
        cli(&["rm", "-f", &spec.name]);
    }
    let volumes = || cli(&["volume", "ls", "-q", "--filter", &format!("label=skerry.dev/node={}", bed.node)]);
    assert!(!volumes().is_empty());
    docker.discard(&specs[0].app).await.expect("discarded");
    assert!(volumes().is_empty());
}

#[tokio::test]
async fn a_local_volume_outlives_its_app_when_it_is_to() {
    let bed = Bed::new("local");
    let docker = bed.docker();
    for (reclaim, stays) in [(Reclaim::Retain, true), (Reclaim::Delete, false)] {
        let mut spec = script(&bed.spec("local"), "cat /data/x 2>/dev/null; echo kept > /data/x");
        spec.mounts = vec![mount("data", Volume::Local { reclaim }, "/data")];
        for expected in ["", if stays { "kept" } else { "" }] {
            assert_eq!(bed.ends(&docker, &spec).await.1, expected, "{reclaim:?}");
            cli(&["rm", "-f", &spec.name]);
            docker.discard(&spec.app).await.expect("discarded");
            assert!(bed.look(&docker).await.kept.is_empty(), "nothing is left to discard");
        }
        // Asked for with another policy, the last one counts.
        spec.mounts = vec![mount("data", Volume::Local { reclaim: Reclaim::Delete }, "/data")];
        docker.create(&spec).await.expect("created");
        cli(&["rm", "-f", &spec.name]);
        docker.discard(&spec.app).await.expect("discarded");
    }
}

#[tokio::test]
async fn paths_of_the_box_are_checked_and_their_rule_is_asked() {
    let bed = Bed::new("host-path");
    let root = fs::canonicalize(bed.state.path()).expect("resolved").join("box");
    fs::create_dir_all(root.join("data")).expect("made");
    fs::write(root.join("data/file"), "from the box").expect("written");
    let allowed = root.join("data");
    let rule = move |path: &std::path::Path| match path.starts_with(&allowed) {
        true => Ok(()),
        false => Err(format!("policy.host-paths does not allow {}", path.display())),
    };
    let docker = Docker::new(
        std::path::Path::new("/var/run/docker.sock"),
        bed.folders().with_host_path_rule(Arc::new(rule)),
    );
    let host = |path: &str, kind| Volume::HostPath { path: root.join(path).display().to_string(), kind };
    let mut spec = script(&bed.spec("paths"), "cat /d/file; echo back > /new/x");
    spec.mounts = vec![
        mount("d", host("data", HostPathType::Directory), "/d"),
        mount("n", host("data/new", HostPathType::DirectoryOrCreate), "/new"),
    ];
    assert_eq!(bed.ends(&docker, &spec).await.1, "from the box");
    assert_eq!(fs::read_to_string(root.join("data/new/x")).expect("read"), "back\n");

    let mut refused = bed.spec("refused");
    refused.mounts = vec![mount("d", host("data/file", HostPathType::Directory), "/d")];
    let error = docker.create(&refused).await.expect_err("a file").to_string();
    assert_eq!(
        error,
        format!(
            "MountVolume.SetUp failed for volume \"d\": hostPath type check failed: {}/data/file is not a directory",
            root.display()
        )
    );
    std::os::unix::fs::symlink("/etc", root.join("data/link")).expect("linked");
    refused.mounts = vec![mount("d", host("data/link", HostPathType::Directory), "/d")];
    let error = docker.create(&refused).await.expect_err("it leads elsewhere").to_string();
    assert!(error.ends_with("policy.host-paths does not allow /etc"), "{error}");
}

#[tokio::test]
async fn a_sub_path_stays_in_its_volume() {
    let bed = Bed::new("sub-path");
    let docker = bed.docker();
    let mut spec = script(&bed.spec("sub"), "echo x > /s/x; ln -s /etc /all/out; ln -s made /all/in");
    let cache = || mount("cache", Volume::EmptyDir, "/all");
    spec.mounts = vec![cache(), at("made/deep", BoundMount { path: "/s".to_owned(), ..cache() })];
    assert_eq!(bed.ends(&docker, &spec).await.0, 0);
    let mut next = script(&spec, "cat /s/x");
    next.name = format!("{}-1", spec.name);
    next.restart_count = 1;
    next.mounts = vec![at("in/deep", BoundMount { path: "/s".to_owned(), ..cache() })];
    assert_eq!(bed.ends(&docker, &next).await.1, "x", "a link within the volume leads there");
    next.name = format!("{}-2", spec.name);
    next.restart_count = 2;
    next.mounts = vec![at("out", BoundMount { path: "/s".to_owned(), ..cache() })];
    let error = docker.create(&next).await.expect_err("it leads out");
    assert_eq!(
        error,
        EngineError::Config {
            message: "failed to prepare subPath for volumeMount \"cache\" of container \"c0\": subPath \"out\" leads out of the volume"
                .to_owned()
        }
    );
}

#[tokio::test]
async fn last_words_are_told_once_and_their_file_goes_with_the_container() {
    let bed = Bed::new("words");
    let docker = bed.docker();
    let message = async |spec: &CreateSpec| {
        bed.ends(&docker, spec).await;
        let (id, found) = bed.find(&docker, &spec.name).await;
        let ContainerState::Exited { message, .. } = found.state else { panic!("{found:?}") };
        docker.remove(&id).await.expect("removed");
        message
    };
    let mut spec = script(&bed.spec("words"), "echo log; printf 'my last words' > /dev/termination-log");
    spec.security.user = Some(1000);
    assert_eq!(message(&spec).await, "my last words");
    let folder = bed.state.path().join("volumes/test/words/messages");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0, "nobody reads it again");
    assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);

    let own = TerminationMessage {
        path: "/tmp/words".to_owned(),
        policy: TerminationMessagePolicy::FallbackToLogsOnError,
    };
    let with = |text: &str| CreateSpec { termination_message: Some(own.clone()), ..script(&spec, text) };
    assert_eq!(message(&with("echo log; printf words > /tmp/words; exit 1")).await, "words");
    assert_eq!(message(&with("echo log; exit 0")).await, "");
    let many = message(&with("seq 1 1000; exit 1")).await;
    assert!(many.starts_with("921\n") && many.ends_with("1000\n"), "the last 80 lines: {many}");
    let long = message(&with("for i in 1 2 3 4; do printf '%01000d' 7; done; exit 1")).await;
    assert_eq!(long.len(), 2048);
}
