//! One look at the box: list, inspect what changed, ask for the images that a plan would need. All or nothing: a look that failed in
//! any part is no look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum, EndpointSettings, PortSummary, PortSummaryTypeEnum,
};
use futures::{StreamExt, TryStreamExt, stream};
use skerry_agent_core::{
    ContainerId, ContainerState, Desired, DesiredApp, HostPort, ImageId, ObservedContainer, Owner, Ownership,
    PortClaim, Protocol, Resources, Role, WallMillis, World, images_to_inspect,
};
use skerry_terms::{AppKey, NodeName, labels};
use tracing::warn;

use super::create::prepare::off_thread;
use super::docker::{ASK_TIMEOUT, Docker, bounded, lock};
use super::inspect::{Details, details};
use super::refusal::{NOT_FOUND, status};
use super::{EngineError, last_words, listeners, transport, volumes};

/// Calls under way at once: enough to hide Docker's latency, few enough for a small box.
const CALLS: usize = 8;
/// Docker describes a container from memory, unless that container is stuck: then the others must not wait for it long.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What containers leave behind that somebody else removed is a few small files a day.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

pub(super) async fn observe(docker: &Docker, desired: &Desired) -> Result<World, EngineError> {
    let client = docker.client().await?;
    lock(&docker.inspected).begin();
    let mut gone = volumes::pinned(&docker.folders);
    let (mut held, mut listed) = (Vec::new(), Vec::new());
    let take = |summary| match pin(&desired.node, &summary) {
        Some(pin) => {
            held.push(pin);
            Ok(())
        }
        None => read(docker, &desired.node, summary).map(|container| listed.push(container)),
    };
    bounded(ASK_TIMEOUT, transport::list(&client, &docker.socket, "/containers/json?all=true", take)).await?;
    let pins = held.into_iter().collect();
    let inspected: Vec<(Listed, Seen)> = stream::iter(listed)
        .map(|listed| inspect(docker, &client, listed))
        .buffered(CALLS)
        .try_collect()
        .await?;

    let mut containers = BTreeMap::new();
    let mut known = HashMap::new();
    let mut unclear = BTreeMap::new();
    for (listed, seen) in inspected {
        let Listed { id, state, mut container } = listed;
        match seen {
            Seen::Gone => continue,
            Seen::Foreign => {}
            Seen::Ours(details) => {
                container.state = details.state.clone();
                container.resources = lock(&docker.inspected).resources(&id, &details, docker.machine.cores);
                container.host_network = details.host_network;
                container.joined.clone_from(&details.joined);
                known.insert(id.0.clone(), (state, details));
            }
            Seen::Unclear(why) => {
                if let Some(owner) = container.ownership() {
                    unclear.insert(owner.app.clone(), why);
                }
            }
        }
        containers.insert(id, container);
    }
    lock(&docker.inspected).end(known, |id| containers.contains_key(&ContainerId(id.to_owned())));

    gone.retain(|name| !containers.values().any(|container| name == container.name.as_str()));
    if !gone.is_empty() {
        let folders = docker.folders.clone();
        off_thread(move || {
            volumes::unpin(&folders, &gone);
            Ok(())
        })
        .await?;
    }

    if docker.folders.are_tidied() && unclear.is_empty() && sweep_is_due(docker) {
        let (folders, containers) = (docker.folders.clone(), containers.clone());
        off_thread(move || {
            volumes::sweep(&folders, &containers, SystemTime::now());
            Ok(())
        })
        .await?;
    }

    let wanted = images_to_inspect(desired, &containers);
    // Only a start can meet a port that is taken.
    let listeners = match !wanted.is_empty() && asks_for_ports(desired) {
        true => listeners::read(),
        false => BTreeSet::new(),
    };
    let images = stream::iter(wanted)
        .map(async |image| -> Result<_, EngineError> {
            let present = bounded(ASK_TIMEOUT, async {
                match client.inspect_image(&image).await {
                    Ok(found) => Ok(Some(ImageId(found.id.unwrap_or_else(|| image.clone())))),
                    // Also what is no image's name: the pull says so in Docker's words, and only its own app fails.
                    Err(error) if status(&error).is_some_and(|code| (400..500).contains(&code)) => Ok(None),
                    Err(error) => Err(error),
                }
            });
            let present = present.await?;
            Ok((image, present))
        })
        .buffered(CALLS)
        .try_collect()
        .await?;
    Ok(World {
        containers,
        images,
        pins,
        unclear,
        cores: docker.machine.cores,
        listeners,
        kept: volumes::kept(&docker.folders),
    })
}

