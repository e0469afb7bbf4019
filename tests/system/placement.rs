//! Which nodes an app comes to, as seen on the boxes: what is chosen, what is refused and why, and that a choice once made is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use skerry_api::{EdgeAppStatus, NodeNotPlaceable};
use skerry_tests::{AgentOptions, IMAGE, Node, Site, docker_run, eventually, free_port, get, unique};

use crate::apply::web_yaml;
use crate::{Shared, shared};

/// Nodes that no other test selects.
struct Group {
    site: Arc<Site>,
    namespace: String,
    /// Value of the label `group` of its nodes.
    name: String,
}

impl Group {
    async fn new(site: Shared) -> Result<Self> {
        let site = shared(site)?;
        let namespace = site.namespace().await?;
        Ok(Self { site, namespace, name: unique("group") })
    }

    /// A ready node of the group.
    async fn node(&self) -> Result<Node> {
        self.node_with(&[], "").await
    }

    /// A ready node of the group, with further labels and tables of its agent.toml.
    async fn node_with(&self, labels: &[(&str, &str)], config: &str) -> Result<Node> {
        let own = [("group", self.name.as_str())];
        let labels: BTreeMap<_, _> =
            own.iter().chain(labels).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node =
            self.site.node_with(AgentOptions { labels, config: config.to_owned(), ..Default::default() })?;
        node.ready().await?;
        Ok(node)
    }

    /// Applies an app of one container that sleeps, on the nodes of the group as far as `placement` narrows them no further. `rest` are
    /// further fields of the spec.
    async fn apply(&self, name: &str, placement: Value, resources: Value, rest: Value) -> Result<()> {
        let mut spec = json!({
            "placement": {"nodeSelector": {"matchLabels": {"group": self.name}}},
            "template": {"spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "1000"], "resources": resources}],
            }},
        });
        merge(&mut spec["placement"], placement);
        merge(&mut spec, rest);
        let app = json!({
            "apiVersion": "skerry.dev/v1alpha1",
            "kind": "EdgeApp",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        });
        self.site.kubectl().apply(&app.to_string()).await?;
        Ok(())
    }

    async fn sleeper(&self, name: &str, placement: Value) -> Result<()> {
        self.apply(name, placement, json!({}), json!({})).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.site.kubectl().run(&["delete", "-n", &self.namespace, "ea", name]).await?;
        Ok(())
    }

    async fn running(&self, node: &Node, name: &str) -> Result<()> {
        node.phase(&self.namespace, name, "Running").await?;
        Ok(())
    }

    /// Waits until an app runs on this node: whatever was decided before it was applied has arrived there, too.
    async fn caught_up(&self, nodes: &[&Node]) -> Result<()> {
        let witness = unique("witness");
        self.sleeper(&witness, json!({"tolerations": [{"operator": "Exists"}]})).await?;
        for node in nodes {
            self.running(node, &witness).await?;
        }
        Ok(())
    }

    async fn patch(&self, node: &Node, spec: Value) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        self.site.kubectl().run(&["patch", "en", &node.name, "--type=merge", "-p", &patch]).await?;
        Ok(())
    }

    async fn status(&self, name: &str) -> Result<EdgeAppStatus> {
        self.site.apps(&self.namespace).get(name).await?.status.context("a status")
    }

    /// Waits until an app says that it cannot be on this node.
    async fn refused(&self, name: &str, node: &Node, reason: &str) -> Result<NodeNotPlaceable> {
        eventually(&format!("{name} says why {} cannot have it", node.name), || async {
            let status = self.status(name).await?;
            let refused = status.not_placeable.iter().find(|refused| refused.node == node.name);
            match refused {
                Some(refused) if refused.reason == reason => Ok(refused.clone()),
                _ => bail!("{status:?}"),
            }
        })
        .await
    }

    /// Waits until so many nodes are to have an app and have it.
    async fn settled(&self, name: &str, count: i32) -> Result<()> {
        eventually(&format!("{name} is ready on {count} nodes"), || async {
            let status = self.status(name).await?;
            match &status.nodes {
                Some(counts) if (counts.desired, counts.ready) == (count, count) => Ok(()),
                _ => bail!("{status:?}"),
            }
        })
        .await
    }

    /// Name of the node and identity of each container of an app, in the order of the nodes.
    async fn where_it_runs(&self, name: &str, nodes: &[&Node]) -> Result<Vec<(String, (String, String))>> {
        let mut found = Vec::new();
        for node in nodes {
            let identities = node.app(&self.namespace, name).await?.identities().await?;
            found.extend(identities.into_iter().map(|identity| (node.name.clone(), identity)));
        }
        Ok(found)
    }

    /// Waits until an app runs on so many of these nodes, and on no others of them.
    async fn spread(
        &self,
        name: &str,
        nodes: &[&Node],
        count: usize,
    ) -> Result<Vec<(String, (String, String))>> {
        self.settled(name, i32::try_from(count)?).await?;
        eventually(&format!("{name} has {count} containers"), || async {
            let found = self.where_it_runs(name, nodes).await?;
            if found.len() == count { Ok(found) } else { bail!("{found:?}") }
        })
        .await
    }
}

