//! Everything together: a cluster, replicas, links, boxes. Takes a step, and checks what must hold after each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use skerry_agent_core::Input;
use skerry_terms::NodeName;

use crate::boxes::{Edge, Said, Sent};
use crate::cluster::{Cluster, Kind};
use crate::content::{self, APPS, VERSIONS, app_key, image};
use crate::link::Link;
use crate::replica::{Around, Replica};
use crate::step::Step;

pub const NODES: usize = 2;
pub const REPLICAS: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct World {
    pub cluster: Cluster,
    /// Absent while it is down.
    pub replicas: Vec<Option<Replica>>,
    pub links: BTreeMap<u64, Link>,
    pub boxes: Vec<Edge>,
    pub sent: Sent,
    pub now: Duration,
    next_link: u64,
}

impl World {
    /// Everything is up, nothing is asked for, nobody is connected.
    pub fn new() -> Result<Self> {
        let name = |n: usize| -> Result<NodeName> { Ok(format!("box-{n}").parse()?) };
        let mut world = Self {
            cluster: Cluster::new(),
            replicas: (0..REPLICAS).map(|n| Some(Replica::new(format!("replica-{n}")))).collect(),
            links: BTreeMap::new(),
            boxes: (0..NODES).map(|n| Edge::new(name(n)?)).collect::<Result<_>>()?,
            sent: Sent::default(),
            now: Duration::from_secs(1000),
            next_link: 1,
        };
        for edge in &mut world.boxes {
            edge.start()?;
        }
        Ok(world)
    }

    /// Takes a step. An error is a violation of what must hold.
    pub fn take(&mut self, step: Step) -> Result<()> {
        self.apply(step)?;
        self.boxes.iter().try_for_each(Edge::check)
    }

