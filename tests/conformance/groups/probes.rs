//! Probes: started, ready, alive; by command, HTTP, TCP and gRPC.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use skerry_tests::{eventually, holds_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::app::App;
use crate::case::{APP, Case};
use crate::servers::tls_secret;

/// Long enough for a restart that must not happen: some periods of a probe.
const QUIET: Duration = Duration::from_secs(4);

pub fn cases() -> Vec<Case> {
    let mut cases = readiness();
    cases.extend(liveness());
    cases.extend(http());
    cases.extend(grpc());
    cases.extend(startup());
    cases
}

/// Nothing restarts it while it is looked at.
async fn stays(app: &App) -> Result<()> {
    let before = app.id("main").await?;
    holds_for("the container is not restarted", QUIET, || async {
        ensure!(app.id("main").await? == before, "another container");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let report = app.report("it is known", |_| true).await?;
    ensure!(report.containers.iter().all(|one| one.restart_count == 0), "{report:?}");
    Ok(())
}

async fn restarted(app: &App) -> Result<()> {
    app.container_report("main", "was restarted", |one| one.restart_count >= 1).await.map(drop)
}

/// A pod whose one container is killed by its liveness probe.
fn restarted_pod(name: &'static str, stands_on: &'static str, pod: &'static str) -> Case {
    Case::story(name, stands_on, async |scene| restarted(&scene.apply(APP, pod).await?).await)
}

/// A pod whose one container its probes leave alone.
fn stays_pod(name: &'static str, stands_on: &'static str, pod: &'static str) -> Case {
    Case::story(name, stands_on, async |scene| stays(&scene.ready(APP, pod).await?).await)
}

fn readiness() -> Vec<Case> {
    vec![
        Case::story(
            "it_is_not_ready_before_the_initial_delay",
            "[sig-node] Probing container with readiness probe should not be ready before initial delay and never restart",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  readinessProbe: {exec: {command: ['true']}, initialDelaySeconds: 4, periodSeconds: 1, timeoutSeconds: 10}
"#;
                let begun = Instant::now();
                let app = scene.ready(APP, pod).await?;
                ensure!(begun.elapsed() >= Duration::from_secs(4), "ready after {:?}", begun.elapsed());
                stays(&app).await
            },
        ),
        Case::story(
            "one_that_fails_is_never_ready_and_never_restarted",
            "[sig-node] Probing container with readiness probe that fails should never be ready and never restart",
            async |scene| {
                let pod = r#"
containers:
- {name: main, command: [sleep, "9999"], readinessProbe: {exec: {command: ['false']}, periodSeconds: 1}}
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "echo runs", "runs").await?;
                stays(&app).await?;
                let report = app.report("it is known", |report| !report.containers.is_empty()).await?;
                ensure!(!report.ready && !report.containers[0].ready, "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "it_is_ready_while_the_probe_succeeds",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes: readinessProbe indicates whether the container is ready to \
             respond to requests",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "touch /tmp/ready && echo made", "made").await?;
                app.ready().await?;
                app.sh("main", "rm /tmp/ready").await?;
                app.report("it is no longer ready", |report| !report.ready).await?;
                app.sh("main", "touch /tmp/ready").await?;
                let report = app.ready().await?;
                ensure!(report.containers[0].restart_count == 0, "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "a_probe_that_takes_too_long_has_failed",
            "[sig-node] Probing container should not be ready with an exec readiness probe timeout",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  readinessProbe: {exec: {command: [sh, -c, 'sleep 10']}, timeoutSeconds: 1, periodSeconds: 1}
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "echo runs", "runs").await?;
                stays(&app).await?;
                ensure!(!app.report("it is known", |_| true).await?.ready, "it is ready");
                Ok(())
            },
        ),
        Case::story(
            "successes_are_counted",
            "kubectl explain pod.spec.containers.readinessProbe.successThreshold: Minimum consecutive successes for the probe to be considered successful after \
             having failed",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  readinessProbe: {exec: {command: [sh, -c, 'echo x >> /tmp/looks']}, periodSeconds: 1, timeoutSeconds: 10, successThreshold: 3}
"#;
                let app = scene.ready(APP, pod).await?;
                let looks: u32 = app.sh("main", "wc -l < /tmp/looks").await?.trim().parse()?;
                ensure!(looks >= 3, "ready after {looks} looks");
                Ok(())
            },
        ),
    ]
}