fn merge(part: &mut Value, fields: Value) {
    for (field, value) in fields.as_object().into_iter().flatten() {
        part[field] = value.clone();
    }
}

async fn gone(group: &Group, name: &str, node: &Node) -> Result<()> {
    let containers = node.app(&group.namespace, name).await?;
    eventually(&format!("nothing of {name} is left on {}", node.name), || async {
        ensure!(containers.all().await?.is_empty(), "something is left");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn the_first_variant_that_matches_is_taken(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let (small, large) = (unique("skerry.local/small:v"), unique("skerry.local/large:v"));
    for tag in [&small, &large] {
        docker_run(&["tag", IMAGE, tag]).await?;
    }
    let result = variants(&group, &small, &large).await;
    for tag in [&small, &large] {
        docker_run(&["rmi", tag]).await?;
    }
    result
}

async fn variants(group: &Group, small: &str, large: &str) -> Result<()> {
    let a = group.node_with(&[("size", "small")], "").await?;
    let b = group.node_with(&[("size", "large")], "").await?;
    let c = group.node_with(&[("size", "odd")], "").await?;
    let architecture = group.site.nodes().get(&a.name).await?.status.context("a status")?;
    let architecture = architecture.node_info.context("facts")?.architecture;
    let known =
        json!({"matchExpressions": [{"key": "size", "operator": "In", "values": ["small", "large"]}]});
    let variants = json!([
        {"match": {"architectures": ["riscv64"]}, "images": {"main": "skerry.local/none:1"}},
        {"match": {"nodeSelector": {"matchLabels": {"size": "small"}}}, "images": {"main": small}},
        // Matches the small one as well, and comes too late for it.
        {"match": {"architectures": [architecture], "nodeSelector": known}, "images": {"main": large}},
    ]);
    group.apply("app", json!({}), json!({}), json!({"variants": variants})).await?;
    for (node, image) in [(&a, small), (&b, large)] {
        group.running(node, "app").await?;
        let container = node.app(&group.namespace, "app").await?.running().await?;
        let runs = container.config.and_then(|config| config.image);
        ensure!(runs.as_deref() == Some(image), "{} runs {runs:?}", node.name);
    }
    let refused = group.refused("app", &c, "NoVariant").await?;
    ensure!(refused.message.contains(&format!("linux/{architecture}")), "{refused:?}");
    let counts = group.status("app").await?.nodes.context("counts")?;
    ensure!((counts.desired, counts.not_placeable) == (2, 1), "{counts:?}");
    group.caught_up(&[&c]).await?;
    ensure!(c.app(&group.namespace, "app").await?.all().await?.is_empty(), "it runs where no variant is");

    // The label that was missing: that node goes on, and the others are not touched.
    let before = group.where_it_runs("app", &[&a, &b]).await?;
    group.site.kubectl().run(&["label", "--overwrite", "en", &c.name, "size=large"]).await?;
    group.settled("app", 3).await?;
    ensure!(group.where_it_runs("app", &[&a, &b]).await? == before, "the others were touched");
    Ok(())
}

pub async fn a_selector_takes_the_nodes_that_match(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let a = group.node_with(&[("tier", "edge"), ("camera", "yes")], "").await?;
    let b = group.node_with(&[("tier", "edge")], "").await?;
    let c = group.node_with(&[("tier", "core"), ("camera", "yes")], "").await?;
    let nodes = [&a, &b, &c];
    let own = |rest: Value| json!({"nodeSelector": {"matchLabels": {"group": group.name}, "matchExpressions": rest}});
    let cases = [
        ("in", json!([{"key": "tier", "operator": "In", "values": ["edge", "other"]}]), vec![&a, &b]),
        ("not-in", json!([{"key": "tier", "operator": "NotIn", "values": ["edge"]}]), vec![&c]),
        ("exists", json!([{"key": "camera", "operator": "Exists"}]), vec![&a, &c]),
        ("not-there", json!([{"key": "camera", "operator": "DoesNotExist"}]), vec![&b]),
        (
            "both",
            json!([{"key": "camera", "operator": "Exists"}, {"key": "tier", "operator": "In", "values": ["edge"]}]),
            vec![&a],
        ),
    ];
    for (name, expressions, _) in &cases {
        group.sleeper(name, own(expressions.clone())).await?;
    }
    for (name, _, expected) in &cases {
        let found = group.spread(name, &nodes, expected.len()).await?;
        let found: Vec<_> = found.into_iter().map(|(node, _)| node).collect();
        let expected: Vec<_> = expected.iter().map(|node| node.name.clone()).collect();
        ensure!(found == expected, "{name} runs on {found:?}, not on {expected:?}");
        let refused = group.status(name).await?.not_placeable;
        ensure!(refused.is_empty(), "a node that is not selected is no node that cannot: {refused:?}");
    }
    Ok(())
}

pub async fn a_taint_keeps_away_what_does_not_tolerate_it(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let (plain, tainted) = (group.node().await?, group.node().await?);
    let tolerations = json!({"tolerations": [{"key": "use", "value": "lab"}]});
    group.sleeper("early", json!({})).await?;
    group.settled("early", 2).await?;
    let before = group.where_it_runs("early", &[&tainted]).await?;

    let taints = |effect: &str| json!({"taints": [{"key": "use", "value": "lab", "effect": effect}]});
    group.patch(&tainted, taints("NoSchedule")).await?;
    group.sleeper("late", json!({})).await?;
    group.sleeper("guest", tolerations).await?;
    let refused = group.refused("late", &tainted, "Tainted").await?;
    ensure!(refused.message.contains("use=lab:NoSchedule"), "{refused:?}");
    group.settled("late", 1).await?;
    group.settled("guest", 2).await?;
    ensure!(group.where_it_runs("early", &[&tainted]).await? == before, "what ran there was touched");
    ensure!(tainted.app(&group.namespace, "late").await?.all().await?.is_empty(), "the taint is not heeded");

    // Who tolerates it stays, who does not goes.
    let guest = group.where_it_runs("guest", &[&plain, &tainted]).await?;
    group.patch(&tainted, taints("NoExecute")).await?;
    gone(&group, "early", &tainted).await?;
    let refused = group.refused("early", &tainted, "Tainted").await?;
    ensure!(refused.message.contains("use=lab:NoExecute"), "{refused:?}");
    ensure!(group.where_it_runs("guest", &[&plain, &tainted]).await? == guest, "the guest was touched");

    group.patch(&tainted, json!({"taints": null})).await?;
    for name in ["early", "late"] {
        group.spread(name, &[&plain, &tainted], 2).await?;
    }
    Ok(())
}

pub async fn a_cordon_keeps_what_runs_and_lets_nothing_new_in(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let (open, cordoned) = (group.node().await?, group.node().await?);
    let nodes = [&open, &cordoned];
    group.sleeper("early", json!({})).await?;
    group.settled("early", 2).await?;
    let before = group.where_it_runs("early", &nodes).await?;
    group.patch(&cordoned, json!({"unschedulable": true})).await?;
    group.sleeper("late", json!({})).await?;
    let refused = group.refused("late", &cordoned, "Unschedulable").await?;
    ensure!(refused.message.contains("spec.unschedulable"), "{refused:?}");
    group.spread("late", &nodes, 1).await?;
    ensure!(group.where_it_runs("early", &nodes).await? == before, "what ran was touched");

    // What runs there is still updated: it is the app's place.
    let annotated = json!({"template": {"metadata": {"annotations": {"revision": "2"}}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "1000"]}],
    }}});
    group.apply("early", json!({}), json!({}), annotated).await?;
    eventually("the cordoned node has the new revision", || async {
        let now = group.where_it_runs("early", &[&cordoned]).await?;
        match &now[..] {
            [one] if !before.contains(one) => Ok(()),
            _ => bail!("{now:?}"),
        }
    })
    .await?;

    group.patch(&cordoned, json!({"unschedulable": false})).await?;
    group.spread("late", &nodes, 2).await?;
    Ok(())
}

