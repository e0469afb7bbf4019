//! A container's texts with their variables expanded, in kubelet's order: the environment from top to bottom, each value seeing those
//! above it; then command, arguments and sub-paths, seeing all of it.

use std::collections::BTreeMap;

use super::super::app::AppView;
use super::super::claims::RECHECK;
use super::super::standing::Standing;
use crate::expand::{EXPANDED_MAX, TooLarge, expand};
use crate::unit::Unit;
use crate::{Container, EnvValue, Monotonic, Network, Role, Sensitive};

/// What a container is created with, nothing left to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    pub command: Vec<Sensitive>,
    pub args: Vec<Sensitive>,
    /// Names are unique; of two the later counted.
    pub env: Vec<(String, Sensitive)>,
    /// One for each mount.
    pub sub_paths: Vec<String>,
}

/// Why there are no texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritten {
    /// The app's network has no address yet.
    NoAddress {
        wake: Option<Monotonic>,
    },
    TooLarge(TooLarge),
}

pub fn texts(view: &AppView<'_>, unit: &Unit<'_>) -> Result<Texts, Unwritten> {
    let Some(container) = unit.container else { return Ok(Texts::default()) };
    // A box without a network has no address to tell.
    let host_ip = view.desired.host.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let needs_address = container.env.iter().any(|var| var.value == EnvValue::PodIp);
    let pod_ip = match needs_address {
        true => pod_ip(view, &host_ip)?,
        false => String::new(),
    };
    expanded(container, &host_ip, &pod_ip).map_err(Unwritten::TooLarge)
}

/// The address of the sandbox: an app whose containers ask for it has one.
fn pod_ip(view: &AppView<'_>, host_ip: &str) -> Result<String, Unwritten> {
    if view.app.network == Network::Host {
        return Ok(host_ip.to_owned());
    }
    let sandbox = view.sorted.units.first().filter(|stood| stood.unit.role == Role::Sandbox);
    match sandbox.map(|stood| &stood.standing) {
        Some(Standing::Serving(found)) => match found.container.ip {
            Some(ip) => Ok(ip.to_string()),
            // It may have been looked at in the moment of its start.
            None => Err(Unwritten::NoAddress { wake: Some(view.now.after(RECHECK)) }),
        },
        Some(Standing::Ended(_) | Standing::Created(_) | Standing::Absent { .. }) | None => {
            Err(Unwritten::NoAddress { wake: None })
        }
    }
}

fn expanded(container: &Container, host_ip: &str, pod_ip: &str) -> Result<Texts, TooLarge> {
    let mut room = EXPANDED_MAX;
    let mut env: Vec<(String, Sensitive)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for var in &container.env {
        let value = match &var.value {
            EnvValue::Literal(text) => take(&mut room, text, &env, &index)?,
            EnvValue::Resolved(text) => text.clone(),
            EnvValue::Secret(Sensitive(text)) => text.clone(),
            EnvValue::HostIp => host_ip.to_owned(),
            EnvValue::PodIp => pod_ip.to_owned(),
        };
        match index.get(var.name.as_str()) {
            Some(at) => env[*at].1 = Sensitive(value),
            None => {
                index.insert(&var.name, env.len());
                env.push((var.name.clone(), Sensitive(value)));
            }
        }
    }
    let mut all = |texts: &[String]| -> Result<Vec<Sensitive>, TooLarge> {
        texts.iter().map(|text| take(&mut room, text, &env, &index).map(Sensitive)).collect()
    };
    let (command, args) = (all(&container.command)?, all(&container.args)?);
    let sub_paths = container.mounts.iter().map(|mount| match mount.sub_path_expands {
        true => take(&mut room, &mount.sub_path, &env, &index),
        false => Ok(mount.sub_path.clone()),
    });
    let sub_paths = sub_paths.collect::<Result<_, _>>()?;
    Ok(Texts { command, args, env, sub_paths })
}

fn take(
    room: &mut usize,
    text: &str,
    env: &[(String, Sensitive)],
    index: &BTreeMap<&str, usize>,
) -> Result<String, TooLarge> {
    let value = expand(text, *room, |name| index.get(name).map(|at| env[*at].1.0.as_str()))?;
    *room = room.saturating_sub(value.len());
    Ok(value)
}