/// At most so often, and only with a look that is made anyway: a box at rest leaves nothing behind.
fn sweep_is_due(docker: &Docker) -> bool {
    let mut swept = lock(&docker.swept);
    let is_due = swept.is_none_or(|swept| swept.elapsed() >= SWEEP_INTERVAL);
    if is_due {
        *swept = Some(Instant::now());
    }
    is_due
}

fn asks_for_ports(desired: &Desired) -> bool {
    desired.apps.values().any(|app| match app {
        DesiredApp::Valid(app) => app.host_ports().next().is_some(),
        DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. } => false,
    })
}

/// A container of this node's that does nothing but hold its image.
fn pin(node: &NodeName, summary: &ContainerSummary) -> Option<(ContainerId, ImageId)> {
    let found = summary.labels.as_ref()?;
    let ours = found.get(labels::NODE).is_some_and(|name| name == node.as_str());
    let holds = found.get(labels::PIN).filter(|_| ours)?;
    Some((ContainerId(summary.id.clone()?), ImageId(holds.clone())))
}

/// A container as the list shows it.
struct Listed {
    id: ContainerId,
    /// The list's word for the state.
    state: String,
    /// For one of ours, the state lacks what only an inspection tells.
    container: ObservedContainer,
}

/// Fails in words where an entry makes no sense: then the whole list says nothing.
fn read(docker: &Docker, node: &NodeName, summary: ContainerSummary) -> Result<Listed, String> {
    let missing = |what: &str| format!("docker lists a container without {what}");
    let id = summary.id.filter(|id| !id.is_empty()).ok_or_else(|| missing("an id"))?;
    let listed = summary.state.ok_or_else(|| missing("a state"))?;
    // A container that others link to has several names; its own has no second slash.
    let names = summary.names.unwrap_or_default();
    let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
    let name = name.unwrap_or_default().to_owned();
    let labels = summary.labels.unwrap_or_default();
    let owner = match owner(node, &labels) {
        Ok(owner) => owner,
        Err(why) => {
            if lock(&docker.inspected).warned.insert(id.clone()) {
                warn!("container {name} has our label {} but {why}: it is left alone", labels::NODE);
            }
            Owner::Foreign
        }
    };
    let created = WallMillis(summary.created.unwrap_or(0).saturating_mul(1000));
    let mut container = ObservedContainer {
        name,
        owner,
        image: summary.image_id.filter(|id| !id.is_empty()).map(ImageId),
        state: foreign_state(listed, created),
        ports: ports(summary.ports.unwrap_or_default()),
        host_network: false,
        joined: None,
        ip: summary
            .network_settings
            .and_then(|settings| settings.networks)
            .and_then(|networks| networks.values().find_map(address)),
        resources: Resources::default(),
        devices: labels
            .get(labels::DEVICES)
            .and_then(|counts| serde_json::from_str(counts).ok())
            .unwrap_or_default(),
    };
    if container.ownership().is_none() {
        // What its image says of itself.
        container.devices.clear();
    }
    set_network(&mut container, &summary.host_config.and_then(|host| host.network_mode).unwrap_or_default());
    Ok(Listed { id: ContainerId(id), state: listed.to_string(), container })
}

/// What is known of a listed container.
enum Seen {
    Foreign,
    Ours(Details),
    /// It vanished since the list was made.
    Gone,
    /// Docker lists it and cannot describe it.
    Unclear(String),
}

