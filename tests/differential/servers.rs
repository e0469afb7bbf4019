//! The two servers that are compared: started here, or running already and named by their kubeconfigs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use libtest_mimic::Arguments;
use skerry_tests::{BareApi, ControlPlane, Plane};

/// Kubeconfigs of servers that run already; what is absent is started.
#[derive(Debug, Default)]
pub struct Chosen {
    left: Option<PathBuf>,
    right: Option<PathBuf>,
    /// Say what the left server answers.
    print: bool,
}

/// Takes our own arguments out of the command line, and leaves the rest to libtest's.
pub fn arguments() -> Result<(Arguments, Chosen)> {
    let mut chosen = Chosen {
        left: std::env::var_os("SKERRY_LEFT").map(PathBuf::from),
        right: std::env::var_os("SKERRY_RIGHT").map(PathBuf::from),
        print: false,
    };
    let mut rest = Vec::new();
    let mut given = std::env::args();
    while let Some(argument) = given.next() {
        let place = match argument.as_str() {
            "--left" => &mut chosen.left,
            "--right" => &mut chosen.right,
            "--print" => {
                chosen.print = true;
                continue;
            }
            _ => {
                rest.push(argument);
                continue;
            }
        };
        *place = Some(given.next().with_context(|| format!("{argument} needs a kubeconfig"))?.into());
    }
    Ok((crate::known(rest), chosen))
}

/// Both servers.
#[derive(Debug)]
pub struct Servers {
    /// The one that is right by definition.
    pub left: Server,
    /// The one that is judged.
    pub right: Server,
    standalone: bool,
    /// Say what the left server answers.
    pub print: bool,
    /// Part of the name of every namespace of this run.
    run: u64,
    namespaces: AtomicUsize,
}

impl Servers {
    pub async fn start(chosen: Chosen) -> Result<Self> {
        let left = match chosen.left {
            Some(kubeconfig) => Server::at(&kubeconfig).await?,
            None => Server::real().await?,
        };
        let (right, standalone) = match chosen.right {
            Some(kubeconfig) => {
                (Server::at(&kubeconfig).await?, std::env::var_os("SKERRY_NO_ACCEPTED").is_none())
            }
            None => Server::judged().await?,
        };
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 1_000_000;
        Ok(Self { left, right, standalone, print: chosen.print, run, namespaces: AtomicUsize::new(0) })
    }

    /// The right server is the standalone one, so `accepted.rs` counts.
    pub fn is_standalone(&self) -> bool {
        self.standalone
    }

    /// A name that neither server knows. As long in every run, because lengths show in answers.
    pub fn namespace(&self) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        format!("d{:06}-{number:03}", self.run)
    }
}

/// One server as a test talks to it.
#[derive(Debug)]
pub struct Server {
    admin: Connection,
    /// The same server with a token that it does not know, and with none.
    stranger: Connection,
    nobody: Connection,
    /// Ended when dropped.
    _plane: Option<ControlPlane>,
    _api: Option<BareApi>,
}

/// A client that has a `Debug`.
#[derive(Clone)]
struct Connection(kube::Client);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Server {
    async fn real() -> Result<Self> {
        let plane = ControlPlane::start(Plane::Kube).await?;
        let server = Self::at(plane.kubeconfig()).await?;
        Ok(Self { _plane: Some(plane), ..server })
    }

    /// The server that is judged: the standalone one.
    async fn judged() -> Result<(Self, bool)> {
        let api = BareApi::start().await?;
        let server = Self::at(&api.kubeconfig()).await?;
        Ok((Self { _api: Some(api), ..server }, true))
    }

    async fn at(kubeconfig: &Path) -> Result<Self> {
        let read = Kubeconfig::read_from(kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        // An answer is compared as it is, also one that asks to try again.
        config.default_retry = false;
        let connect = |config: Config| Ok::<_, anyhow::Error>(Connection(kube::Client::try_from(config)?));
        let mut nobody = config.clone();
        nobody.auth_info = Default::default();
        let mut stranger = nobody.clone();
        stranger.auth_info.token = Some("no-such-token".to_owned().into());
        let (admin, stranger, nobody) = (connect(config)?, connect(stranger)?, connect(nobody)?);
        Ok(Self { admin, stranger, nobody, _plane: None, _api: None })
    }

    /// The client of someone: `admin`, `stranger` (a token that no server knows) or `nobody` (no token).
    pub fn client(&self, who: &str) -> Result<kube::Client> {
        match who {
            "admin" => Ok(self.admin.0.clone()),
            "stranger" => Ok(self.stranger.0.clone()),
            "nobody" => Ok(self.nobody.0.clone()),
            other => anyhow::bail!("no such user in the corpus: {other}"),
        }
    }
}
