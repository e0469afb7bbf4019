use std::os::unix::fs::PermissionsExt as _;

use super::super::authority::tests::Shelf;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn authority() -> Arc<Authority> {
    Arc::new(Authority::load_or_make(&Shelf::default(), SystemTime::now()).expect("an authority"))
}

fn admin(folder: &Path, authority: &Arc<Authority>, listen: &str) -> AdminKubeconfig {
    let endpoint = Endpoint::of(listen.parse().expect("an address"));
    AdminKubeconfig::new(folder.join("admin.kubeconfig"), endpoint, authority.clone())
}

fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join("admin.kubeconfig")).expect("the file")
}

#[test]
fn clients_on_this_machine_find_the_server() {
    for (listen, url) in [
        ("127.0.0.1:6443", "https://127.0.0.1:6443"),
        ("0.0.0.0:1", "https://127.0.0.1:1"),
        ("[::]:6443", "https://[::1]:6443"),
        ("[::ffff:10.0.0.1]:6443", "https://10.0.0.1:6443"),
        ("[fd00::1]:6443", "https://[fd00::1]:6443"),
    ] {
        assert_eq!(Endpoint::of(listen.parse().expect("an address")).url(), url);
    }
}

#[test]
fn the_file_is_written_once_and_again_when_something_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, now) = (authority(), SystemTime::now());
    let renew_at = admin(folder.path(), &first, "127.0.0.1:6443").refresh(now).expect("written");
    assert!(renew_at > now + DAY * 240 && renew_at < now + DAY * 245, "{renew_at:?}");
    let written = text(folder.path());
    let mode = fs::metadata(folder.path().join("admin.kubeconfig")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = admin(folder.path(), &first, "127.0.0.1:6443");
    again.refresh(now + DAY * 240).expect("read");
    assert_eq!(text(folder.path()), written, "nothing has changed");

    again.refresh(now + DAY * 250).expect("written");
    let renewed = text(folder.path());
    assert_ne!(renewed, written, "the last third");
    again.refresh(now).expect("written");
    let early = text(folder.path());
    assert_ne!(early, renewed, "a certificate of the future");
    admin(folder.path(), &first, "127.0.0.1:6444").refresh(now).expect("written");
    let moved = text(folder.path());
    assert_ne!(moved, early, "another address");
    admin(folder.path(), &authority(), "127.0.0.1:6444").refresh(now).expect("written");
    assert_ne!(text(folder.path()), moved, "another authority");
}

#[test]
fn what_others_may_read_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, now) = (authority(), SystemTime::now());
    let kept = admin(folder.path(), &authority, "127.0.0.1:6443");
    kept.refresh(now).expect("written");
    let path = folder.path().join("admin.kubeconfig");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
    kept.refresh(now).expect("closed");
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn entries_of_others_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, now) = (authority(), SystemTime::now());
    let kept = admin(folder.path(), &authority, "127.0.0.1:6443");
    kept.refresh(now).expect("written");
    let mut file: Value = serde_yaml::from_str(&text(folder.path())).expect("YAML");
    let other = json!({"name": "other", "context": {"cluster": "other", "user": "other", "namespace": "no"}});
    file["contexts"].as_array_mut().expect("a list").push(other.clone());
    file["contexts"][0]["context"]["namespace"] = "plant-a".into();
    file["current-context"] = "other".into();
    file["preferences"] = json!({"colors": true});
    fs::write(folder.path().join("admin.kubeconfig"), yaml::text(&file)).expect("edited");
    let edited = text(folder.path());
    kept.refresh(now).expect("read");
    assert_eq!(text(folder.path()), edited, "nothing of ours has changed");
    kept.refresh(now + DAY * 300).expect("written");
    let renewed: Value = serde_yaml::from_str(&text(folder.path())).expect("YAML");
    assert_eq!(renewed["contexts"], file["contexts"]);
    assert_eq!(renewed["current-context"], "other");
    assert_eq!(renewed["preferences"], file["preferences"]);
    assert_ne!(renewed["users"], file["users"]);
}

#[test]
fn a_file_that_is_none_is_replaced_and_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = admin(folder.path(), &authority(), "127.0.0.1:6443");
    for (broken, is_aside) in [("a: [", true), ("", false), ("- 1", false), ("users: 7\nclusters: {}", false)]
    {
        fs::write(folder.path().join("admin.kubeconfig"), broken).expect("broken");
        kept.refresh(SystemTime::now()).expect("written");
        let file: Value = serde_yaml::from_str(&text(folder.path())).expect("YAML");
        assert!(kept.valid_until(&file, SystemTime::now()).is_some(), "{broken:?}");
        let aside = folder.path().join("admin.kubeconfig.unreadable");
        assert_eq!(fs::read_to_string(&aside).ok().as_deref(), is_aside.then_some(broken));
        let _ = fs::remove_file(aside);
    }
}

#[test]
fn a_user_gets_a_file_with_the_token_and_nothing_of_the_admins() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.kubeconfig");
    let early = for_user(&path, None, "eddy", "t", None);
    assert!(matches!(early, Err(KubeconfigError::NoServer(_))), "{early:?}");
    admin(folder.path(), &authority(), "127.0.0.1:6443").refresh(SystemTime::now()).expect("written");
    let file =
        for_user(&path, Some("https://skerry.example:6443"), "eddy", "skerry_t", Some("no")).expect("a file");
    let admins: Value = serde_yaml::from_str(&text(folder.path())).expect("YAML");
    let file: Value = serde_yaml::from_str(&file).expect("YAML");
    assert_eq!(file["users"], json!([{"name": "eddy", "user": {"token": "skerry_t"}}]));
    assert_eq!(
        file["contexts"][0]["context"],
        json!({"cluster": "skerry", "user": "eddy", "namespace": "no"})
    );
    let ca = "certificate-authority-data";
    assert_eq!(file["clusters"][0]["cluster"][ca], admins["clusters"][0]["cluster"][ca]);
    assert_eq!(file["clusters"][0]["cluster"]["server"], "https://skerry.example:6443");
    let plain = for_user(&path, Some("http://x"), "eddy", "t", None);
    assert!(matches!(plain, Err(KubeconfigError::NoUrl(_))), "{plain:?}");
}
