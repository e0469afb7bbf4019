//! What the apps of the simulation are: a few versions that differ in all that matters for the way of a set to the box.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use skerry_agent_core::{AppSpec, Container, DesiredApp, Port, Protocol, Switch, ValidApp};
use skerry_controller_core::placement::{App, Content};
use skerry_terms::{AppKey, Payload};

use crate::model::Life;

pub const APPS: usize = 3;
pub const VERSIONS: u8 = 6;
/// Understood by no agent.
pub const UNSUPPORTED: u8 = 5;
/// Its container ends as soon as it has begun, as long as the box is ill.
pub const CRASHING: u8 = 4;
/// The name of that container.
pub const CRASHING_CONTAINER: &str = "crashing";

pub fn app_key(app: usize) -> AppKey {
    AppKey::new("plant-a", &format!("a{app}")).expect("a key")
}

pub fn image(version: u8) -> String {
    format!("img:{version}")
}

pub fn revision(key: &AppKey, version: u8) -> String {
    format!("{}-{version}", key.name())
}

/// As it travels: the simulation's own encoding, which the cores do not look into either.
pub fn payload(key: &AppKey, version: u8) -> Payload {
    format!("{key} {version}").into_bytes().into()
}

/// As the agent reads it.
pub fn desired_app(key: &AppKey, payload: &Payload) -> Result<DesiredApp> {
    let text = std::str::from_utf8(payload)?;
    let version: u8 = text.rsplit_once(' ').context("a version")?.1.parse()?;
    let revision = revision(key, version);
    if version == UNSUPPORTED {
        return Ok(DesiredApp::Unsupported { revision, why: "it needs a newer agent".to_owned() });
    }
    let one = |name: &str| Ok::<_, anyhow::Error>(Container::new(name.parse()?, image(version)));
    let containers = match version {
        2 => vec![one("main")?, one("side")?],
        3 => {
            let number = NonZeroU16::new(8000 + u16::from(key.name().as_bytes()[1]));
            let port = number.map(|host| Port {
                container_port: host,
                protocol: Protocol::Tcp,
                host_port: Some(host),
                host_ip: None,
            });
            vec![Container { ports: port.into_iter().collect(), ..one("main")? }]
        }
        CRASHING => vec![one(CRASHING_CONTAINER)?],
        _ => vec![one("main")?],
    };
    let progress_deadline = if version >= 1 { Duration::from_secs(60) } else { Duration::ZERO };
    let switch = if version == 1 { Switch::StartFirst } else { Switch::StopFirst };
    let spec = AppSpec::new(key.clone(), revision, containers);
    Ok(DesiredApp::Valid(ValidApp::new(AppSpec { progress_deadline, switch, ..spec })?))
}

/// As the controller has it. The first app goes to every node, the others to those of one site.
pub fn placed_app(key: &AppKey, uid: &str, generation: i64, created: i64, version: u8) -> Result<App> {
    let selector = match key.name() {
        "a0" => "{}".to_owned(),
        "a1" => r#"{"matchLabels": {"site": "s1"}}"#.to_owned(),
        _ => r#"{"matchExpressions": [{"key": "site", "operator": "NotIn", "values": ["s2"]}]}"#.to_owned(),
    };
    let json = format!(
        r#"{{"placement": {{"nodeSelector": {selector}}},
            "template": {{"spec": {{"containers": [{{"name": "main", "image": "{}"}}]}}}}}}"#,
        image(version)
    );
    Ok(App {
        key: key.clone(),
        uid: uid.to_owned(),
        generation,
        created,
        trouble: None,
        content: Some(Content {
            revision: revision(key, version),
            payloads: vec![payload(key, version)],
            spec: Arc::new(serde_json::from_str(&json)?),
        }),
    })
}

/// What the processes on an ill box do.
pub fn ill() -> impl Iterator<Item = (String, Life)> {
    std::iter::once((CRASHING_CONTAINER.to_owned(), Life::Ends(1)))
}