/// Details of one of ours. One container that Docker cannot describe must not hide the others.
async fn inspect(
    docker: &Docker,
    client: &bollard::Docker,
    listed: Listed,
) -> Result<(Listed, Seen), EngineError> {
    if listed.container.owner == Owner::Foreign {
        return Ok((listed, Seen::Foreign));
    }
    if let Some(details) = lock(&docker.inspected).get(&listed.id.0, &listed.state) {
        return Ok((listed, Seen::Ours(details)));
    }
    let response = bounded(INSPECT_TIMEOUT, async {
        match client.inspect_container(&listed.id.0, None).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let seen = match response.await {
        Ok(Some(response)) => {
            let read = details(response, docker.machine.cores, |path| docker.folders.is_message(path));
            match read {
                Ok(details) => Ok(Seen::Ours(with_last_words(client, &listed.id, details).await)),
                Err(error) => Err(error),
            }
        }
        Ok(None) => Ok(Seen::Gone),
        Err(error) => Err(error),
    };
    let seen = seen.or_else(|error| match error {
        EngineError::Unavailable { .. } => Err(error),
        EngineError::PortTaken { .. }
        | EngineError::NoImage { .. }
        | EngineError::Config { .. }
        | EngineError::Mount { .. }
        | EngineError::Refused { .. }
        | EngineError::TimedOut { .. } => {
            Ok(Seen::Unclear(format!("docker cannot describe container {}: {error}", listed.container.name)))
        }
    })?;
    Ok((listed, seen))
}

/// What a container that ended had to say. Kept with the details, so that it is read once.
async fn with_last_words(client: &bollard::Docker, id: &ContainerId, mut details: Details) -> Details {
    if let ContainerState::Exited { message, exit_code, .. } = &mut details.state {
        *message = details.message.as_deref().map(last_words::of_file).unwrap_or_default();
        if message.is_empty() && details.falls_back_to_log && *exit_code != 0 {
            *message = last_words::of_log(client, &id.0).await;
        }
    }
    details
}

/// A container's address in one of its networks.
pub(super) fn address(network: &EndpointSettings) -> Option<IpAddr> {
    let parse = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
    parse(&network.ip_address).or_else(|| parse(&network.global_ipv6_address))
}

fn set_network(container: &mut ObservedContainer, mode: &str) {
    container.host_network = mode == "host";
    container.joined = mode.strip_prefix("container:").map(str::to_owned);
}

/// Only whether it is alive is asked of a container that is not ours.
fn foreign_state(listed: ContainerSummaryStateEnum, created: WallMillis) -> ContainerState {
    match listed {
        ContainerSummaryStateEnum::RUNNING
        | ContainerSummaryStateEnum::RESTARTING
        | ContainerSummaryStateEnum::STOPPING => ContainerState::Running { started_at: created },
        ContainerSummaryStateEnum::PAUSED => ContainerState::Paused { started_at: created },
        ContainerSummaryStateEnum::CREATED
        | ContainerSummaryStateEnum::EXITED
        | ContainerSummaryStateEnum::EMPTY => ContainerState::Created,
        ContainerSummaryStateEnum::REMOVING => ContainerState::Removing,
        ContainerSummaryStateEnum::DEAD => ContainerState::Dead,
    }
}

/// Whose container it is. Fails when it carries our node's label and the others make no sense: then nobody knows, and it is not touched.
fn owner(node: &NodeName, found: &HashMap<String, String>) -> Result<Owner, String> {
    if found.get(labels::NODE).map(String::as_str) != Some(node.as_str()) {
        return Ok(Owner::Foreign);
    }
    let get = |key: &str| found.get(key).ok_or_else(|| format!("no label {key}"));
    let app = AppKey::new(get(labels::NAMESPACE)?, get(labels::APP)?).map_err(|error| error.to_string())?;
    let role = match get(labels::CONTAINER)?.as_str() {
        labels::SANDBOX => Role::Sandbox,
        name => Role::Container(name.parse().map_err(|error: skerry_terms::NameError| error.to_string())?),
    };
    let number = |label: &'static str| {
        move |text: &String| text.parse().map_err(|_| format!("a label {label} that is no number"))
    };
    Ok(Owner::Ours(Ownership {
        app,
        role,
        revision: found.get(labels::REVISION).cloned().unwrap_or_default(),
        hash: found.get(labels::SPEC_HASH).and_then(|hash| hash.parse().ok()),
        restart_count: found
            .get(labels::RESTART_COUNT)
            .map(number(labels::RESTART_COUNT))
            .transpose()?
            .unwrap_or(0),
        stop_rank: found.get(labels::STOP_RANK).map(number(labels::STOP_RANK)).transpose()?.unwrap_or(0),
    }))
}

/// Docker lists a port once per address family; ports that are exposed only have no public port.
fn ports(listed: Vec<PortSummary>) -> Vec<PortClaim> {
    let claim = |port: PortSummary| {
        let protocol = match port.typ? {
            PortSummaryTypeEnum::TCP => Protocol::Tcp,
            PortSummaryTypeEnum::UDP => Protocol::Udp,
            PortSummaryTypeEnum::SCTP => Protocol::Sctp,
            PortSummaryTypeEnum::EMPTY => return None,
        };
        let number = NonZeroU16::new(port.public_port?)?;
        let ip = port.ip.and_then(|ip| ip.parse().ok()).and_then(listeners::host_ip);
        Some(PortClaim(HostPort { protocol, port: number, ip }))
    };
    let claims: BTreeSet<PortClaim> = listed.into_iter().filter_map(claim).collect();
    claims.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_a_container_with_this_nodes_labels_is_ours() {
        let node: NodeName = "box-7".parse().expect("a name");
        let full = [
            (labels::NODE, "box-7"),
            (labels::NAMESPACE, "a"),
            (labels::APP, "b"),
            (labels::CONTAINER, "POD"),
            (labels::SPEC_HASH, "not a hash"),
            (labels::RESTART_COUNT, "3"),
        ];
        let Ok(Owner::Ours(owner_found)) = owner(&node, &with(&full)) else { panic!("not ours") };
        assert_eq!((owner_found.role, owner_found.hash, owner_found.restart_count), (Role::Sandbox, None, 3));
        assert_eq!(owner(&node, &with(&[])), Ok(Owner::Foreign));
        let other: NodeName = "box-8".parse().expect("a name");
        assert_eq!(owner(&other, &with(&full)), Ok(Owner::Foreign), "of another node");
        for i in 1..4 {
            let mut garbled = full;
            garbled[i].1 = "Not A Name";
            assert!(owner(&node, &with(&garbled)).is_err(), "{:?}", garbled[i]);
            garbled[i].0 = "another";
            assert!(owner(&node, &with(&garbled)).is_err(), "without {}", full[i].0);
        }
    }

    const LISTED: &str = r#"[{"Id": "ab", "Names": ["/web"], "Image": "x", "State": "running", "Labels": {"skerry.dev/node": "box-7",
        "skerry.dev/namespace": "a", "skerry.dev/app": "web", "skerry.dev/container": "main", "skerry.dev/restart-count": "3",
        "skerry.dev/stop-rank": "0"}, "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]}]"#;

    #[test]
    fn no_list_of_containers_hurts() {
        let node: NodeName = "box-7".parse().expect("a name");
        crate::fuzz::fuzz("lists of containers", &[LISTED.into()], |bytes| {
            let Ok(list) = serde_json::from_slice::<Vec<ContainerSummary>>(bytes) else { return false };
            list.into_iter().all(|summary| {
                let ours = owner(&node, &summary.labels.unwrap_or_default());
                let claims = ports(summary.ports.unwrap_or_default());
                assert!(claims.windows(2).all(|pair| pair[0] < pair[1]), "sorted and unique");
                matches!(ours, Ok(Owner::Ours(_)))
            })
        });
    }

    #[test]
    fn a_port_on_both_address_families_is_one_claim() {
        let port = |ip: &str| PortSummary {
            ip: Some(ip.to_owned()),
            private_port: 80,
            public_port: Some(8080),
            typ: Some(PortSummaryTypeEnum::TCP),
        };
        let exposed = PortSummary { public_port: None, ..port("") };
        let claims = ports(vec![port("0.0.0.0"), port("::"), exposed]);
        assert_eq!(claims.len(), 1);
        assert_eq!((claims[0].0.port.get(), claims[0].0.ip), (8080, None));
    }
}
