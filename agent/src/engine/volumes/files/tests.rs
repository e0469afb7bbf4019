use super::*;

fn file(path: &str, mode: u32, content: &str) -> File {
    File { path: path.to_owned(), mode, content: content.as_bytes().into() }
}

/// The names in a volume's folder, without the sets of files.
fn names(volume: &Path) -> Vec<String> {
    let entries = fs::read_dir(volume).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("text")).collect();
    names.retain(|name| !name.starts_with("..2"));
    names.sort();
    names
}

fn current(volume: &Path) -> PathBuf {
    fs::read_link(volume.join(DATA)).expect("a link")
}

fn text(volume: &Path, name: &str) -> String {
    fs::read_to_string(volume.join(name)).expect("a file")
}

#[test]
fn a_volume_changes_at_once_and_only_when_something_changed() {
    let state = tempfile::tempdir().expect("a folder");
    let volume = state.path().join("volume");
    let first = [file("a", 0o644, "1"), file("dir/b", 0o400, "2"), file("dir/c", 0o644, "3")];
    write(&volume, &first, None, true).expect("written");
    assert_eq!(names(&volume), ["..data", "a", "dir"]);
    assert_eq!((text(&volume, "a"), text(&volume, "dir/b")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(fs::read_link(volume.join("dir")).expect("a link"), Path::new("..data/dir"));
    let mode = |name: &str| fs::metadata(volume.join(name)).expect("there").mode() & 0o7777;
    assert_eq!((mode("a"), mode("dir/b"), mode("dir"), mode("")), (0o644, 0o400, 0o755, 0o755));

    let before = current(&volume);
    write(&volume, &first, None, true).expect("as it is");
    assert_eq!(current(&volume), before, "nothing was written");

    write(&volume, &[file("a", 0o644, "1"), file("d", 0o600, "4")], None, true).expect("written");
    assert_ne!(current(&volume), before);
    assert!(!volume.join(&before).exists(), "the old set goes");
    assert_eq!(names(&volume), ["..data", "a", "d"], "and so do links to what is gone");

    let before = current(&volume);
    write(&volume, &[file("a", 0o600, "1"), file("d", 0o600, "4")], None, true).expect("written");
    assert_ne!(current(&volume), before, "a mode alone is a change");
    write(&volume, &[], None, true).expect("written");
    assert_eq!(names(&volume), ["..data"]);
}

#[test]
fn what_a_crash_left_behind_is_finished() {
    let state = tempfile::tempdir().expect("a folder");
    let volume = state.path().join("volume");
    write(&volume, &[file("a", 0o644, "1")], None, true).expect("written");
    // Between two steps: a set that nothing leads to, the next link, and a link to a file that was taken away.
    fs::create_dir(volume.join("..2020_01_01_00_00_00.1")).expect("made");
    symlink("..2020_01_01_00_00_00.1", volume.join(DATA_NEXT)).expect("linked");
    symlink("..data/gone", volume.join("gone")).expect("linked");
    fs::remove_file(volume.join("a")).expect("removed");
    write(&volume, &[file("a", 0o644, "1")], None, true).expect("finished");
    assert_eq!(names(&volume), ["..data", "a"]);
    assert_eq!(fs::read_dir(&volume).expect("a folder").count(), 3, "one set of files");
}

#[test]
fn the_group_may_read() {
    let state = tempfile::tempdir().expect("a folder");
    let volume = state.path().join("volume");
    write(&volume, &[file("dir/a", 0o400, "1")], Some(4321), true).expect("written");
    let found = |name: &str| {
        let found = fs::metadata(volume.join(name)).expect("there");
        (found.gid(), found.mode() & 0o7777)
    };
    assert_eq!((found("dir/a"), found("dir"), found("")), ((4321, 0o440), (4321, 0o2755), (4321, 0o2755)));
    let before = current(&volume);
    write(&volume, &[file("dir/a", 0o400, "1")], Some(4321), true).expect("as it is");
    assert_eq!(current(&volume), before);
    write(&volume, &[file("dir/a", 0o400, "1")], Some(4322), true).expect("written");
    assert_eq!(found("dir/a").0, 4322);
}

#[test]
fn no_path_leads_out_of_the_volume() {
    let state = tempfile::tempdir().expect("a folder");
    for path in ["", "/etc/x", "../x", "a/../../x", "..data", "..data/x", "./x", "x/"] {
        let error = write(&state.path().join("volume"), &[file(path, 0o644, "")], None, false);
        assert!(matches!(error, Err(VolumeError::BadName { .. })), "{path:?}: {error:?}");
    }
}

#[test]
fn secrets_are_in_memory_or_nowhere() {
    let state = tempfile::tempdir().expect("a folder");
    let app: AppKey = "a/b".parse().expect("a key");
    let projection = |secret| Projection {
        app: app.clone(),
        fs_group: None,
        volumes: vec![ProjectedVolume {
            name: "v".to_owned(),
            secret,
            files: vec![file("key", 0o644, "content")],
        }],
        digest: "0123456789abcdef".parse().expect("a hash"),
    };
    let folders = Folders::new(state.path());
    let plain = folder(&folders, &app, "v", false).expect("a path");
    project(&folders, &projection(false)).expect("written");
    assert_eq!(text(&plain, "key"), "content");

    let nowhere =
        Folders { memory_roots: vec![PathBuf::from("/proc"), PathBuf::from("/sys")], ..folders.clone() };
    let error = project(&nowhere, &projection(true)).expect_err("no memory").to_string();
    assert_eq!(
        error,
        "MountVolume.SetUp failed for volume \"v\": no memory file system for secrets: neither /proc nor /sys is a tmpfs; mount one there"
    );
    project(&folders, &projection(true)).expect("written");
    let secret = folder(&folders, &app, "v", true).expect("a path");
    assert_eq!(text(&secret, "key"), "content");
    assert!(is_memory(&secret));
    super::super::discard(&folders, &app).expect("discarded");
    assert!(!secret.exists() && !plain.exists() && !memory_home(&folders).expect("a path").exists());
}

#[test]
fn what_somebody_else_made_first_holds_no_secret() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("skerry");
    owned(&path).expect("made");
    owned(&path).expect("its own");
    for mode in [0o755, 0o770, 0o701] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        assert!(matches!(owned(&path), Err(VolumeError::NotPrivate { .. })), "{mode:o}");
    }
    let link = root.path().join("link");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("set");
    symlink(&path, &link).expect("linked");
    assert!(matches!(owned(&link), Err(VolumeError::NotPrivate { .. })));
}
