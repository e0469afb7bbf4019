//! Probes and hooks. Ports by name are looked up in the container's own list.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use skerry_agent_core::{Handler, Hook, HttpGet, Lifecycle, Probe, Scheme};
use skerry_proto::{caps, wire};
use wire::lifecycle_handler::Handler as HookKind;
use wire::probe::Handler as ProbeKind;

use super::text::{line, needed_port, port, shown};
use super::wrong::{Under, Wrong, check_length, chosen, each, known};

/// The ports of a container that have a name.
pub(super) type Names = BTreeMap<String, NonZeroU16>;

/// Longest host, path or header in a probe: what HTTP servers take of a header.
const LINE_MAX: usize = 8 << 10;

/// Kubernetes' defaults, for a payload that does not spell them out.
const TIMEOUT_SECONDS: u32 = 1;
const PERIOD_SECONDS: u32 = 10;
const SUCCESS_THRESHOLD: u32 = 1;
const FAILURE_THRESHOLD: u32 = 3;

pub(super) fn read(probe: wire::Probe, names: &Names) -> Result<Probe, Wrong> {
    let wire::Probe {
        handler,
        initial_delay_seconds,
        timeout_seconds,
        period_seconds,
        success_threshold,
        failure_threshold,
        termination_grace_period_seconds,
    } = probe;
    let or = |number: u32, default: u32| if number == 0 { default } else { number };
    let seconds = |number: u32| Duration::from_secs(number.into());
    Ok(Probe {
        handler: read_handler(handler, names)?,
        initial_delay: seconds(initial_delay_seconds),
        timeout: seconds(or(timeout_seconds, TIMEOUT_SECONDS)),
        period: seconds(or(period_seconds, PERIOD_SECONDS)),
        success_threshold: or(success_threshold, SUCCESS_THRESHOLD),
        failure_threshold: or(failure_threshold, FAILURE_THRESHOLD),
        grace: termination_grace_period_seconds.map(seconds),
    })
}

fn read_handler(handler: Option<ProbeKind>, names: &Names) -> Result<Handler, Wrong> {
    Ok(match chosen(handler)? {
        ProbeKind::Exec(action) => Handler::Exec { command: command(action).under("exec")? },
        ProbeKind::HttpGet(action) => Handler::Http(http_get(action, names).under("httpGet")?),
        ProbeKind::TcpSocket(wire::TcpSocketAction { port, host }) => Handler::Tcp {
            host: optional(host).under("tcpSocket.host")?,
            port: port_ref(port, names).under("tcpSocket.port")?,
        },
        ProbeKind::Grpc(wire::GrpcAction { port, service }) => Handler::Grpc {
            port: needed_port(port).under("grpc.port")?,
            // It travels as a field of a message, where every text is as good as any other.
            service,
        },
    })
}

fn command(action: wire::ExecAction) -> Result<Vec<String>, Wrong> {
    let wire::ExecAction { command } = action;
    check_length("command", command.len(), caps::LIST_MAX)?;
    if command.is_empty() { Err(Wrong::missing().under("command")) } else { Ok(command) }
}

fn http_get(action: wire::HttpGetAction, names: &Names) -> Result<HttpGet, Wrong> {
    let wire::HttpGetAction { path, port, host, scheme, http_headers } = action;
    let header = |wire::HttpHeader { name, value }| {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(Wrong::new(format_args!("{} is no header", shown(&name))).under("name"));
        }
        Ok((line(name, LINE_MAX).under("name")?, line(value, LINE_MAX).under("value")?))
    };
    let path = line(path, LINE_MAX).under("path")?;
    Ok(HttpGet {
        scheme: match known(scheme).under("scheme")? {
            wire::UriScheme::Unspecified | wire::UriScheme::Http => Scheme::Http,
            wire::UriScheme::Https => Scheme::Https,
        },
        host: optional(host).under("host")?,
        port: port_ref(port, names).under("port")?,
        path: if path.starts_with('/') { path } else { format!("/{path}") },
        headers: each("httpHeaders", http_headers, caps::LIST_MAX, header)?,
    })
}

/// A host, which ends up in a request's first lines.
fn optional(host: String) -> Result<Option<String>, Wrong> {
    if host.contains([' ', '/']) {
        return Err(Wrong::new(format_args!("{} is no host", shown(&host))));
    }
    Ok(Some(line(host, LINE_MAX)?).filter(|host| !host.is_empty()))
}

fn port_ref(reference: Option<wire::PortRef>, names: &Names) -> Result<NonZeroU16, Wrong> {
    let wire::PortRef { number, name } = reference.ok_or_else(Wrong::missing)?;
    if let Some(number) = port(number)? {
        return Ok(number);
    }
    if name.is_empty() {
        return Err(Wrong::missing());
    }
    let unknown = || Wrong::new(format_args!("no port of the container is called {}", shown(&name)));
    names.get(&name).copied().ok_or_else(unknown)
}

pub(super) fn lifecycle(lifecycle: wire::Lifecycle, names: &Names) -> Result<Lifecycle, Wrong> {
    let wire::Lifecycle { post_start, pre_stop } = lifecycle;
    Ok(Lifecycle {
        post_start: post_start.map(|handler| hook(handler, names)).transpose().under("postStart")?,
        pre_stop: pre_stop.map(|handler| hook(handler, names)).transpose().under("preStop")?,
    })
}

fn hook(handler: wire::LifecycleHandler, names: &Names) -> Result<Hook, Wrong> {
    let wire::LifecycleHandler { handler } = handler;
    Ok(match chosen(handler)? {
        HookKind::Exec(action) => Hook::Exec { command: command(action).under("exec")? },
        HookKind::HttpGet(action) => Hook::Http(http_get(action, names).under("httpGet")?),
        HookKind::Sleep(wire::SleepAction { seconds }) => Hook::Sleep(Duration::from_secs(seconds.into())),
    })
}
