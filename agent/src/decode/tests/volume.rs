use skerry_agent_core::{HostPathType, Reclaim, Volume};

use super::*;

/// The volume `v` of this source.
fn volume_of(source: &str, config: &[ConfigObject]) -> (Volume, Vec<String>) {
    let pod = format!(r#", "volumes": [{{"name": "v", {source}}}]"#);
    let app = valid_of(&spec("", &pod), config);
    (app.volumes["v"].clone(), app.missing.clone())
}

fn volume(source: &str) -> Volume {
    volume_of(source, &[]).0
}

/// Whether the files of a volume are secret; path, mode and content of each; and what is missing.
fn files(source: &str, config: &[ConfigObject]) -> (bool, Vec<(String, u32, String)>, Vec<String>) {
    let (volume, missing) = volume_of(source, config);
    let Volume::Files { secret, files } = volume else { panic!("{volume:?}") };
    let file = |file: skerry_agent_core::File| {
        (file.path, file.mode, String::from_utf8_lossy(&file.content).into_owned())
    };
    (secret, files.into_iter().map(file).collect(), missing)
}

fn file(path: &str, mode: u32, content: &str) -> (String, u32, String) {
    (path.to_owned(), mode, content.to_owned())
}

#[test]
fn volumes_without_files_are_what_they_say() {
    assert_eq!(volume(r#""emptyDir": {}"#), Volume::EmptyDir);
    assert_eq!(volume(r#""emptyDir": {"medium": ""}"#), Volume::EmptyDir);
    assert_eq!(volume(r#""emptyDir": {"medium": "Memory"}"#), Volume::Memory { size: None });
    let limited = volume(r#""emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}"#);
    assert_eq!(limited, Volume::Memory { size: Some(1 << 20) });
    for (reclaim, expected) in [("Retain", Reclaim::Retain), ("Delete", Reclaim::Delete)] {
        let local = volume(&format!(r#""local": {{"reclaimPolicy": "{reclaim}"}}"#));
        assert_eq!(local, Volume::Local { reclaim: expected });
    }
    for (word, kind) in [
        ("", HostPathType::Unset),
        ("DirectoryOrCreate", HostPathType::DirectoryOrCreate),
        ("Directory", HostPathType::Directory),
        ("FileOrCreate", HostPathType::FileOrCreate),
        ("File", HostPathType::File),
        ("Socket", HostPathType::Socket),
        ("CharDevice", HostPathType::CharDevice),
        ("BlockDevice", HostPathType::BlockDevice),
    ] {
        let source = format!(r#""hostPath": {{"path": "/srv", "type": "{word}"}}"#);
        assert_eq!(volume(&source), Volume::HostPath { path: "/srv".to_owned(), kind });
    }
}

#[test]
fn every_key_of_an_object_is_a_file() {
    let config = [ConfigObject {
        binary_data: [("logo".to_owned(), vec![0xff, 0])].into(),
        ..config_map("c", &[("b", "2"), ("a", "1")])
    }];
    let (secret, files, missing) = files(r#""configMap": {"name": "c"}"#, &config);
    assert_eq!((secret, missing.len()), (false, 0));
    assert_eq!(files, [file("a", 0o644, "1"), file("b", 0o644, "2"), file("logo", 0o644, "\u{fffd}\0")]);
}

#[test]
fn items_choose_keys_paths_and_modes() {
    let source = r#""secret": {"secretName": "s", "defaultMode": 256, "items": [{"key": "b", "path": "deep//./b.txt"},
        {"key": "a", "path": "a", "mode": 511}]}"#;
    let (secret, files, missing) = files(source, &[self::secret("s", &[("a", "1"), ("b", "2"), ("c", "3")])]);
    assert_eq!((secret, missing.len()), (true, 0));
    assert_eq!(files, [file("a", 0o777, "1"), file("deep/b.txt", 0o400, "2")]);
}

#[test]
fn what_is_missing_is_said_and_what_is_optional_is_not() {
    for (source, messages) in [
        (r#""configMap": {"name": "none"}"#, vec!["configmap \"none\" not found"]),
        (r#""secret": {"secretName": "none"}"#, vec!["secret \"none\" not found"]),
        (r#""configMap": {"name": "none", "optional": true}"#, vec![]),
        (r#""secret": {"secretName": "none", "optional": true}"#, vec![]),
        (
            r#""configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}"#,
            vec!["configmap references non-existent config key: x (ConfigMap shop/c)"],
        ),
        (
            r#""secret": {"secretName": "s", "items": [{"key": "x", "path": "x"}]}"#,
            vec!["references non-existent secret key: x (Secret shop/s)"],
        ),
        (r#""configMap": {"name": "c", "items": [{"key": "x", "path": "x"}], "optional": true}"#, vec![]),
        (
            r#""projected": {"sources": [{"secret": {"name": "none"}}, {"configMap": {"name": "none", "optional": true}}]}"#,
            vec!["secret \"none\" not found"],
        ),
    ] {
        let (_, files, missing) = files(source, &[config_map("c", &[("k", "v")]), secret("s", &[])]);
        assert_eq!(
            (files.len(), missing),
            (0, messages.into_iter().map(str::to_owned).collect()),
            "{source}"
        );
    }
}

#[test]
fn a_volume_is_secret_even_while_its_secret_is_not_there() {
    for (source, expected) in [
        (r#""secret": {"secretName": "none", "optional": true}"#, true),
        (r#""projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "none"}}]}"#, true),
        (r#""projected": {"sources": [{"configMap": {"name": "c"}}, {"downwardAPI": {}}]}"#, false),
    ] {
        assert_eq!(files(source, &[]).0, expected, "{source}");
    }
}

#[test]
fn facts_of_the_app_are_files() {
    let source = r#""downwardAPI": {"defaultMode": 292, "items": [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}, {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}, "mode": 256},
        {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}}]}"#;
    let expected = [
        file("cpu", 0o444, "4"),
        file("labels", 0o444, "app=\"web\""),
        file("name", 0o444, "web"),
        file("note", 0o400, "hi"),
        file("notes", 0o444, "note=\"hi\""),
    ];
    assert_eq!(files(source, &[]).1, expected);
}

#[test]
fn a_later_source_of_a_projected_volume_replaces_an_earlier_one() {
    let source = r#""projected": {"defaultMode": 256, "sources": [{"configMap": {"name": "c"}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "a", "mode": 288}]}},
        {"downwardAPI": {"items": [{"path": "d/n", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}"#;
    let config = [config_map("c", &[("a", "c"), ("b", "c")]), secret("s", &[("k", "s")])];
    let (secret, files, _) = files(source, &config);
    assert!(secret);
    assert_eq!(files, [file("a", 0o440, "s"), file("b", 0o400, "c"), file("d/n", 0o400, "shop")]);
}

#[test]
fn contents_are_shared_and_not_copied() {
    let volumes: Vec<_> =
        (0..60).map(|i| format!(r#"{{"name": "v{i}", "configMap": {{"name": "c"}}}}"#)).collect();
    let pod = format!(r#", "volumes": [{}]"#, volumes.join(","));
    let app = valid_of(&spec("", &pod), &[config_map("c", &[("k", &"x".repeat(1 << 20))])]);
    let content = |volume: &Volume| {
        let Volume::Files { secret: _, files } = volume else { panic!("{volume:?}") };
        files[0].content.as_ptr()
    };
    let contents: BTreeSet<_> = app.volumes.values().map(content).collect();
    assert_eq!(contents.len(), 1);
}

#[test]
fn a_volume_that_cannot_be_honoured_says_why() {
    for (source, path) in [
        (r#""emptyDir": {"sizeLimit": "1Gi"}"#, "emptyDir.sizeLimit"),
        (r#""hostPath": {"path": "srv"}"#, "hostPath.path"),
        (r#""hostPath": {"path": "/srv/../etc"}"#, "hostPath.path"),
        (r#""configMap": {"name": "c", "defaultMode": 512}"#, "configMap.defaultMode"),
        (r#""configMap": {"name": "c", "items": [{"key": "k", "path": "../k"}]}"#, "configMap.items[0].path"),
        (r#""configMap": {"name": "c", "items": [{"key": "k", "path": "/k"}]}"#, "configMap.items[0].path"),
        (
            r#""configMap": {"name": "c", "items": [{"key": "k", "path": "..data"}]}"#,
            "configMap.items[0].path",
        ),
        (r#""configMap": {"name": "c", "items": [{"key": "k", "path": "."}]}"#, "configMap.items[0].path"),
        (
            r#""secret": {"secretName": "s", "items": [{"key": "k", "path": "k", "mode": 1000}]}"#,
            "secret.items[0].mode",
        ),
        (
            r#""projected": {"sources": [{"configMap": {"name": "c", "items": [{"key": "k", "path": "a/../b"}]}}]}"#,
            "projected.sources[0].configMap.items[0].path",
        ),
        (
            r#""downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}}]}"#,
            "downwardAPI.items[0].fieldRef.fieldPath",
        ),
        (
            r#""downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}"#,
            "downwardAPI.items[0].resourceFieldRef.containerName",
        ),
        (
            r#""downwardAPI": {"items": [{"path": "a/b", "fieldRef": {"fieldPath": "metadata.name"}},
                {"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}, {"path": "a-b", "fieldRef": {"fieldPath": "metadata.name"}}]}"#,
            "downwardAPI",
        ),
    ] {
        let pod = format!(r#", "volumes": [{{"name": "v", {source}}}]"#);
        let why = why(decoded(&encoded(&spec("", &pod), &[])));
        assert!(why.starts_with(&format!("template.volumes[0].{path}: ")), "{path}: {why}");
    }
    let twice = r#", "volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]"#;
    assert!(why(decoded(&encoded(&spec("", twice), &[]))).starts_with("template.volumes[1].name: "));
}

#[test]
fn a_key_that_would_leave_the_volume_is_refused() {
    for key in ["../k", "..data", "/k", "a/../../k", ""] {
        let pod = r#", "volumes": [{"name": "v", "configMap": {"name": "c"}}]"#;
        let why = why(decoded(&encoded(&spec("", pod), &[config_map("c", &[(key, "x")])])));
        assert!(why.starts_with("template.volumes[0].configMap.keys: "), "{key:?}: {why}");
    }
}