pub async fn as_many_replicas_run_as_are_asked_for(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let (a, b, c) = (group.node().await?, group.node().await?, group.node().await?);
    let replicas = |count: i32| json!({"replicas": count});
    group.sleeper("app", replicas(2)).await?;
    let three = [&a, &b, &c];
    let two = group.spread("app", &three, 2).await?;

    // Nodes that come take nothing from those that serve.
    let (d, e) = (group.node().await?, group.node().await?);
    let all = [&a, &b, &c, &d, &e];
    group.caught_up(&all).await?;
    ensure!(group.where_it_runs("app", &all).await? == two, "a new node moved something");

    let status = group.status("app").await?;
    ensure!(status.not_placeable.is_empty(), "nothing is in the way: {status:?}");
    group.sleeper("app", replicas(3)).await?;
    let more = group.spread("app", &all, 3).await?;
    ensure!(two.iter().all(|old| more.contains(old)), "{two:?} became {more:?}");
    group.sleeper("app", replicas(1)).await?;
    let one = group.spread("app", &all, 1).await?;
    ensure!(more.contains(&one[0]), "{more:?} became {one:?}");

    // Those that are missing are told, and keep none of the others waiting.
    group.sleeper("app", replicas(7)).await?;
    eventually("it says that nodes are missing", || async {
        let status = group.status("app").await?;
        let counts = status.nodes.context("counts")?;
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").context("a condition")?;
        let told = (&*ready.status, &*ready.reason) == ("False", "TooFewNodes");
        if told && (counts.desired, counts.ready) == (7, 5) { Ok(()) } else { bail!("{counts:?} {ready:?}") }
    })
    .await?;
    let most = group.where_it_runs("app", &all).await?;
    ensure!(most.len() == 5 && most.contains(&one[0]), "{one:?} became {most:?}");
    group.sleeper("app", replicas(0)).await?;
    group.spread("app", &all, 0).await?;
    Ok(())
}

