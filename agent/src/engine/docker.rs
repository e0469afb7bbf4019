//! The real engine: Docker through its socket. Each call has a bound of its own, and what Docker means by "already so" counts as done.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::models::SystemVersion;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};
use bollard::{API_DEFAULT_VERSION, body_full};
use futures::{Stream, StreamExt as _, stream};
use skerry_agent_core::{
    ContainerId, CreateSpec, Desired, Hook, ImageId, Observed, Projection, RegistryAuth, Resources, registry,
};
use skerry_terms::{AppKey, Chain, labels};
use tokio::sync::{Semaphore, mpsc};
use tracing::info;

use super::create::prepare::{off_thread, prepare};
use super::inspect::Inspected;
use super::refusal::{CONFLICT, NOT_FOUND, classify, status, words};
use super::transport::Lines;
use super::{
    Engine, EngineError, Folders, Ran, Signal, auth, create, events, hooks, hosts, observe, pause, transport,
    update, volumes,
};

/// A question that Docker answers from memory.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole look. A Docker that lists its containers and describes none of them must not hold it up container by container.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// Creating, starting and removing touch disks, which can be slow flash.
pub(super) const WORK_TIMEOUT: Duration = Duration::from_secs(120);
/// A Docker that is well answers a ping at once, whatever it is working on.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// On top of a container's own grace period.
pub(super) const STOP_MARGIN: Duration = Duration::from_secs(30);
/// A pull without any progress for this long is dead. The whole pull may take hours on a thin link.
const PULL_IDLE: Duration = Duration::from_secs(120);
/// Containers that are created, started or removed at once. More would make each slower, on both sides of the socket.
const WORKERS: usize = 8;
/// bollard's own bound, above all of ours.
const LIBRARY_TIMEOUT_SECONDS: u64 = 7 * 24 * 3600;

/// Docker behind a socket. Connects when it is first asked, and again when the connection was lost.
#[derive(Debug)]
pub struct Docker {
    pub(super) socket: PathBuf,
    pub(super) machine: create::Machine,
    pub(super) folders: Folders,
    /// Speaks the daemon's API version. Absent until the daemon has answered, and after it went away: its successor may be another
    /// version.
    client: Mutex<Option<bollard::Docker>>,
    pub(super) inspected: Mutex<Inspected>,
    pub(super) workers: Semaphore,
    /// When it was last looked for what removed containers have left behind.
    pub(super) swept: Mutex<Option<Instant>>,
    /// What pulls have brought and housekeeping has not yet taken note of.
    pub(super) pulled: Mutex<BTreeMap<ImageId, String>>,
}

/// A poisoned lock holds only what a look can restore.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a call after `timeout`, whatever part of it hangs.
pub(super) async fn bounded<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result.map_err(|error| classify(error, timeout)),
        Err(_elapsed) => Err(EngineError::TimedOut { after: timeout }),
    }
}

impl Docker {
    /// `socket` is the path of Docker's socket. Nothing is connected yet, and no folder is made.
    pub fn new(socket: &Path, folders: Folders) -> Self {
        Self {
            socket: socket.to_owned(),
            machine: create::Machine::read(),
            folders,
            client: Mutex::new(None),
            inspected: Mutex::new(Inspected::default()),
            workers: Semaphore::new(WORKERS),
            swept: Mutex::default(),
            pulled: Mutex::default(),
        }
    }

    /// Whether it can be asked at all.
    pub async fn answers(&self) -> Result<(), EngineError> {
        self.client().await.map(drop)
    }

