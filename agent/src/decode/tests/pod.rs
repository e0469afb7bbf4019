use skerry_agent_core::Dns;

use super::*;

#[test]
fn what_containers_have_in_common_arrives() {
    let app = valid(
        "",
        r#", "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "hostNetwork": true, "hostPID": true, "hostIPC": true,
            "shareProcessNamespace": true, "hostname": "mill", "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db", "db.local"]}],
            "dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["a.example", "."],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
            "securityContext": {"fsGroup": 7, "supplementalGroups": [8, 9],
                "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1 2"}, {"name": "net/ipv4/conf/eth0.1/forwarding", "value": "1"}]}"#,
    );
    assert_eq!((app.restart_policy, app.grace.as_secs()), (RestartPolicy::Never, 5));
    assert_eq!((app.network, app.host_pid, app.host_ipc), (Network::Host, true, true));
    assert_eq!((app.share_process_namespace, app.hostname.as_deref()), (true, Some("mill")));
    let alias = ("10.0.0.1".parse().expect("an address"), vec!["db".to_owned(), "db.local".to_owned()]);
    assert_eq!(app.host_aliases, [alias]);
    let dns = Dns {
        only_these: true,
        nameservers: vec!["9.9.9.9".parse().expect("an address")],
        searches: vec!["a.example".to_owned(), ".".to_owned()],
        options: vec!["ndots:2".to_owned(), "edns0".to_owned()],
    };
    assert_eq!(app.dns, dns);
    assert_eq!((app.fs_group, app.supplemental_groups.as_slice()), (Some(7), &[8, 9][..]));
    let sysctls: Vec<_> = app.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("net.ipv4.conf.eth0/1.forwarding", "1"), ("net.ipv4.ip_local_port_range", "1 2")];
    assert_eq!(sysctls, expected);
    assert_eq!((&app.labels["app"][..], &app.annotations["note"][..]), ("web", "hi"));
}

#[test]
fn the_strategy_arrives() {
    let mut spec = spec("", "");
    spec.strategy = serde_json::from_str(r#"{"switch": "StartFirst", "progressDeadlineSeconds": 9}"#).ok();
    let app = valid_of(&spec, &[]);
    assert_eq!((app.switch, app.progress_deadline.as_secs()), (Switch::StartFirst, 9));
}

#[test]
fn nothing_can_smuggle_a_line_into_a_file_of_the_box() {
    for (pod, path) in [
        (
            r#", "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a\n10.0.0.2 b"]}]"#,
            "hostAliases[0].hostnames[0]",
        ),
        (r#", "hostAliases": [{"ip": "10.0.0.1\n", "hostnames": []}]"#, "hostAliases[0].ip"),
        (r#", "hostname": "a\nb""#, "hostname"),
        (r#", "dnsConfig": {"nameservers": ["1.1.1.1 2.2.2.2"]}"#, "dnsConfig.nameservers[0]"),
        (r#", "dnsConfig": {"searches": ["a\nnameserver 6.6.6.6"]}"#, "dnsConfig.searches[0]"),
        (r#", "dnsConfig": {"options": [{"name": "a b"}]}"#, "dnsConfig.options[0]"),
        (r#", "dnsPolicy": "None""#, "dnsConfig.nameservers"),
        (
            r#", "securityContext": {"sysctls": [{"name": "a b", "value": ""}]}"#,
            "securityContext.sysctls[0].name",
        ),
        (r#", "securityContext": {"fsGroup": 4294967295}"#, "securityContext.fsGroup"),
    ] {
        let why = why(decoded(&encoded(&spec("", pod), &[])));
        assert!(why.starts_with(&format!("template.{path}: ")), "{path}: {why}");
    }
}
