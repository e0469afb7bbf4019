//! What all cases share: one standalone controller, and three nodes: one that allows everything that a case may want, a second one like it for
//! what is about several, and one whose owner allows nothing beyond the defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use skerry_api::{AppReport, EdgeNode};
use skerry_tests::{AgentOptions, LIMIT, Node, Plane, Site};
use tempfile::TempDir;
use tokio::sync::watch;

/// The site. Ended when dropped.
pub struct Stage {
    pub site: Arc<Site>,
    /// Allows everything that a case may want; has devices.
    pub open: Node,
    /// As open as the first.
    pub second: Node,
    /// With the policy of a box whose owner has written none.
    pub strict: Node,
    /// What the nodes report.
    pub reports: Reports,
    /// A folder of the box under which host paths are allowed.
    pub host: TempDir,
}

impl Stage {
    pub async fn start() -> Result<Arc<Self>> {
        let host = tempfile::Builder::new().prefix("skerry-conformance-").tempdir()?;
        let site = Site::start(Plane::Standalone).await?;
        let reports = Reports::follow(&site);
        std::fs::create_dir(host.path().join(SECCOMP))?;
        let keys = format!("seccomp-folder = {:?}\n", host.path().join(SECCOMP));
        let allowed = AgentOptions { keys, config: policy(&host), ..AgentOptions::default() };
        let open = site.node_with(allowed.clone())?;
        let second = site.node_with(allowed)?;
        let strict = site.node_with(AgentOptions::default())?;
        for node in [&open, &second, &strict] {
            node.ready().await?;
        }
        Ok(Arc::new(Self { site, open, second, strict, reports, host }))
    }
}

/// The open boxes' folder of seccomp profiles, below the folder of host paths.
pub const SECCOMP: &str = "seccomp";

fn policy(host: &TempDir) -> String {
    format!(
        "[policy]\nprivileged = true\nhost-network = true\nhost-pid = true\nhost-ipc = true\nhost-paths = [{:?}, \"/dev/null\"]\n\
         capabilities = [\"NET_ADMIN\", \"SYS_TIME\"]\nseccomp-unconfined = true\n\
         [devices.camera]\npaths = [\"/dev/zero\"]\ncount = 1\n\
         [devices.printer]\npaths = [\"/dev/full\"]\ncount = 1\n\
         [devices.random]\npaths = [\"/dev/urandom\"]\ncount = 64\n",
        host.path()
    )
}

/// What every node reports of every app, kept by one watch of the API.
pub struct Reports {
    nodes: watch::Receiver<BTreeMap<String, EdgeNode>>,
    task: tokio::task::JoinHandle<()>,
}

impl Reports {
    fn follow(site: &Site) -> Self {
        let (sender, nodes) = watch::channel(BTreeMap::new());
        let stream = watcher(site.nodes(), watcher::Config::default()).default_backoff().applied_objects();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            loop {
                match stream.try_next().await {
                    Ok(Some(node)) => {
                        let name = node.metadata.name.clone().unwrap_or_default();
                        sender.send_modify(|nodes| drop(nodes.insert(name, node)));
                    }
                    Ok(None) => return,
                    // The watcher lists again by itself.
                    Err(_) => {}
                }
            }
        });
        Self { nodes, task }
    }

    /// Waits until the report of the app (node, namespace, name) is so.
    pub async fn wait(
        &self,
        (node, namespace, name): (&str, &str, &str),
        so: impl Fn(&AppReport) -> bool,
    ) -> Result<AppReport> {
        let find = |nodes: &BTreeMap<String, EdgeNode>| {
            let apps = nodes.get(node)?.status.as_ref().map(|status| status.apps.as_slice())?;
            apps.iter().find(|app| app.namespace == namespace && app.name == name).cloned()
        };
        let mut nodes = self.nodes.clone();
        let waited =
            tokio::time::timeout(LIMIT, nodes.wait_for(|nodes| find(nodes).is_some_and(|one| so(&one))))
                .await;
        if let Ok(waited) = waited {
            let nodes = waited.context("the watch of the nodes ended")?;
            return find(&nodes).context("it was there");
        }
        let seen = find(&self.nodes.borrow());
        anyhow::bail!("not within {} s; last reported: {seen:?}", LIMIT.as_secs())
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.task.abort();
    }
}