    /// A client that speaks the daemon's version.
    pub(super) async fn client(&self) -> Result<bollard::Docker, EngineError> {
        if let Some(client) = lock(&self.client).clone() {
            return Ok(client);
        }
        let socket = self.socket.clone();
        let client = bollard::Docker::connect_with_custom_transport(
            move |request| transport::send(socket.clone(), request),
            Some("http://docker"),
            LIBRARY_TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        )
        .map_err(|error| EngineError::Unavailable { message: self.unreachable(&error) })?;
        let client = match tokio::time::timeout(ASK_TIMEOUT, client.negotiate_version()).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(EngineError::Unavailable { message: self.unreachable(&error) }),
            Err(_elapsed) => return Err(self.silent()),
        };
        *lock(&self.client) = Some(client.clone());
        Ok(client)
    }

    /// The connection is gone: the next call connects anew.
    pub(super) fn disconnect(&self) {
        *lock(&self.client) = None;
    }

    pub(super) async fn version(&self) -> Result<SystemVersion, EngineError> {
        let version = bounded(ASK_TIMEOUT, self.client().await?.version()).await;
        version.map_err(
            |error| if matches!(error, EngineError::TimedOut { .. }) { self.silent() } else { error },
        )
    }

    /// Does what may take long, and gives it up when Docker itself does not answer meanwhile: then it is not this that takes long, and the sooner
    /// that is known, the better.
    async fn work<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        tokio::select! {
            done = call => done,
            error = self.hangs() => Err(error),
        }
    }

    /// Ends when Docker answers nothing any more.
    async fn hangs(&self) -> EngineError {
        loop {
            tokio::time::sleep(ASK_TIMEOUT).await;
            let ping = async {
                // Who cannot be reached does not hang, and says so by itself.
                if let Ok(client) = self.client().await {
                    drop(client.ping().await);
                }
            };
            if tokio::time::timeout(PING_TIMEOUT, ping).await.is_err() {
                return self.silent();
            }
        }
    }

    /// It takes the question and does not answer.
    fn silent(&self) -> EngineError {
        let (socket, seconds) = (self.socket.display(), ASK_TIMEOUT.as_secs());
        EngineError::Unavailable {
            message: format!(
                "docker hangs: nothing came from {socket} within {seconds} s; look at `systemctl status docker` and restart it"
            ),
        }
    }

    fn unreachable(&self, error: &Error) -> String {
        let socket = self.socket.display();
        let fix = match self.socket.exists() {
            false => "install or start docker, or name its socket with --docker-socket",
            true => "check `systemctl status docker`, and that the agent runs as root or in the group docker",
        };
        let error = if !self.socket.exists() {
            "there is no such socket".to_owned()
        } else {
            Chain(error).to_string()
        };
        format!("docker does not answer at {socket}: {error}; {fix}")
    }

    /// True if a container with this name is there and is the one that the spec describes: an earlier attempt created it.
    async fn is_created(&self, client: &bollard::Docker, spec: &CreateSpec) -> bool {
        let found = bounded(ASK_TIMEOUT, client.inspect_container(&spec.name, None)).await;
        let labels = found.ok().and_then(|found| found.config).and_then(|config| config.labels);
        labels.is_some_and(|found| {
            create::identity(spec).iter().all(|(key, value)| found.get(key) == Some(value))
        })
    }

    async fn pull_with(
        &self,
        client: &bollard::Docker,
        image: &str,
        auth: Option<&RegistryAuth>,
    ) -> Result<(), EngineError> {
        /// What a line of the progress has beside the progress.
        #[derive(serde::Deserialize)]
        struct Line {
            error: Option<String>,
        }
        let name = with_tag(image);
        let before = self.means(client, &name).await.map(|(id, _)| id);
        let path = format!("/images/create?fromImage={}", transport::encoded(&name));
        let header = auth.and_then(auth::header);
        let lines = tokio::time::timeout(PULL_IDLE, Lines::post(client, &self.socket, &path, header))
            .await
            .unwrap_or(Err(Error::RequestTimeoutError))
            .map_err(|error| classify(error, PULL_IDLE))?;
        drain(stream::try_unfold(lines, |mut lines| async move {
            match lines.next().await? {
                Some(Line { error: Some(error) }) => Err(Error::DockerStreamError { error }),
                Some(Line { error: None }) => Ok(Some(((), lines))),
                None => Ok(None),
            }
        }))
        .await?;
        self.note_pull(client, &name, before).await;
        Ok(())
    }

    /// Removes the volumes that Docker holds for an app of this agent's.
    async fn remove_volumes(&self, app: &AppKey) -> Result<(), EngineError> {
        let client = self.client().await?;
        let label = |key: &str, value: &str| format!("{key}={value}");
        let ours = vec![
            label(labels::HOME, &self.folders.home()),
            label(labels::NAMESPACE, app.namespace()),
            label(labels::APP, app.name()),
        ];
        let options = ListVolumesOptionsBuilder::default().filters(&HashMap::from([("label", ours)])).build();
        let found = bounded(ASK_TIMEOUT, client.list_volumes(Some(options))).await?;
        for volume in found.volumes.unwrap_or_default() {
            let remove = async {
                match client.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
                    Err(error) if status(&error) == Some(NOT_FOUND) => Ok(()),
                    other => other,
                }
            };
            bounded(WORK_TIMEOUT, remove).await?;
        }
        Ok(())
    }

    async fn create_now(&self, spec: &CreateSpec) -> Result<(), EngineError> {
        let client = self.client().await?;
        let _being_made = volumes::being_made(&self.folders, &spec.name);
        let body = create::body(spec, prepare(self, &client, spec).await?, self.machine);
        let create = async || {
            let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
            tokio::time::timeout(WORK_TIMEOUT, client.create_container(Some(options), body.clone()))
                .await
                .unwrap_or(Err(Error::RequestTimeoutError))
        };
        let mut result = create().await;
        // The sandbox's image is imported when Docker misses it, not asked for before: it is missing once in a box's life.
        if spec.image.is_none() && matches!(&result, Err(error) if status(error) == Some(NOT_FOUND)) {
            self.import_pause(&client).await?;
            result = create().await;
        }
        match result {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(CONFLICT) && self.is_created(&client, spec).await => Ok(()),
            Err(error) if status(&error) == Some(NOT_FOUND) => {
                Err(EngineError::NoImage { message: words(&error).unwrap_or_default().trim().to_owned() })
            }
            Err(error) => Err(classify(error, WORK_TIMEOUT)),
        }
    }

    /// Gives Docker the sandbox's image.
    async fn import_pause(&self, client: &bollard::Docker) -> Result<(), EngineError> {
        let architecture =
            self.version().await?.arch.unwrap_or_else(|| crate::facts::architecture().to_owned());
        let archive = pause::root_filesystem(&architecture).ok_or_else(|| EngineError::Refused {
            message: format!(
                "there is no sandbox program for {architecture}; provide an image {} that sleeps",
                pause::IMAGE
            ),
        })?;
        info!("import image={}", pause::IMAGE);
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(pause::REPOSITORY)
            .tag(pause::TAG)
            .changes(vec![
                format!("LABEL {}=1", pause::LABEL),
                format!("ENTRYPOINT [\"{}\"]", pause::PROGRAM),
            ])
            .build();
        drain(client.create_image(Some(options), Some(body_full(archive.into())), None)).await
    }
}

