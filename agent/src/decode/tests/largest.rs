//! The largest of everything that a payload can hold, in shapes that would take quadratic time or memory if something were careless.

use wire::volume::Source;

use super::random::{full, judge};
use super::*;

/// What is wrong with the full app after this edit; empty if nothing is.
fn why(edit: impl FnOnce(&mut wire::App, &mut wire::PodTemplate)) -> String {
    let mut app = full();
    let mut template = app.template.take().expect("a template");
    template.containers[0].volume_mounts.clear();
    edit(&mut app, &mut template);
    app.template = Some(template);
    let bytes = app.encode_to_vec();
    assert!(bytes.len() <= caps::PAYLOAD_MAX, "{}", bytes.len());
    match judge(&bytes) {
        DesiredApp::Valid(_) => String::new(),
        DesiredApp::Unsupported { revision: _, why } | DesiredApp::Refused { revision: _, why } => why,
    }
}

fn many_keys(app: &mut wire::App) {
    app.config[0].data.extend((0..4000).map(|i| (format!("key-{i}"), b"v".to_vec())));
}

fn volumes(sources: impl IntoIterator<Item = Source>) -> Vec<wire::Volume> {
    let volume = |(i, source)| wire::Volume { name: format!("v{i}"), source: Some(source) };
    sources.into_iter().enumerate().map(volume).collect()
}

#[test]
fn every_container_takes_every_key_again_and_again() {
    // Under a prefix that makes no name of it: what is left out must cost, too.
    let why = why(|app, template| {
        many_keys(app);
        let reference = wire::ObjectReference { name: "c".to_owned(), optional: false };
        let source = wire::env_from_source::Source::ConfigMapRef(reference);
        let source = wire::EnvFromSource { prefix: "=".to_owned(), source: Some(source) };
        template.containers[0].env_from = vec![source; caps::LIST_MAX];
        let named = |i: usize| wire::Container { name: format!("c{i}"), ..template.containers[0].clone() };
        template.containers = (0..caps::CONTAINERS_MAX).map(named).collect();
    });
    assert!(why.contains("more than"), "{why}");
}

#[test]
fn every_volume_has_every_key_again_and_again() {
    let why = why(|app, template| {
        many_keys(app);
        let config = wire::ConfigVolume { name: "c".to_owned(), ..Default::default() };
        let source = wire::projected_source::Source::ConfigMap(config);
        let sources = vec![wire::ProjectedSource { source: Some(source) }; caps::LIST_MAX];
        let projected = Source::Projected(wire::ProjectedVolume { sources, default_mode: None });
        template.volumes = volumes(vec![projected; caps::VOLUMES_MAX]);
    });
    assert!(why.contains("more than"), "{why}");
}

#[test]
fn a_thousand_files_have_large_labels() {
    let why = why(|_, template| {
        template.labels.insert("big".to_owned(), "x".repeat(1 << 20));
        let labels = wire::downward_api_file::Source::FieldRef("metadata.labels".to_owned());
        let file =
            |i| wire::DownwardApiFile { path: format!("f{i}"), mode: None, source: Some(labels.clone()) };
        let items = (0..caps::LIST_MAX).map(file).collect();
        template.volumes =
            volumes([Source::DownwardApi(wire::DownwardApiVolume { items, default_mode: None })]);
    });
    assert!(why.contains("more than"), "{why}");
}

#[test]
fn deep_folders_are_looked_through_once() {
    let why = why(|_, template| {
        let item = |i: usize| wire::KeyToPath { key: "k".to_owned(), path: "a/".repeat(i) + "f", mode: None };
        let items = (0..1400).map(item).collect();
        let config = wire::ConfigVolume { name: "c".to_owned(), items, ..Default::default() };
        template.volumes = volumes([Source::ConfigMap(config)]);
    });
    assert_eq!(why, "");
}

#[test]
fn every_port_is_compared_with_every_other() {
    let why = why(|_, template| {
        let mut host_port = 0;
        let mut port = || {
            host_port += 1;
            wire::Port { name: "http".to_owned(), container_port: 1, host_port, ..Default::default() }
        };
        let mut container = |name: String, policy: wire::RestartPolicy| wire::Container {
            name,
            restart_policy: policy.into(),
            ports: (0..caps::PORTS_MAX).map(|_| port()).collect(),
            ..template.containers[0].clone()
        };
        let init =
            (0..caps::INIT_CONTAINERS_MAX).map(|i| container(format!("i{i}"), wire::RestartPolicy::Always));
        let init = init.collect();
        let main =
            (0..caps::CONTAINERS_MAX).map(|i| container(format!("m{i}"), wire::RestartPolicy::Unspecified));
        template.containers = main.collect();
        template.init_containers = init;
        template.volumes.clear();
    });
    assert_eq!(why, "");
}