pub async fn a_replica_leaves_its_node_only_when_it_must(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let mut nodes = vec![group.node().await?, group.node().await?, group.node().await?];
    group.sleeper("app", json!({"replicas": 1})).await?;
    let first = group.spread("app", &nodes.iter().collect::<Vec<_>>(), 1).await?;
    let home = nodes.iter().position(|node| node.name == first[0].0).context("a node of the group")?;
    let mut home = nodes.remove(home);

    // Neither a cordon nor a lost link is a reason to go.
    group.patch(&home, json!({"unschedulable": true})).await?;
    group.caught_up(&[&nodes[0], &nodes[1], &home]).await?;
    home.agent()?.kill()?;
    home.condition("Ready", "Unknown").await?;
    group.caught_up(&[&nodes[0], &nodes[1]]).await?;
    let others: Vec<_> = nodes.iter().collect();
    ensure!(group.where_it_runs("app", &others).await?.is_empty(), "it runs elsewhere, too");
    ensure!(group.where_it_runs("app", &[&home]).await? == first, "what runs was touched");

    // A node that is deleted is no node any more.
    group.site.kubectl().run(&["delete", "en", &home.name]).await?;
    let second = group.spread("app", &others, 1).await?;

    // When its box comes back with what it runs, it is a new node that takes nothing from those that serve.
    home.start()?;
    home.ready().await?;
    let all = [&nodes[0], &nodes[1], &home];
    gone(&group, "app", &home).await?;
    group.caught_up(&all).await?;
    ensure!(group.where_it_runs("app", &all).await? == second, "{second:?} was touched");

    // A taint NoExecute is a reason to go, and a node that is free takes over.
    let holder = all.into_iter().find(|node| node.name == second[0].0).context("a node of the group")?;
    group.patch(holder, json!({"taints": [{"key": "out", "effect": "NoExecute"}]})).await?;
    gone(&group, "app", holder).await?;
    group.spread("app", &all, 1).await?;
    Ok(())
}

