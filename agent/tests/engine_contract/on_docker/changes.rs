//! What changes in a container that is there: limits, names, its end; and what a person sees of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use skerry_agent::engine::{Docker, Engine as _, EngineError, LogOptions};
use skerry_agent_core::{CreateSpec, Hook, HttpGet, Join, NetworkOwner, Resources, Scheme};
use tokio::io::AsyncWriteExt as _;

use super::{Bed, cli, script, until};

fn resources(cpu_limit: u64, memory_limit: u64, cpu: u64) -> Resources {
    Resources {
        cpu_limit_millis: NonZeroU64::new(cpu_limit),
        memory_limit_bytes: NonZeroU64::new(memory_limit),
        cpu_request_millis: NonZeroU64::new(cpu),
        memory_request_bytes: None,
    }
}

#[tokio::test]
async fn limits_change_in_place_and_are_seen_inside() {
    let bed = Bed::new("limits");
    let docker = bed.docker();
    let mut spec = bed.spec("limits");
    spec.resources = resources(500, 64 << 20, 250);
    bed.runs(&docker, &spec).await;
    let limit = || {
        let files =
            "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || true";
        cli(&["exec", &spec.name, "sh", "-c", files])
    };
    assert_eq!(limit(), (64 << 20).to_string());
    let (id, found) = bed.find(&docker, &spec.name).await;
    assert_eq!(found.resources, spec.resources);
    for next in [
        resources(1000, 128 << 20, 300),
        resources(1, 32 << 20, 1),
        resources(0, 0, 0),
        resources(250, 64 << 20, 0),
    ] {
        docker.update(&id, &next).await.expect("changed");
        let (same, found) = bed.find(&docker, &spec.name).await;
        assert_eq!((&same, found.resources), (&id, next), "told as it was asked for");
        if let Some(bytes) = next.memory_limit_bytes {
            assert_eq!(limit(), bytes.to_string());
        } else {
            assert!(
                limit() == "max" || limit().parse::<u64>().is_ok_and(|bytes| bytes > 1 << 50),
                "{}",
                limit()
            );
        }
    }
    // An agent that does not remember what it asked for sees the nearest.
    let (_, found) = bed.find(&bed.docker(), &spec.name).await;
    assert_eq!(found.resources, resources(250, 64 << 20, 0));
}

#[tokio::test]
async fn names_of_other_apps_change_while_it_runs() {
    let bed = Bed::new("names");
    let docker = bed.docker();
    let names = |pairs: &[(&str, &str)]| -> BTreeMap<String, IpAddr> {
        pairs.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().expect("an address"))).collect()
    };
    let mut spec = bed.spec("names");
    spec.names = names(&[("web.test", "10.0.0.1"), ("gone.test", "10.0.0.2")]);
    let alias = ("alias".to_owned(), "10.0.0.9".parse().expect("an address"));
    spec.join = Join::Bridge(NetworkOwner {
        hostname: "names".to_owned(),
        hosts: [alias].into_iter().chain(spec.names.clone()).collect(),
        ..NetworkOwner::default()
    });
    docker.create(&spec).await.expect("created");
    let (id, _) = bed.find(&docker, &spec.name).await;
    let error = docker.names(&id, &names(&[])).await.expect_err("it never ran");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    docker.start(&spec.name).await.expect("started");
    let hosts = || cli(&["exec", &spec.name, "cat", "/etc/hosts"]);
    assert!(hosts().contains("10.0.0.1\tweb.test") && hosts().contains("10.0.0.2\tgone.test"));
    docker.names(&id, &names(&[("web.test", "10.0.0.3"), ("db.test", "10.0.0.4")])).await.expect("changed");
    let found = hosts();
    assert!(found.contains("10.0.0.3\tweb.test") && found.contains("10.0.0.4\tdb.test"), "{found}");
    assert!(!found.contains("10.0.0.1") && !found.contains("gone.test"), "{found}");
    assert!(found.contains("10.0.0.9\talias") && found.contains("localhost"), "{found}");
    docker.names(&id, &names(&[])).await.expect("changed");
    assert!(!hosts().contains(".test") && hosts().contains("alias"), "{}", hosts());
    let (_, found) = bed.find(&docker, &spec.name).await;
    let own = cli(&["inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", &spec.name]);
    assert_eq!(found.ip.map(|ip| ip.to_string()), Some(own));
}

fn sh(text: &str) -> Hook {
    Hook::Exec { command: ["sh", "-c", text].map(str::to_owned).to_vec() }
}

/// Stops it: how long that took, and its exit code.
async fn stop(bed: &Bed, docker: &Docker, spec: &CreateSpec, grace: Option<Duration>) -> (Duration, String) {
    let (id, _) = bed.find(docker, &spec.name).await;
    let began = Instant::now();
    docker.stop(&id, grace).await.expect("stopped");
    (began.elapsed(), cli(&["inspect", "--format", "{{.State.ExitCode}}", &spec.name]))
}

