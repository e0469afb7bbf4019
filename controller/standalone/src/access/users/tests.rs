use std::os::unix::fs::PermissionsExt as _;

use super::super::roster::{RosterError, add, list, remove};
use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.yaml");
    (folder, path)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("closed");
}

/// A file with these lines below the name of one viewer.
fn one_user(name: &str, rest: &str) -> String {
    format!("users:\n- name: {name}\n  tokenSHA256: {}\n{rest}", token_sha256(name))
}

#[test]
fn who_is_added_is_found_until_removed() {
    let (_folder, path) = folder();
    let users = Users::open(path.clone()).expect("no file is no user");
    let eddy = add(&path, "eddy", UserRole::Editor, &["plant-a".to_owned()]).expect("added");
    let no = add(&path, "no", UserRole::Viewer, &[]).expect("added");
    let root = add(&path, "root@plant", UserRole::Admin, &[]).expect("added");
    assert!(eddy.starts_with("skerry_") && eddy.len() == 50, "{eddy}");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(!text.contains(&eddy) && !text.contains(&no), "no token is kept");
    assert_eq!(fs::metadata(&path).expect("the file").mode() & 0o777, 0o600);

    let later = Instant::now() + LOOK_INTERVAL;
    let found = users.find_at(&eddy, later).expect("eddy");
    assert_eq!(found.name, "eddy");
    assert_eq!(found.groups, ["system:authenticated"]);
    assert_eq!(found.role, Role::Editor { namespaces: ["plant-a".to_owned()].into() });
    assert_eq!(users.find_at(&no, later).expect("no").role, Role::Viewer);
    let root = users.find_at(&root, later).expect("root");
    assert_eq!(
        (&root.role, root.groups.join(" ").as_str()),
        (&Role::Admin, "system:masters system:authenticated")
    );

    remove(&path, "eddy").expect("removed");
    assert!(users.find_at(&eddy, later).is_some(), "no look within the second");
    assert!(users.find_at(&eddy, later + LOOK_INTERVAL).is_none());
    assert!(users.find_at(&no, later + LOOK_INTERVAL).is_some());
    let names: Vec<String> = list(&path).expect("listed").into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["no", "root@plant"]);
    fs::remove_file(&path).expect("removed");
    assert!(users.find_at(&no, later + LOOK_INTERVAL * 2).is_none(), "no file is no user");
}

#[test]
fn a_broken_file_leaves_the_users_of_before() {
    let (_folder, path) = folder();
    write(&path, &one_user("vera", "  role: viewer\n"));
    let users = Users::open(path.clone()).expect("a file");
    let mut now = Instant::now();
    let mut find = |token: &str| {
        now += LOOK_INTERVAL;
        users.find_at(token, now).map(|found| found.name.clone())
    };
    write(&path, "users: [");
    assert_eq!(find("vera").as_deref(), Some("vera"));
    write(&path, &one_user("eve", "  role: viewer\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("opened up");
    assert_eq!(find("vera").as_deref(), Some("vera"));
    assert_eq!(find("eve"), None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
    assert_eq!(find("vera"), None);
    assert_eq!(find("eve").as_deref(), Some("eve"));
    assert_eq!(find(""), None);
    assert_eq!(find(&"x".repeat(MAX_TOKEN + 1)), None);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let (_folder, path) = folder();
    let twice = |second: &str| {
        format!(
            "{}{}",
            one_user("a", "  role: admin\n"),
            one_user(second, "  role: admin\n").replace("users:\n", "")
        )
    };
    let same_token = twice("a").replacen("- name: a", "- name: b", 1);
    for (text, place) in [
        ("users: [".to_owned(), "line 2 column 1"),
        ("people: []".to_owned(), "unknown field `people`"),
        ("[]".to_owned(), "users.yaml is not a list of users"),
        (one_user("a", "  role: viewer\n  colour: red\n"), "line 5"),
        (one_user("a", "  role: viewer\n  colour: red\n"), "unknown field `colour`"),
        (
            one_user("a", "  role: boss\n"),
            "unknown variant `boss`, expected one of `admin`, `viewer`, `editor`",
        ),
        (one_user("a", "  role: viewer\n  role: admin\n"), "duplicate"),
        (one_user("a", ""), "missing field `role`"),
        (one_user("'a b'", "  role: viewer\n"), "users[0].name"),
        (one_user("system:masters", "  role: viewer\n"), "users[0].name"),
        (one_user("''", "  role: viewer\n"), "users[0].name"),
        (one_user("a", "  role: editor\n"), "users[0].namespaces: editor \"a\" needs at least one"),
        (one_user("a", "  role: viewer\n  namespaces: [b]\n"), "users[0].namespaces: \"a\" is no editor"),
        (
            one_user("a", "  role: editor\n  namespaces: [b, '*']\n"),
            "\"*\" cannot be the name of a namespace",
        ),
        ("users: [{name: a, role: admin, tokenSHA256: abc}]".to_owned(), "users[0].tokenSHA256"),
        (
            format!("users: [{{name: a, role: admin, tokenSHA256: {}}}]", "g".repeat(64)),
            "users[0].tokenSHA256",
        ),
        (
            format!("users: [{{name: a, role: admin, tokenSHA256: {}}}]", "é".repeat(32)),
            "users[0].tokenSHA256",
        ),
        (twice("a"), "users[1].name: \"a\" is the name of users[0], too"),
        (same_token, "users[1].tokenSHA256: users[0] has the same token"),
    ] {
        write(&path, &text);
        let error = Users::open(path.clone()).expect_err(&text);
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let text_of_error = format!("{error}: {source}");
        assert!(text_of_error.contains(place), "{text_of_error}\nfor\n{text}");
    }
    for text in ["", "# nobody\n", "users: []\n", "\u{feff}users:\n", &one_user("a", "  role: viewer\n")] {
        write(&path, text);
        Users::open(path.clone()).unwrap_or_else(|error| panic!("{error} for {text:?}"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
    let error = Users::open(path).expect_err("others may read it");
    assert!(error.to_string().contains("(mode 644); `chmod 600` it"), "{error}");
}

#[test]
fn nothing_is_written_that_could_not_be_read() {
    let (folder, path) = folder();
    assert!(matches!(add(&path, "a b", UserRole::Viewer, &[]), Err(RosterError::Users(_))));
    assert!(matches!(add(&path, "a", UserRole::Editor, &[]), Err(RosterError::Users(_))));
    assert!(!path.exists());
    add(&path, "a", UserRole::Viewer, &[]).expect("added");
    let before = fs::read_to_string(&path).expect("the file");
    assert!(matches!(add(&path, "a", UserRole::Admin, &[]), Err(RosterError::Exists(_))));
    assert!(matches!(remove(&path, "b"), Err(RosterError::Unknown(_))));
    assert_eq!(fs::read_to_string(&path).expect("the file"), before);
    drop(folder);
}

#[test]
fn all_who_are_added_at_once_are_there() {
    let (_folder, path) = folder();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || add(path, &format!("user-{number}"), UserRole::Viewer, &[]).expect("added"));
        }
    });
    assert_eq!(list(&path).expect("listed").len(), 8);
}