/// Follows a pull or an import to its end. Any sign of life counts as progress.
async fn drain<T>(progress: impl Stream<Item = Result<T, Error>>) -> Result<(), EngineError> {
    let mut progress = std::pin::pin!(progress);
    loop {
        match tokio::time::timeout(PULL_IDLE, progress.next()).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(classify(error, PULL_IDLE)),
            Ok(None) => return Ok(()),
            Err(_elapsed) => return Err(EngineError::TimedOut { after: PULL_IDLE }),
        }
    }
}

/// An image without tag and digest means the tag `latest`; Docker's API would fetch every tag.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

impl Engine for Docker {
    async fn observe(&self, desired: Arc<Desired>) -> Observed {
        let look = tokio::time::timeout(LOOK_TIMEOUT, observe::observe(self, &desired));
        match look.await.unwrap_or(Err(EngineError::TimedOut { after: LOOK_TIMEOUT })) {
            Ok(world) => Observed::Known(world),
            Err(error) => {
                // What was marked as changed may not have been looked at.
                lock(&self.inspected).forget_all();
                Observed::Unknown { why: error.to_string() }
            }
        }
    }

    async fn pull(&self, image: &str, auths: &[RegistryAuth]) -> Result<(), EngineError> {
        let client = self.client().await?;
        let mut refusal = None;
        for auth in registry::credentials(auths, image) {
            match self.pull_with(&client, image, Some(auth)).await {
                Err(error @ EngineError::Refused { .. }) => refusal = refusal.or(Some(error)),
                other => return other,
            }
        }
        // An image that everybody may have is not lost by credentials that are outdated. What the registry said to the best of them says more
        // than what it says to nobody.
        let done = match (self.pull_with(&client, image, None).await, refusal) {
            (Err(EngineError::Refused { .. }), Some(refusal)) => Err(refusal),
            (other, _) => other,
        };
        // Of a registry that is away, Docker says its address alone.
        match done {
            Err(EngineError::Refused { message }) if !message.contains(image) => {
                Err(EngineError::Refused { message: format!("{image}: {message}") })
            }
            other => other,
        }
    }