pub async fn what_does_not_fit_is_not_placed_and_says_why(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let node = group.node().await?;
    let status = group.site.nodes().get(&node.name).await?.status.context("a status")?;
    let memory = status.capacity.context("a capacity")?.get("memory").context("memory")?.units()?;
    let most = memory / 4 * 3;
    let requests = |memory: u64| json!({"requests": {"memory": memory.to_string()}});
    group.apply("first", json!({}), requests(most), json!({})).await?;
    group.running(&node, "first").await?;
    let before = group.where_it_runs("first", &[&node]).await?;
    group.apply("second", json!({}), requests(most), json!({})).await?;
    let refused = group.refused("second", &node, "InsufficientResources").await?;
    let (requested, free) = (most >> 20, (memory - most) >> 20);
    let words = format!("memory: {requested}Mi requested, {free}Mi free on the node");
    ensure!(refused.message == words, "{refused:?}");
    // What fits beside it goes on.
    group.apply("small", json!({}), requests(memory / 8), json!({})).await?;
    group.running(&node, "small").await?;
    group.caught_up(&[&node]).await?;
    ensure!(node.app(&group.namespace, "second").await?.all().await?.is_empty(), "it runs all the same");
    ensure!(group.where_it_runs("first", &[&node]).await? == before, "what runs was touched");
    group.delete("first").await?;
    group.running(&node, "second").await
}

pub async fn a_device_goes_round_by_its_count(site: Shared) -> Result<()> {
    let group = Group::new(site).await?;
    let table = "[devices.zero]\npaths = [\"/dev/zero\"]\ncount = 1\n";
    let (has, has_not) = (group.node_with(&[], table).await?, group.node().await?);
    let device = || json!({"limits": {"skerry.dev/zero": 1}});
    group.apply("first", json!({}), device(), json!({})).await?;
    group.running(&has, "first").await?;
    let container = has.app(&group.namespace, "first").await?.running().await?;
    let devices = container.host_config.and_then(|host| host.devices).unwrap_or_default();
    ensure!(devices.iter().any(|d| d.path_on_host.as_deref() == Some("/dev/zero")), "{devices:?}");
    let refused = group.refused("first", &has_not, "InsufficientResources").await?;
    ensure!(refused.message == "skerry.dev/zero: 1 requested, 0 free on the node", "{refused:?}");

    // The one replica has a place only where the device is, and that is taken.
    group.apply("second", json!({"replicas": 1}), device(), json!({})).await?;
    for node in [&has, &has_not] {
        group.refused("second", node, "InsufficientResources").await?;
    }
    group.delete("first").await?;
    group.running(&has, "second").await?;
    ensure!(has_not.app(&group.namespace, "second").await?.all().await?.is_empty(), "without a device");
    Ok(())
}

pub async fn two_new_apps_with_one_port_stop_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let (port, other) = (free_port()?, free_port()?);
    site.kubectl().apply(&web_yaml(&namespace, "bystander", &node.name, other, "calm")).await?;
    node.phase(&namespace, "bystander", "Running").await?;
    let bystander = node.app(&namespace, "bystander").await?.identities().await?;
    // In one go: which is first is the agent's to say.
    let both = ["one", "two"].map(|name| web_yaml(&namespace, name, &node.name, port, name)).join("---\n");
    site.kubectl().apply(&both).await?;
    let (holder, late) = eventually("one serves and the other says why not", || async {
        let (one, two) = (node.report(&namespace, "one").await?, node.report(&namespace, "two").await?);
        match (one.phase.as_str(), two.phase.as_str()) {
            ("Running", "Failed") => Ok((one, two)),
            ("Failed", "Running") => Ok((two, one)),
            _ => bail!("{one:?} {two:?}"),
        }
    })
    .await?;
    ensure!(late.reason == "PortConflict", "{late:?}");
    let holder_key = format!("{namespace}/{}", holder.name);
    ensure!(late.message.contains(&port.to_string()) && late.message.contains(&holder_key), "{late:?}");
    eventually("the holder serves", || async {
        let answer = get(port, "/").await?;
        if answer == (200, format!("{}\n", holder.name)) { Ok(()) } else { bail!("{answer:?}") }
    })
    .await?;
    eventually("the app says on which node it failed", || async {
        let status = site.apps(&namespace).get(&late.name).await?.status.unwrap_or_default();
        let told = |f: &skerry_api::NodeFailure| f.node == node.name && f.message.contains(&port.to_string());
        if status.failures.iter().any(told) { Ok(()) } else { bail!("{status:?}") }
    })
    .await?;
    let container = node.app(&namespace, &holder.name).await?.running().await?;
    ensure!(container.id == Some(holder.containers[0].id.clone()), "the holder was replaced");
    ensure!(container.restart_count == Some(0), "the holder was restarted");
    let calm = node.app(&namespace, "bystander").await?.identities().await?;
    ensure!(calm == bystander, "a bystander was touched");
    Ok(())
}