    fn apply(&mut self, step: Step) -> Result<()> {
        let node = |n: u8| usize::from(n) % NODES;
        let app = |n: u8| app_key(usize::from(n) % APPS);
        match step {
            Step::Edit { app: a, version } => self.cluster.edit(app(a), version % VERSIONS),
            Step::Delete { app: a } => self.cluster.delete(app(a)),
            Step::Relabel { node: n, site } => {
                let site = format!("s{}", site % 3);
                let name = self.boxes[node(n)].name.clone();
                self.cluster.change_node(&name, |node| {
                    node.labels.insert("site".to_owned(), site);
                });
            }
            Step::DeleteNode { node: n } => self.cluster.delete_node(&self.boxes[node(n)].name),
            Step::Backup => self.cluster.back_up(),
            Step::Restore => self.cluster.restore(),
            Step::Rebuild => self.cluster.rebuild(),
            Step::Accept { node: n } => {
                self.accept(node(n));
            }
            Step::Watch { replica, kind, events } => {
                self.on_replica(replica, |r, around| r.watch(kind_of(kind), usize::from(events), around))?;
            }
            Step::List { replica, kind } => {
                self.on_replica(replica, |r, around| r.list(kind_of(kind), around))?
            }
            Step::Write { replica } => self.on_replica(replica, |r, around| r.write(around).map(drop))?,
            Step::CrashReplica { replica } => {
                let replica = usize::from(replica) % REPLICAS;
                self.replicas[replica] = None;
                let of_it = self.links.values_mut().filter(|link| link.replica == replica);
                of_it.for_each(|link| link.replica_end = false);
            }
            Step::StartReplica { replica } => {
                let replica = usize::from(replica) % REPLICAS;
                self.replicas[replica].get_or_insert_with(|| Replica::new(format!("replica-{replica}")));
            }
            Step::Connect { node: n, replica } => self.connect(node(n), usize::from(replica) % REPLICAS)?,
            Step::Up { node: n, frames } => {
                let newest =
                    self.links.iter().rev().find(|(_, link)| link.node == node(n)).map(|(id, _)| *id);
                for _ in 0..frames {
                    newest.map_or(Ok(()), |link| self.up(link))?;
                }
            }
            Step::Down { node: n, frames } => {
                for _ in 0..frames {
                    self.down(node(n))?;
                }
            }
            Step::Late { link } => {
                let left: Vec<u64> =
                    self.links.iter().filter(|(_, link)| !link.agent_end).map(|(id, _)| *id).collect();
                if let Some(at) = usize::from(link).checked_rem(left.len()) {
                    self.up(left[at])?;
                }
            }
            Step::Cut { node: n } => self.cut(node(n))?,
            Step::CutSilently { node: n } => {
                if let Some(link) = self.boxes[node(n)].link.and_then(|link| self.links.get_mut(&link)) {
                    link.up.clear();
                }
                self.cut(node(n))?;
            }
            Step::HalfOpen { node: n } => {
                let Some(id) = self.boxes[node(n)].link else { return Ok(()) };
                let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
                link.replica_end = false;
                let (replica, name) = (link.replica, self.boxes[node(n)].name.clone());
                if let Some(replica) = &mut self.replicas[replica] {
                    replica.gone(id, &name, self.now);
                }
            }
            Step::Look { node: n } => {
                let said = self.boxes[node(n)].look(&self.sent)?;
                self.say(node(n), said)?;
            }
            Step::Work { node: n, list } => self.boxes[node(n)].work(usize::from(list))?,
            Step::Disk { node: n } => {
                let said = self.boxes[node(n)].disk(&self.sent)?;
                self.say(node(n), said)?;
            }
            Step::DiskBreaks { node: n } => self.boxes[node(n)].disk_broken = true,
            Step::DiskMends { node: n } => self.boxes[node(n)].disk_broken = false,
            Step::CrashAgent { node: n, wrote } => {
                self.cut(node(n))?;
                self.boxes[node(n)].crash(wrote);
            }
            Step::StartAgent { node: n } => self.boxes[node(n)].start()?,
            Step::Corrupt { node: n } => {
                self.boxes[node(n)].corrupt = self.boxes[node(n)].disk.held.is_some()
            }
            Step::DockerDown { node: n } => self.boxes[node(n)].docker_up = false,
            Step::DockerUp { node: n } => {
                let edge = &mut self.boxes[node(n)];
                edge.docker_up = true;
                edge.world_changed();
            }
            Step::Exit { node: n, container, code } => self.exit(node(n), container, code),
            Step::Registry { node: n, version } => {
                let (image, site) = (image(version % VERSIONS), &mut self.boxes[node(n)].site);
                match site.missing_images.iter().position(|missing| *missing == image) {
                    Some(at) => drop(site.missing_images.remove(at)),
                    None => site.missing_images.push(image),
                }
            }
            Step::Clock { node: n, hours } => {
                self.boxes[node(n)].site.clock_error = i64::from(hours) * 3_600_000;
            }
            Step::Pass { seconds } => self.pass(Duration::from_secs(seconds.into()))?,
        }
        Ok(())
    }