fn liveness() -> Vec<Case> {
    vec![
        restarted_pod(
            "a_command_that_fails_restarts_it",
            "[sig-node] Probing container should be restarted with a exec \"cat /tmp/health\" liveness probe",
            r#"
containers:
- name: main
  command: [sh, -c, 'echo ok > /tmp/health; sleep 3; rm /tmp/health; exec sleep 600']
  livenessProbe: {exec: {command: [cat, /tmp/health]}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#,
        ),
        stays_pod(
            "a_command_that_succeeds_leaves_it",
            "[sig-node] Probing container should *not* be restarted with a exec \"cat /tmp/health\" liveness probe",
            r#"
containers:
- name: main
  command: [sh, -c, 'echo ok > /tmp/health; exec sleep 600']
  livenessProbe: {exec: {command: [cat, /tmp/health]}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#,
        ),
        stays_pod(
            "a_port_that_listens_leaves_it",
            "[sig-node] Probing container should *not* be restarted with a tcp:8080 liveness probe",
            r#"
containers:
- name: main
  command: [httpd, -f, -p, "8080", -h, /bin]
  livenessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#,
        ),
        restarted_pod(
            "a_port_that_nobody_listens_on_restarts_it",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#define-a-tcp-liveness-probe: the kubelet will \
             attempt to open a socket; if it can't it is considered a failure",
            r#"
containers:
- name: main
  command: [sleep, "600"]
  livenessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#,
        ),
        restarted_pod(
            "a_command_that_takes_too_long_restarts_it",
            "[sig-node] Probing container should be restarted with an exec liveness probe with timeout",
            r#"
containers:
- name: main
  command: [sleep, "600"]
  livenessProbe: {exec: {command: [sh, -c, 'sleep 10']}, timeoutSeconds: 1, periodSeconds: 1, failureThreshold: 1}
"#,
        ),
        Case::story(
            "failures_are_counted_from_the_start_of_each_run",
            "kubectl explain pod.spec.containers.livenessProbe.failureThreshold: Minimum consecutive failures for the probe to be considered failed after having \
             succeeded",
            async |scene| {
                // Time enough for each look to leave its line, also on a machine that is busy: a look that is cut off counts as a failure.
                let pod = r#"
volumes: [{name: notes, emptyDir: {}}]
containers:
- name: main
  command: [sh, -c, 'wc -l < /notes/looks; exec sleep 600']
  livenessProbe: {exec: {command: [sh, -c, 'echo x >> /notes/looks; false']}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 3}
  volumeMounts: [{name: notes, mountPath: /notes}]
"#;
                let app = scene.apply(APP, pod).await?;
                restarted(&app).await?;
                eventually("each run before had three failures", || async {
                    let looks: u32 = app.logs("main").await?.trim().parse()?;
                    ensure!(looks > 0 && looks.is_multiple_of(3), "{looks}");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::story(
            "the_count_of_restarts_grows",
            "[sig-node] Probing container should have monotonically increasing restart count",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "600"]
  livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}
"#;
                let app = scene.apply(APP, pod).await?;
                let mut last = 0;
                while last < 2 {
                    let report = app
                        .container_report("main", "has another count", |one| one.restart_count != last)
                        .await?;
                    ensure!(report.restart_count > last, "{} after {last}", report.restart_count);
                    last = report.restart_count;
                }
                Ok(())
            },
        ),
        Case::story(
            "a_probe_has_a_grace_period_of_its_own",
            "[sig-node] Probing container should override timeoutGracePeriodSeconds when LivenessProbe field is set",
            async |scene| {
                let pod = r#"
terminationGracePeriodSeconds: 500
containers:
- name: main
  command: [sleep, "600"]
  livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}
"#;
                let app = scene.apply(APP, pod).await?;
                restarted(&app).await?;
                // With a grace period that the end of the case can wait for.
                app.update(
                    &pod.replace("terminationGracePeriodSeconds: 500", "terminationGracePeriodSeconds: 0"),
                )
                .await
            },
        ),
    ]
}

/// A web server with a page /healthz, and pages that are programs.
macro_rules! served {
    ($prepare:literal, $probe:literal) => {
        concat!(
            "
containers:
- name: main
  command: [sh, -c]
  args:
  - |
    mkdir -p /www/cgi-bin
    echo ok > /www/healthz
    ",
            $prepare,
            "
    chmod -R 755 /www
    exec httpd -f -p 8080 -h /www
  ports: [{name: web, containerPort: 8080}]
  ",
            $probe,
            "\n"
        )
    };
}

/// A web server that speaks TLS.
const HTTPS: &str = r#"
volumes:
- {name: tls, secret: {secretName: tls}}
- {name: server, configMap: {name: server}}
containers:
- name: main
  image: conformance:web
  volumeMounts: [{name: tls, mountPath: /tls}, {name: server, mountPath: /etc/nginx/conf.d}]
  readinessProbe: {httpGet: {scheme: SCHEME, port: 8443, path: /}, periodSeconds: 1, timeoutSeconds: 10}
"#;
const HTTPS_CONFIG: &str = r#"
kind: ConfigMap
metadata: {name: server}
data:
  server.conf: |
    server {
      listen 8443 ssl;
      ssl_certificate /tls/tls.crt;
      ssl_certificate_key /tls/tls.key;
      return 200 ok;
    }
"#;

fn http() -> Vec<Case> {
    vec![
        stays_pod(
            "a_page_leaves_it",
            "[sig-node] Probing container should *not* be restarted with a /healthz http liveness probe",
            served!("", "livenessProbe: {httpGet: {path: /healthz, port: 8080}, initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}"),
        ),
        restarted_pod(
            "a_page_that_is_gone_restarts_it",
            "[sig-node] Probing container should be restarted with a /healthz http liveness probe",
            served!(
                "(sleep 4; rm /www/healthz) &",
                "livenessProbe: {httpGet: {path: /healthz, port: 8080}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}"
            ),
        ),
        restarted_pod(
            "a_redirect_to_itself_is_followed",
            "[sig-node] Probing container should be restarted with a local redirect http liveness probe",
            served!(
                "printf '#!/bin/sh\\nprintf \"HTTP/1.0 302 Found\\\\r\\\\nLocation: /nowhere\\\\r\\\\n\\\\r\\\\n\"\\n' > /www/cgi-bin/to",
                "livenessProbe: {httpGet: {path: /cgi-bin/to, port: 8080}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}"
            ),
        ),
        stays_pod(
            "a_redirect_to_another_host_is_success",
            "[sig-node] Probing container should *not* be restarted with a non-local redirect http liveness probe",
            served!(
                "printf '#!/bin/sh\\nprintf \"HTTP/1.0 302 Found\\\\r\\\\nLocation: http://0.0.0.0/\\\\r\\\\n\\\\r\\\\n\"\\n' > /www/cgi-bin/to",
                "livenessProbe: {httpGet: {path: /cgi-bin/to, port: 8080}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}"
            ),
        ),
        Case::pod(
            "the_port_has_a_name_and_the_request_its_headers",
            "kubectl explain pod.spec.containers.readinessProbe.httpGet: port: Name or number of the port to access on the container; httpHeaders: Custom \
             headers to set in the request",
            served!(
                "printf '#!/bin/sh\\necho \"$HTTP_X_TIDE\" > /tmp/tide\\nprintf \"\\\\r\\\\n\"\\n' > /www/cgi-bin/look",
                "readinessProbe: {httpGet: {path: /cgi-bin/look, port: web, httpHeaders: [{name: X-Tide, value: high}]}, periodSeconds: 1, timeoutSeconds: 5}"
            ),
        )
        .says("main", "cat /tmp/tide", "high"),
        Case::story(
            "https_is_asked_and_no_certificate_is_checked",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes: scheme: HTTPS: the kubelet sends an HTTPS \
             request skipping the certificate verification",
            async |scene| {
                let (secret, _) = tls_secret("tls")?;
                scene.config(&secret).await?;
                scene.config(HTTPS_CONFIG).await?;
                let app = scene.ready(APP, &HTTPS.replace("SCHEME", "HTTPS")).await?;
                // Without TLS the same port answers 400.
                let plain = scene.apply("plain", &HTTPS.replace("SCHEME", "HTTP")).await?;
                plain
                    .report("it is turned away", |report| {
                        report.reason == "NotReady" && report.message.contains("400")
                    })
                    .await?;
                stays(&app).await
            },
        ),
        Case::story(
            "another_host_is_asked",
            "kubectl explain pod.spec.containers.readinessProbe.httpGet.host: Host name to connect to, defaults to the pod IP",
            async |scene| {
                // Nobody listens in the container: the one who answers is on the box's own loopback.
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                let port = listener.local_addr()?.port();
                let pod = format!(
                    "{{containers: [{{name: main, command: [sleep, '9999'], readinessProbe: {{httpGet: {{host: 127.0.0.1, port: {port}, \
                     path: /tide}}, periodSeconds: 1, timeoutSeconds: 10}}}}]}}"
                );
                let app = scene.apply(APP, &pod).await?;
                let (mut stream, _) = tokio::time::timeout(skerry_tests::LIMIT, listener.accept()).await??;
                let mut request = vec![0; 1024];
                let length = stream.read(&mut request).await?;
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                ensure!(request.starts_with("GET /tide HTTP/1.1\r\n"), "{request:?}");
                ensure!(request.to_lowercase().contains(&format!("host: 127.0.0.1:{port}")), "{request:?}");
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
                drop(stream);
                app.ready().await.map(drop)
            },
        ),
        Case::story(
            "a_server_error_is_a_failure",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/: Any code greater than or equal to 200 and less \
             than 400 indicates success. Any other code indicates failure",
            async |scene| {
                let pod = served!(
                    "echo 500 > /tmp/code; printf '#!/bin/sh\\nprintf \"HTTP/1.0 %%s Code\\\\r\\\\n\\\\r\\\\n\" $(cat /tmp/code)\\n' > /www/cgi-bin/code",
                    "readinessProbe: {httpGet: {path: /cgi-bin/code, port: 8080}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}"
                );
                let app = scene.apply(APP, pod).await?;
                app.says("main", "cat /tmp/code", "500").await?;
                stays(&app).await?;
                ensure!(!app.report("it is known", |_| true).await?.ready, "ready with 500");
                app.sh("main", "echo 399 > /tmp/code").await?;
                app.ready().await?;
                app.sh("main", "echo 400 > /tmp/code").await?;
                app.report("it is not ready with 400", |report| !report.ready).await.map(drop)
            },
        ),
    ]
}

fn grpc() -> Vec<Case> {
    vec![
        stays_pod(
            "a_serving_grpc_server_is_left",
            "[sig-node] Probing container should *not* be restarted with a GRPC liveness probe",
            r#"
containers:
- name: main
  image: conformance:health
  command: [sh, -c, 'touch /tmp/serving; exec skerry-health-server 5000 /tmp/serving']
  livenessProbe: {grpc: {port: 5000}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}
"#,
        ),
        restarted_pod(
            "a_grpc_server_that_does_not_serve_is_restarted",
            "[sig-node] Probing container should be restarted with a GRPC liveness probe",
            r#"
containers:
- name: main
  image: conformance:health
  command: [skerry-health-server, "5000", /tmp/serving]
  livenessProbe: {grpc: {port: 5000}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1}
"#,
        ),
        Case::story(
            "a_grpc_probe_names_a_service",
            "kubectl explain pod.spec.containers.livenessProbe.grpc.service: Service is the name of the service to place in the gRPC HealthCheckRequest",
            async |scene| {
                let pod = r#"
containers:
- name: known
  image: conformance:health
  command: [sh, -c, 'touch /tmp/serving; exec skerry-health-server 5000 /tmp/serving']
  readinessProbe: {grpc: {port: 5000, service: ready}, periodSeconds: 1, timeoutSeconds: 5}
- name: unknown
  image: conformance:health
  command: [sh, -c, 'touch /tmp/serving; exec skerry-health-server 5001 /tmp/serving']
  readinessProbe: {grpc: {port: 5001, service: other}, periodSeconds: 1, timeoutSeconds: 5}
"#;
                let app = scene.apply(APP, pod).await?;
                app.container_report("known", "is ready", |one| one.ready).await?;
                let report = app.report("it is known", |_| true).await?;
                let unknown = report.containers.iter().find(|one| one.name == "unknown");
                ensure!(!report.ready && unknown.is_some_and(|one| !one.ready), "{report:?}");
                Ok(())
            },
        ),
    ]
}

fn startup() -> Vec<Case> {
    vec![
        restarted_pod(
            "one_that_does_not_start_up_is_restarted",
            "[sig-node] Probing container should be restarted startup probe fails",
            r#"
containers:
- name: main
  command: [sleep, "600"]
  startupProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 2}
"#,
        ),
        stays_pod(
            "liveness_waits_for_the_startup",
            "[sig-node] Probing container should *not* be restarted by liveness probe because startup probe delays it",
            r#"
containers:
- name: main
  command: [sh, -c, 'sleep 4; touch /tmp/started; exec sleep 600']
  startupProbe: {exec: {command: [cat, /tmp/started]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
  livenessProbe: {exec: {command: [cat, /tmp/started]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 1}
"#,
        ),
        restarted_pod(
            "liveness_begins_after_the_startup",
            "[sig-node] Probing container should be restarted by liveness probe after startup probe enables it",
            r#"
containers:
- name: main
  command: [sh, -c, 'sleep 2; touch /tmp/started; exec sleep 600']
  startupProbe: {exec: {command: [cat, /tmp/started]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
  livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}
"#,
        ),
        Case::story(
            "it_is_ready_at_once_after_the_startup",
            "[sig-node] Probing container should be ready immediately after startupProbe succeeds",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sh, -c, 'exec sleep 600']
  startupProbe: {exec: {command: [cat, /tmp/started]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
  readinessProbe: {exec: {command: [cat, /tmp/started]}, periodSeconds: 60, timeoutSeconds: 10}
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "echo runs", "runs").await?;
                ensure!(!app.report("it is known", |_| true).await?.ready, "ready before it has started up");
                app.sh("main", "touch /tmp/started").await?;
                let begun = Instant::now();
                app.ready().await?;
                ensure!(
                    begun.elapsed() < Duration::from_secs(30),
                    "a period of the readiness probe was waited for"
                );
                Ok(())
            },
        ),
        Case::story(
            "a_startup_probe_has_a_grace_period_of_its_own",
            "[sig-node] Probing container should override timeoutGracePeriodSeconds when StartupProbe field is set",
            async |scene| {
                let pod = r#"
terminationGracePeriodSeconds: 500
containers:
- name: main
  command: [sleep, "600"]
  startupProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}
"#;
                let app = scene.apply(APP, pod).await?;
                restarted(&app).await?;
                app.update(
                    &pod.replace("terminationGracePeriodSeconds: 500", "terminationGracePeriodSeconds: 0"),
                )
                .await
            },
        ),
        Case::refused(
            "successes_of_a_liveness_probe_are_not_counted",
            "kubectl explain pod.spec.containers.livenessProbe.successThreshold: Must be 1 for liveness and startup",
            "{containers: [{name: main, livenessProbe: {exec: {command: ['true']}, successThreshold: 2}}]}",
            &["livenessProbe"],
        ),
        Case::refused(
            "a_probe_does_one_thing",
            "Pod validation: spec.containers[0].livenessProbe: must specify a handler type, and may not specify more than 1 handler type",
            "{containers: [{name: main, livenessProbe: {exec: {command: ['true']}, tcpSocket: {port: 1}}}]}",
            &["livenessProbe"],
        ),
    ]
}