#[tokio::test]
async fn a_hook_comes_before_the_signal_and_within_the_grace_period() {
    let bed = Bed::new("pre-stop");
    let docker = bed.docker();
    let waits = |name: &str| {
        script(&bed.spec(name), "trap 'cat /tmp/hook; exit 5' TERM; while :; do sleep 0.1; done")
    };
    let mut spec = waits("hooked");
    spec.pre_stop = Some(sh("sleep 1; echo hook > /tmp/hook"));
    spec.grace_seconds = 20;
    bed.runs(&docker, &spec).await;
    let (took, code) = stop(&bed, &docker, &spec, None).await;
    assert!(
        code == "5" && took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{code} {took:?}"
    );
    assert_eq!(cli(&["logs", &spec.name]), "hook", "it was done before the signal");

    let mut spec = waits("failing");
    spec.pre_stop = Some(sh("exit 3"));
    bed.runs(&docker, &spec).await;
    assert_eq!(stop(&bed, &docker, &spec, None).await.1, "5", "a hook that fails keeps nothing from its end");

    let mut spec = waits("late");
    spec.pre_stop = Some(Hook::Sleep(Duration::from_secs(60)));
    spec.grace_seconds = 60;
    bed.runs(&docker, &spec).await;
    let (took, code) = stop(&bed, &docker, &spec, Some(Duration::from_secs(1))).await;
    assert!(code == "5" && took < Duration::from_secs(5), "the given grace period counts: {code} {took:?}");

    // Deaf to the signal: two seconds are always left for it.
    let mut spec = script(&bed.spec("deaf"), "trap '' TERM; while :; do sleep 0.1; done");
    spec.grace_seconds = 1;
    bed.runs(&docker, &spec).await;
    let (took, code) = stop(&bed, &docker, &spec, None).await;
    assert!(
        code == "137" && took >= Duration::from_millis(1900) && took < Duration::from_secs(8),
        "{code} {took:?}"
    );

    let mut spec = script(&bed.spec("ends"), "sleep 1; exit 6");
    spec.pre_stop = Some(Hook::Sleep(Duration::from_secs(60)));
    spec.grace_seconds = 60;
    bed.runs(&docker, &spec).await;
    let (took, code) = stop(&bed, &docker, &spec, None).await;
    assert!(code == "6" && took < Duration::from_secs(10), "an end is not waited out: {code} {took:?}");
}

#[tokio::test]
async fn a_hook_that_fails_says_how() {
    let bed = Bed::new("hook");
    let docker = bed.docker();
    let spec = script(
        &bed.spec("hook"),
        "mkdir /www; echo served > /www/index.html; httpd -p 8099 -h /www; while :; do sleep 0.1; done",
    );
    bed.runs(&docker, &spec).await;
    docker.hook(&spec.name, &sh("true")).await.expect("done");
    docker.hook(&spec.name, &Hook::Sleep(Duration::from_millis(10))).await.expect("done");
    let error = docker.hook(&spec.name, &sh("echo why; exit 4")).await.expect_err("failed");
    assert_eq!(
        error.to_string(),
        "Exec lifecycle hook ([\"sh\", \"-c\", \"echo why; exit 4\"]) failed - error: command exited with 4, message: \"why\""
    );
    let get = |port: u16, path: &str| {
        Hook::Http(HttpGet {
            scheme: Scheme::Http,
            host: None,
            port: port.try_into().expect("a port"),
            path: path.to_owned(),
            headers: Vec::new(),
        })
    };
    until("the server answers", async || docker.hook(&spec.name, &get(8099, "/")).await.is_ok()).await;
    docker.hook(&spec.name, &get(8099, "/missing")).await.expect("any answer is a good one");
    let error = docker.hook(&spec.name, &get(8098, "/")).await.expect_err("nobody listens").to_string();
    assert!(error.starts_with("HTTP lifecycle hook (/) failed") && error.contains("refused"), "{error}");
    docker.hook("skerry_nothing_of_this_name", &sh("true")).await.expect_err("no such container");
}

#[tokio::test]
async fn a_person_follows_the_log_and_talks_to_a_command() {
    let bed = Bed::new("talk");
    let docker = bed.docker();
    let spec = script(&bed.spec("talk"), "echo one; echo two; echo bad >&2; sleep 1; echo three");
    bed.runs(&docker, &spec).await;
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let chunks: Vec<_> = docker.logs(&spec.name, options).await.expect("a log").collect().await;
    let text = |is_error: bool| -> String {
        let of = chunks
            .iter()
            .map(|chunk| chunk.as_ref().expect("a chunk"))
            .filter(|chunk| chunk.is_error == is_error);
        of.map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned()).collect()
    };
    assert_eq!((text(false).as_str(), text(true).as_str()), ("one\ntwo\nthree\n", "bad\n"));
    let options = LogOptions { tail: Some(1), timestamps: true, ..LogOptions::default() };
    let tail: Vec<_> = docker.logs(&spec.name, options).await.expect("a log").collect().await;
    let line = String::from_utf8_lossy(&tail[0].as_ref().expect("a chunk").bytes).into_owned();
    assert!(tail.len() == 1 && line.ends_with("Z three\n") && line.starts_with("20"), "{line}");
    docker.logs("skerry_nothing_of_this_name", options).await.err().expect("no such container");

    let other = bed.spec("exec");
    bed.runs(&docker, &other).await;
    let command = ["sh", "-c", "read line; echo got $line; exit 7"].map(str::to_owned);
    let mut talk = docker.exec_interactive(&other.name, &command, false, true).await.expect("attached");
    let mut input = talk.input.take().expect("an input");
    input.write_all(b"hello\n").await.expect("written");
    let said: Vec<u8> = (&mut talk.output).map(|chunk| chunk.expect("a chunk").bytes).concat().await;
    assert_eq!(String::from_utf8_lossy(&said), "got hello\n");
    until("the exit code is told", async || talk.exit_code().await.expect("asked") == Some(7)).await;
    let command = ["sh", "-c", "sleep 0.5; stty size"].map(str::to_owned);
    let mut talk = docker.exec_interactive(&other.name, &command, true, false).await.expect("attached");
    talk.resize(77, 33).await.expect("resized");
    assert!(talk.input.is_none());
    let said: Vec<u8> = (&mut talk.output).map(|chunk| chunk.expect("a chunk").bytes).concat().await;
    assert_eq!(String::from_utf8_lossy(&said).trim(), "33 77");
}
