use super::super::tests::spec;
use super::*;

fn as_user(
    user: Option<u32>,
    group: Option<u32>,
    non_root: bool,
    image: &str,
) -> Result<Option<String>, String> {
    let security = Security { user, group, non_root, ..Security::default() };
    let refused = |error: EngineError| {
        assert!(matches!(error, EngineError::Config { .. }), "{error:?}");
        error.to_string()
    };
    super::user(&CreateSpec { security, ..spec() }, image).map_err(refused)
}

#[test]
fn a_container_that_must_not_be_roots_is_told_apart_as_kubelet_does() {
    let refused = |why: &str| Err(format!("{why} (pod: \"b_a\", container: c)"));
    let root = "container has runAsNonRoot and image will run as root";
    assert_eq!(as_user(Some(0), None, true, ""), refused("container's runAsUser breaks non-root policy"));
    for image in ["", "0", "0:5"] {
        assert_eq!(as_user(None, None, true, image), refused(root), "{image:?}");
    }
    assert_eq!(
        as_user(None, None, true, "app"),
        refused(
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"
        )
    );
    assert_eq!(as_user(Some(7), None, true, ""), Ok(Some("7".to_owned())));
    assert_eq!(as_user(None, None, true, "7:8"), Ok(None));
    assert_eq!(as_user(Some(0), None, false, ""), Ok(Some("0".to_owned())));
}

#[test]
fn a_group_without_a_user_is_that_of_the_images_user() {
    assert_eq!(as_user(None, Some(9), false, ""), Ok(Some("0:9".to_owned())));
    assert_eq!(as_user(None, Some(9), false, "app:8"), Ok(Some("app:9".to_owned())));
    assert_eq!(as_user(Some(7), Some(9), false, ""), Ok(Some("7:9".to_owned())));
    assert_eq!(as_user(None, None, false, ""), Ok(None));
}

#[test]
fn profiles_are_read_from_their_folder_alone() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = state.path().join("seccomp");
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("good.json"), "{\n \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}").expect("written");
    fs::write(folder.join("bad.json"), "{").expect("written");
    fs::write(folder.join("large.json"), " ".repeat(300 << 10)).expect("written");
    fs::write(state.path().join("outside.json"), "{}").expect("written");
    std::os::unix::fs::symlink("../outside.json", folder.join("link.json")).expect("linked");
    let read = |name: &str| profile(&folder, &Seccomp::Localhost(name.to_owned()));
    assert_eq!(read("good.json"), Ok(Some(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_owned())));
    for name in
        ["", "..", "../outside.json", "/etc/passwd", "link.json", "bad.json", "large.json", "missing.json"]
    {
        let error = read(name).expect_err(name);
        assert!(matches!(&error, EngineError::Config { message } if message.contains(name)), "{error:?}");
    }
    assert_eq!(profile(&folder, &Seccomp::Unconfined), Ok(None));
}
