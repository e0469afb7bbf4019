//! Probes and hooks.

use super::container::words;
use super::report::{Path, Report};
use crate::template::{
    ExecAction, GrpcAction, HttpGetAction, HttpHeader, IntOrString, Lifecycle, LifecycleHandler, SleepAction,
    TcpSocketAction,
};
use crate::{Container, PodSpec, Probe, bounds};

/// Longest answer that is waited for, in seconds.
const TIMEOUT: i32 = 3600;
/// Most successes in a row.
const SUCCESSES: i32 = 1000;
/// Most failures in a row.
const FAILURES: i32 = 100_000;
/// Longest name of a header.
const HEADER_NAME: usize = 256;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Readiness,
    Liveness,
}

pub(super) fn check_all(container: &Container, pod: &PodSpec, path: &Path, report: &mut Report) {
    let probes = [
        (Kind::Startup, "startupProbe", &container.startup_probe),
        (Kind::Readiness, "readinessProbe", &container.readiness_probe),
        (Kind::Liveness, "livenessProbe", &container.liveness_probe),
    ];
    for (kind, field, probe) in probes {
        if let Some(probe) = probe {
            check(kind, probe, container, &path.field(field), report);
        }
    }
    if let Some(Lifecycle { post_start, pre_stop }) = &container.lifecycle {
        let path = path.field("lifecycle");
        for (field, handler) in [("postStart", post_start), ("preStop", pre_stop)] {
            if let Some(handler) = handler {
                check_handler(handler, container, pod, &path.field(field), report);
            }
        }
    }
}

fn check(kind: Kind, probe: &Probe, container: &Container, path: &Path, report: &mut Report) {
    let Probe {
        exec,
        http_get,
        tcp_socket,
        grpc,
        initial_delay_seconds,
        timeout_seconds,
        period_seconds,
        success_threshold,
        failure_threshold,
        termination_grace_period_seconds,
    } = probe;
    let given = [
        ("exec", exec.is_some()),
        ("httpGet", http_get.is_some()),
        ("tcpSocket", tcp_socket.is_some()),
        ("grpc", grpc.is_some()),
    ];
    report.exactly_one("handler type", &given, path);
    if let Some(exec) = exec {
        check_exec(exec, &path.field("exec"), report);
    }
    if let Some(http_get) = http_get {
        check_http(http_get, container, &path.field("httpGet"), report);
    }
    if let Some(TcpSocketAction { port, host }) = tcp_socket {
        let path = path.field("tcpSocket");
        check_port(port, container, &path.field("port"), report);
        check_host(host.as_deref(), &path.field("host"), report);
    }
    if let Some(GrpcAction { port, service }) = grpc {
        let path = path.field("grpc");
        report.range(Some(*port), 1, 65_535, &path.field("port"));
        report.short(service.as_deref().unwrap_or_default(), bounds::SUBDOMAIN, &path.field("service"));
    }
    report.range(*initial_delay_seconds, 0, bounds::SECONDS, &path.field("initialDelaySeconds"));
    report.range(*timeout_seconds, 1, TIMEOUT, &path.field("timeoutSeconds"));
    report.range(*period_seconds, 1, bounds::SECONDS, &path.field("periodSeconds"));
    report.range(*success_threshold, 1, SUCCESSES, &path.field("successThreshold"));
    report.range(*failure_threshold, 1, FAILURES, &path.field("failureThreshold"));
    let grace_path = path.field("terminationGracePeriodSeconds");
    report.range(*termination_grace_period_seconds, 1, i64::from(bounds::SECONDS), &grace_path);
    match kind {
        Kind::Startup | Kind::Liveness => report.require(
            success_threshold.is_none_or(|threshold| threshold == 1),
            &path.field("successThreshold"),
            "must be 1 for liveness and startup probes",
        ),
        Kind::Readiness => report.require(
            termination_grace_period_seconds.is_none(),
            &grace_path,
            "must not be set for readinessProbes: they end nothing",
        ),
    }
}

fn check_handler(
    handler: &LifecycleHandler,
    container: &Container,
    pod: &PodSpec,
    path: &Path,
    report: &mut Report,
) {
    let LifecycleHandler { exec, http_get, sleep } = handler;
    let given = [("exec", exec.is_some()), ("httpGet", http_get.is_some()), ("sleep", sleep.is_some())];
    report.exactly_one("handler type", &given, path);
    if let Some(exec) = exec {
        check_exec(exec, &path.field("exec"), report);
    }
    if let Some(http_get) = http_get {
        check_http(http_get, container, &path.field("httpGet"), report);
    }
    if let Some(SleepAction { seconds }) = sleep {
        let grace = i64::from(pod.effective_grace_period_seconds());
        if !(0..=grace).contains(seconds) {
            report.add(
                &path.field("sleep").field("seconds"),
                format!("must be a non-negative number of at most terminationGracePeriodSeconds ({grace})"),
            );
        }
    }
}

fn check_exec(exec: &ExecAction, path: &Path, report: &mut Report) {
    let ExecAction { command } = exec;
    let path = path.field("command");
    report.require(!command.is_empty(), &path, "must be given");
    words(command, &path, report);
}

fn check_http(http_get: &HttpGetAction, container: &Container, path: &Path, report: &mut Report) {
    let HttpGetAction { path: target, port, host, scheme: _, http_headers } = http_get;
    let target_path = path.field("path");
    let target = target.as_deref().unwrap_or_default();
    report.short(target, bounds::HTTP_TEXT, &target_path);
    report.require(!target.contains(char::is_control), &target_path, "must not contain control characters");
    check_port(port, container, &path.field("port"), report);
    check_host(host.as_deref(), &path.field("host"), report);
    let headers_path = path.field("httpHeaders");
    if !report.fits(http_headers.len(), bounds::SHORT_LIST, &headers_path) {
        return;
    }
    for (i, HttpHeader { name, value }) in http_headers.iter().enumerate() {
        let path = headers_path.index(i);
        let good = (1..=HEADER_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        report.require(
            good,
            &path.field("name"),
            "must be the name of an HTTP header: letters, digits and '-'",
        );
        let value_path = path.field("value");
        report.short(value, bounds::HTTP_TEXT, &value_path);
        report.require(
            !value.contains(['\r', '\n', '\0']),
            &value_path,
            "must not contain line ends or NUL bytes",
        );
    }
}

/// The port by number, or by the name that the container gives it.
fn check_port(port: &IntOrString, container: &Container, path: &Path, report: &mut Report) {
    if let Err(error) = port.resolve(container) {
        report.add(path, error.to_string());
    }
}

fn check_host(host: Option<&str>, path: &Path, report: &mut Report) {
    let host = host.unwrap_or_default();
    let good = host.len() <= bounds::SUBDOMAIN
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':'));
    report.require(good, path, "must be a host name or an IP address");
}