    fn on_replica(
        &mut self,
        replica: u8,
        what: impl FnOnce(&mut Replica, &mut Around<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { cluster, replicas, links, sent, now, .. } = self;
        match &mut replicas[usize::from(replica) % REPLICAS] {
            Some(replica) => what(replica, &mut Around { cluster, links, sent, now: *now }),
            None => Ok(()),
        }
    }

    /// A person does what the node's condition says. True if there was something to do.
    pub fn accept(&mut self, node: usize) -> bool {
        let name = &self.boxes[node].name;
        let Some(object) = self.cluster.nodes.get(name) else { return false };
        let stalled = object.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
        let command = stalled.and_then(|condition| condition.message.split_once("accept-past='"));
        let Some(value) =
            command.and_then(|(_, rest)| rest.split_once('\'')).map(|(value, _)| value.to_owned())
        else {
            return false;
        };
        let is_new = object.accept_past.as_ref() != Some(&value);
        self.cluster.change_node(name, |node| node.accept_past = Some(value));
        is_new
    }

    fn connect(&mut self, node: usize, replica: usize) -> Result<()> {
        let edge = &mut self.boxes[node];
        if edge.agent.is_none() || edge.link.is_some() || self.replicas[replica].is_none() {
            return Ok(());
        }
        let id = self.next_link;
        self.next_link += 1;
        self.links.insert(id, Link::new(node, replica));
        edge.link = Some(id);
        let said = edge.input(Input::Connected, &self.sent)?;
        self.say(node, said)
    }

    /// What leaves a box goes into its link, if it has one.
    fn say(&mut self, node: usize, said: Vec<Said>) -> Result<()> {
        for said in said {
            let Some(link) = self.boxes[node].link.and_then(|link| self.links.get_mut(&link)) else {
                continue;
            };
            let takes = match said {
                Said::Frame(frame) => link.say(frame),
                Said::Close => false,
            };
            if !takes {
                self.cut(node)?;
            }
        }
        Ok(())
    }

    /// The agent's end of its link is over, and it knows.
    fn cut(&mut self, node: usize) -> Result<()> {
        let Some(id) = self.boxes[node].link.take() else { return Ok(()) };
        if let Some(link) = self.links.get_mut(&id) {
            link.agent_end = false;
            link.down.clear();
        }
        let said = self.boxes[node].input(Input::Disconnected, &self.sent)?;
        self.say(node, said)
    }

    /// The next frame of a link arrives at the replica, or its end does.
    fn up(&mut self, id: u64) -> Result<()> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let (node, replica) = (link.node, link.replica);
        let frame = link.up.pop_front();
        if !link.replica_end {
            if !link.agent_end {
                self.links.remove(&id);
            }
            return Ok(());
        }
        let name = self.boxes[node].name.clone();
        match frame {
            Some(frame) => {
                let replica = u8::try_from(replica)?;
                self.on_replica(replica, |replica, around| replica.hear(id, &name, frame, around))
            }
            None if !link.agent_end => {
                self.links.remove(&id);
                if let Some(replica) = &mut self.replicas[replica] {
                    replica.gone(id, &name, self.now);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The next frame of a box's link arrives at its agent, or that the replica is gone does.
    fn down(&mut self, node: usize) -> Result<()> {
        let Some(link) = self.boxes[node].link.and_then(|link| self.links.get_mut(&link)) else {
            return Ok(());
        };
        match link.down.pop_front() {
            Some(frame) => {
                let said = self.boxes[node].input(Input::Received(frame), &self.sent)?;
                self.say(node, said)
            }
            None if !link.replica_end => self.cut(node),
            None => Ok(()),
        }
    }

    fn exit(&mut self, node: usize, container: u8, code: u8) {
        let edge = &mut self.boxes[node];
        let ours =
            edge.site.world.containers.iter().filter(|(_, c)| c.ownership().is_some() && c.state.is_alive());
        let ids: Vec<_> = ours.map(|(id, _)| id.clone()).collect();
        if let Some(at) = usize::from(container).checked_rem(ids.len()) {
            edge.site.end(&ids[at], i64::from(code % 3));
            edge.world_changed();
        }
    }

    /// Time goes by, for all.
    pub fn pass(&mut self, time: Duration) -> Result<()> {
        self.now += time;
        for replica in 0..REPLICAS {
            self.on_replica(u8::try_from(replica)?, |replica, around| replica.pass(around))?;
        }
        for node in 0..NODES {
            let site = &mut self.boxes[node].site;
            site.now = site.now.after(time);
            let said = self.boxes[node].plan_again(&self.sent)?;
            self.say(node, said)?;
            if self.boxes[node].wake_at().is_none_or(|wake| wake <= self.boxes[node].site.now.after(time)) {
                self.boxes[node].world_changed();
            }
        }
        Ok(())
    }
}

pub fn kind_of(kind: u8) -> Kind {
    Kind::ALL[usize::from(kind) % Kind::ALL.len()]
}

/// The version of an app that a healthy world can run.
pub fn sound(version: u8) -> u8 {
    if version == content::UNSUPPORTED { 0 } else { version }
}
