//! Probes and hooks, with Kubernetes' defaults spelled out.

use skerry_proto::wire;
use wire::lifecycle_handler::Handler as Hook;
use wire::probe::Handler;

use super::{At, only};
use crate::FieldError;
use crate::template::{
    ExecAction, GrpcAction, HttpGetAction, HttpHeader, IntOrString, Lifecycle, LifecycleHandler, PortRef,
    Probe, SleepAction, TcpSocketAction, UriScheme,
};

pub(super) fn probe(probe: &Probe, at: &At) -> Result<wire::Probe, FieldError> {
    let Probe {
        exec,
        http_get,
        tcp_socket,
        grpc,
        initial_delay_seconds: _,
        timeout_seconds: _,
        period_seconds: _,
        success_threshold: _,
        failure_threshold: _,
        termination_grace_period_seconds,
    } = probe;
    let http = http_get.as_ref().map(|action| self::http_get(action, &at.field("httpGet"))).transpose()?;
    let tcp = tcp_socket.as_ref().map(|action| self::tcp_socket(action, &at.field("tcpSocket")));
    let grpc = grpc.as_ref().map(|action| self::grpc(action, &at.field("grpc")));
    let set = [
        exec.as_ref().map(|action| Handler::Exec(self::exec(action))),
        http.map(Handler::HttpGet),
        tcp.transpose()?.map(Handler::TcpSocket),
        grpc.transpose()?.map(Handler::Grpc),
    ];
    let grace = termination_grace_period_seconds
        .map(|seconds| at.field("terminationGracePeriodSeconds").unsigned(seconds));
    Ok(wire::Probe {
        handler: Some(only(at, "exec, httpGet, tcpSocket and grpc", set)?),
        initial_delay_seconds: probe.effective_initial_delay_seconds(),
        timeout_seconds: probe.effective_timeout_seconds(),
        period_seconds: probe.effective_period_seconds(),
        success_threshold: probe.effective_success_threshold(),
        failure_threshold: probe.effective_failure_threshold(),
        termination_grace_period_seconds: grace.transpose()?,
    })
}

fn exec(action: &ExecAction) -> wire::ExecAction {
    let ExecAction { command } = action;
    wire::ExecAction { command: command.clone() }
}

fn http_get(action: &HttpGetAction, at: &At) -> Result<wire::HttpGetAction, FieldError> {
    let HttpGetAction { path: _, port, host, scheme: _, http_headers } = action;
    let header = |HttpHeader { name, value }: &HttpHeader| wire::HttpHeader {
        name: name.clone(),
        value: value.clone(),
    };
    Ok(wire::HttpGetAction {
        path: action.effective_path(),
        port: Some(port_ref(port, &at.field("port"))?),
        host: host.clone().unwrap_or_default(),
        scheme: match action.effective_scheme() {
            UriScheme::Http => wire::UriScheme::Http,
            UriScheme::Https => wire::UriScheme::Https,
        }
        .into(),
        http_headers: http_headers.iter().map(header).collect(),
    })
}

fn tcp_socket(action: &TcpSocketAction, at: &At) -> Result<wire::TcpSocketAction, FieldError> {
    let TcpSocketAction { port, host } = action;
    Ok(wire::TcpSocketAction {
        port: Some(port_ref(port, &at.field("port"))?),
        host: host.clone().unwrap_or_default(),
    })
}

fn grpc(action: &GrpcAction, at: &At) -> Result<wire::GrpcAction, FieldError> {
    let GrpcAction { port, service } = action;
    Ok(wire::GrpcAction {
        port: at.field("port").unsigned((*port).into())?,
        service: service.clone().unwrap_or_default(),
    })
}

fn port_ref(port: &IntOrString, at: &At) -> Result<wire::PortRef, FieldError> {
    Ok(match port.port().map_err(|why| at.error(why))? {
        PortRef::Number(number) => wire::PortRef { number: number.into(), name: String::new() },
        PortRef::Name(name) => wire::PortRef { number: 0, name },
    })
}

pub(super) fn lifecycle(lifecycle: &Lifecycle, at: &At) -> Result<wire::Lifecycle, FieldError> {
    let Lifecycle { post_start, pre_stop } = lifecycle;
    let hook = |name: &str, hook: &Option<LifecycleHandler>| {
        hook.as_ref().map(|hook| self::hook(hook, &at.field(name))).transpose()
    };
    Ok(wire::Lifecycle { post_start: hook("postStart", post_start)?, pre_stop: hook("preStop", pre_stop)? })
}

fn hook(handler: &LifecycleHandler, at: &At) -> Result<wire::LifecycleHandler, FieldError> {
    let LifecycleHandler { exec, http_get, sleep } = handler;
    let http = http_get.as_ref().map(|action| self::http_get(action, &at.field("httpGet"))).transpose()?;
    let sleep = sleep.as_ref().map(|SleepAction { seconds }| {
        Ok(wire::SleepAction { seconds: at.field("sleep.seconds").unsigned(*seconds)? })
    });
    let set = [
        exec.as_ref().map(|action| Hook::Exec(self::exec(action))),
        http.map(Hook::HttpGet),
        sleep.transpose()?.map(Hook::Sleep),
    ];
    Ok(wire::LifecycleHandler { handler: Some(only(at, "exec, httpGet and sleep", set)?) })
}