    async fn create(&self, spec: &CreateSpec) -> Result<(), EngineError> {
        let _worker = self.workers.acquire().await;
        self.work(self.create_now(spec)).await
    }

    async fn start(&self, name: &str) -> Result<(), EngineError> {
        let _worker = self.workers.acquire().await;
        // Docker answers 304 for one that runs, which the library takes as success.
        let client = self.client().await?;
        self.work(bounded(WORK_TIMEOUT, client.start_container(name, None))).await
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError> {
        hooks::stop(self, id, grace).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        let _worker = self.workers.acquire().await;
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        let message = lock(&self.inspected).message(id);
        let remove = async {
            match client.remove_container(&id.0, Some(options)).await {
                Err(error) if status(&error) == Some(NOT_FOUND) => Ok(()),
                // Somebody else is removing it, or the last attempt still does.
                Err(error)
                    if status(&error) == Some(CONFLICT)
                        && words(&error).is_some_and(|words| words.contains("already in progress")) =>
                {
                    Ok(())
                }
                Err(error) => {
                    // It is not as it was: somebody may have started it again. The next look asks anew.
                    lock(&self.inspected).forget(&id.0);
                    Err(error)
                }
                Ok(()) => Ok(()),
            }
        };
        self.work(bounded(WORK_TIMEOUT, remove)).await?;
        // Of a container that was not looked at before, the file goes with the app.
        if let Some(message) = message {
            volumes::forget_message(&message);
        }
        Ok(())
    }

    async fn project(&self, projection: &Projection) -> Result<(), EngineError> {
        let (folders, projection) = (self.folders.clone(), projection.clone());
        off_thread(move || volumes::project(&folders, &projection)).await
    }

    async fn hook(&self, name: &str, hook: &Hook) -> Result<(), EngineError> {
        hooks::run(self, name, hook).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<Ran, EngineError> {
        Docker::exec(self, &id.0, command, timeout).await
    }

    async fn update(&self, id: &ContainerId, resources: &Resources) -> Result<(), EngineError> {
        update::update(self, id, resources).await
    }

    async fn names(&self, id: &ContainerId, names: &BTreeMap<String, IpAddr>) -> Result<(), EngineError> {
        let client = self.client().await?;
        let found = bounded(ASK_TIMEOUT, client.inspect_container(&id.0, None)).await?;
        let refuse = |why: String| EngineError::Refused {
            message: format!("cannot change the names of other apps in container {id}: {why}"),
        };
        let path = found
            .hosts_path
            .filter(|path| !path.is_empty())
            .ok_or_else(|| refuse("docker does not say where its /etc/hosts is; does it run?".to_owned()))?;
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let created = labels.get(labels::APP_NAMES).and_then(|text| serde_json::from_str(text).ok());
        hosts::patch(Path::new(&path), &created.unwrap_or_default(), names)
            .map_err(|error| refuse(format!("{path}: {error}")))
    }

    async fn discard(&self, app: &AppKey) -> Result<(), EngineError> {
        self.remove_volumes(app).await?;
        let (folders, app) = (self.folders.clone(), app.clone());
        off_thread(move || volumes::discard(&folders, &app)).await
    }

    async fn watch(&self, signals: mpsc::Sender<Signal>) {
        events::watch(self, &signals).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_its_latest() {
        for (image, pulled) in [
            ("nginx", "nginx:latest"),
            ("nginx:1", "nginx:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("localhost:5000/a/b:2", "localhost:5000/a/b:2"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert_eq!(with_tag(image), pulled);
        }
    }

    #[tokio::test]
    async fn a_missing_socket_is_named_with_what_to_do() {
        let docker =
            Docker::new(Path::new("/nonexistent/docker.sock"), Folders::new(Path::new("/nonexistent")));
        let EngineError::Unavailable { message } = docker.client().await.expect_err("no docker") else {
            panic!("not unavailable")
        };
        assert!(
            message.contains("/nonexistent/docker.sock") && message.contains("--docker-socket"),
            "{message}"
        );
    }
}
