//! What containers see of the box's file systems: where each volume is kept, how it is made ready, and how it goes. Blocking; called from
//! the engine alone, off its own thread.
//!
//! ```text
//! STATE/volumes/NAMESPACE/APP/empty/VOLUME       emptyDir
//!                            /files/VOLUME       configMap, downwardAPI, projected
//!                            /messages/…         a termination message file per container
//! STATE/local/NAMESPACE/APP/VOLUME/{data,reclaim}  local: outlives the app with Retain
//! TMPFS/skerry/HOME/NAMESPACE/APP/VOLUME         files with a secret in them; HOME stands for STATE
//! /run/skerry/HOME.mounts/CONTAINER/NUMBER       what must not be exchanged under Docker's eyes: see `pins`
//! ```

mod files;
mod folders;
mod handle;
mod hostpath;
mod owner;
mod pins;
mod reclaim;
mod subpath;
mod sweep;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, open};
use sha2::{Digest as _, Sha256};
use skerry_agent_core::{BoundMount, CreateSpec, HostPathType, Role, SpecHash, Volume};
use skerry_terms::{AppKey, Chain};

use super::EngineError;

/// Asked with the resolved path of every `hostPath` volume; says in words why the box's owner does not allow it.
pub type HostPathRule = Arc<dyn Fn(&Path) -> Result<(), String> + Send + Sync>;

/// Memory file systems that boxes have, in the order in which they are tried.
const MEMORY_ROOTS: [&str; 2] = ["/run", "/dev/shm"];

/// Where programs keep what does not outlive a boot.
const MOUNTS_ROOT: &str = "/run";

const MESSAGES: &str = "messages";

/// Where the agent keeps things on the box, and what of the box containers may see.
#[derive(Clone)]
pub struct Folders {
    /// Absolute.
    state: PathBuf,
    /// Candidates for what must not reach a disk.
    memory_roots: Vec<PathBuf>,
    /// Where mounts are made.
    mounts_root: PathBuf,
    making: pins::Making,
    /// Seccomp profiles that specs may name.
    seccomp: PathBuf,
    rule: HostPathRule,
    /// Another process works in them.
    only_looked_at: bool,
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folders")
            .field("state", &self.state)
            .field("seccomp", &self.seccomp)
            .finish_non_exhaustive()
    }
}

impl Folders {
    /// All in the agent's state directory. Every host path is allowed until [`Folders::with_host_path_rule`] says otherwise.
    pub fn new(state_dir: &Path) -> Self {
        // Docker takes absolute paths only. It fails for the empty path alone.
        let state = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Self {
            seccomp: state.join("seccomp"),
            state,
            memory_roots: MEMORY_ROOTS.map(PathBuf::from).to_vec(),
            mounts_root: PathBuf::from(MOUNTS_ROOT),
            making: pins::Making::default(),
            rule: Arc::new(|_| Ok(())),
            only_looked_at: false,
        }
    }

    /// Those of an agent in another process. What seems to be left over may be what that one is about to use: it stays.
    #[must_use]
    pub fn only_looked_at(self) -> Self {
        Self { only_looked_at: true, ..self }
    }

    /// A look may take away what belongs to nothing.
    pub(super) fn are_tidied(&self) -> bool {
        !self.only_looked_at
    }

    /// The folder of seccomp profiles. Without it, `seccomp` in the state directory.
    #[must_use]
    pub fn with_seccomp(self, folder: PathBuf) -> Self {
        Self { seccomp: folder, ..self }
    }

    /// Asked at each creation, after all symbolic links are resolved and before anything is made.
    #[must_use]
    pub fn with_host_path_rule(self, rule: HostPathRule) -> Self {
        Self { rule, ..self }
    }

    pub(super) fn seccomp(&self) -> &Path {
        &self.seccomp
    }

    /// Stands for the state directory where several agents may meet: in `/run`, in Docker's list of volumes.
    pub(super) fn home(&self) -> String {
        let digest = Sha256::digest(self.state.as_os_str().as_encoded_bytes());
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    /// What goes with the app.
    fn app(&self, app: &AppKey) -> PathBuf {
        self.volumes().join(app.namespace()).join(app.name())
    }

    fn local(&self, app: &AppKey) -> PathBuf {
        self.state.join("local").join(app.namespace()).join(app.name())
    }

    /// The file in which a container leaves its last words.
    pub(super) fn message(&self, spec: &CreateSpec) -> PathBuf {
        let CreateSpec { app, role, hash, restart_count, .. } = spec;
        self.messages(app).join(message_name(role, hash, *restart_count))
    }

    /// True if a path is that of such a file.
    pub(super) fn is_message(&self, path: &Path) -> bool {
        let below: Vec<_> =
            path.strip_prefix(self.volumes()).into_iter().flat_map(Path::components).collect();
        // Not what a volume of the app has below a folder of that name.
        matches!(below[..], [_namespace, _app, folder, _file] if folder.as_os_str() == MESSAGES)
    }

    fn messages(&self, app: &AppKey) -> PathBuf {
        self.app(app).join(MESSAGES)
    }
}

/// Two runs of a container, and two specs of it, have files of their own.
fn message_name(role: &Role, hash: &SpecHash, restart_count: u32) -> String {
    format!("{role}-{hash}-{restart_count}")
}

/// What is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file or folder of the box that is there.
    Path(PathBuf),
    /// A tmpfs that Docker mounts, as a volume of Docker's.
    Tmpfs { name: String, options: Vec<(&'static str, String)> },
}

/// Why a volume is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("cannot {verb} {}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{name:?} cannot be the name of a volume")]
    BadName { name: String },
    #[error("hostPath type check failed: {} is not a {expected}", path.display())]
    HostPathType { path: PathBuf, expected: &'static str },
    #[error("path {} is not absolute", path.display())]
    NotAbsolute { path: PathBuf },
    #[error("{why}")]
    NotAllowed { why: String },
    #[error("no memory file system for secrets: neither {roots} is a tmpfs; mount one there")]
    NoMemory { roots: String },
    #[error("{} is not a folder of the agent's alone (mode 0700): somebody else made it; remove it", path.display())]
    NotPrivate { path: PathBuf },
    #[error("subPath {sub_path:?} leads out of the volume")]
    Escapes { sub_path: String },
    #[error("subPath {sub_path:?}: too many levels of symbolic links")]
    Loops { sub_path: String },
    #[error("its folder {} is not there", path.display())]
    NotThere { path: PathBuf },
    #[error("folders are nested too deeply in {}", path.display())]
    TooDeep { path: PathBuf },
}

impl VolumeError {
    fn io<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// The same for an error of the kernel's.
    fn sys<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(rustix::io::Errno) -> Self + 'a {
        move |source| Self::Io { verb, path: path.to_owned(), source: source.into() }
    }

    /// As kubelet tells it.
    fn of_volume(self, name: &str) -> EngineError {
        EngineError::Mount {
            message: format!("MountVolume.SetUp failed for volume {name:?}: {}", Chain(&self)),
        }
    }
}

/// A name that is one part of a path, whatever it holds.
fn part(name: &str) -> Result<&str, VolumeError> {
    /// The kernel's own.
    const NAME_MAX: usize = 255;
    let one_part = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(['/', '\0']);
    match one_part && name != "." && name != ".." {
        true => Ok(name),
        false => Err(VolumeError::BadName { name: name.to_owned() }),
    }
}

/// Makes every volume of a container ready, and the file for its last words. The sources are in the order of the mounts.
/// `memory` are the places where Docker has mounted volumes in memory, for those with a subPath.
pub(super) fn bind(
    folders: &Folders,
    spec: &CreateSpec,
    memory: &dyn Fn(&BoundMount) -> Option<PathBuf>,
) -> Result<Vec<Source>, EngineError> {
    if spec.mounts.is_empty() && spec.termination_message.is_none() {
        return Ok(Vec::new());
    }
    // Also for an app that keeps nothing else here: that it has a folder says that there is something to discard.
    folders::private(folders, &folders.app(&spec.app)).map_err(|error| error.of_volume(spec.app.name()))?;
    if spec.termination_message.is_some() {
        folders::message(folders, spec).map_err(|error| error.of_volume("termination-log"))?;
    }
    let numbered = spec.mounts.iter().enumerate();
    numbered.map(|(number, mount)| source(folders, spec, number, mount, memory(mount))).collect()
}

fn source(
    folders: &Folders,
    spec: &CreateSpec,
    number: usize,
    mount: &BoundMount,
    memory: Option<PathBuf>,
) -> Result<Source, EngineError> {
    let root = match &mount.volume {
        Volume::EmptyDir => folders::empty(folders, &spec.app, &mount.name, spec.fs_group),
        Volume::Local { reclaim } => folders::local(folders, &spec.app, &mount.name, *reclaim, spec.fs_group),
        Volume::HostPath { path, kind } => {
            return host_path(folders, spec, number, mount, Path::new(path), *kind);
        }
        Volume::Files { secret, files: _ } => files::folder(folders, &spec.app, &mount.name, *secret)
            .and_then(|path| if path.is_dir() { Ok(path) } else { Err(VolumeError::NotThere { path }) }),
        Volume::Memory { size } => match memory {
            Some(mounted) if !mount.sub_path.is_empty() => Ok(mounted),
            Some(_) | None => {
                return memory_volume(folders, spec, mount, *size)
                    .map_err(|error| error.of_volume(&mount.name));
            }
        },
    };
    let root = root.map_err(|error| error.of_volume(&mount.name))?;
    if mount.sub_path.is_empty() {
        return Ok(Source::Path(root));
    }
    let opened = open(&root, handle::HANDLE, Mode::empty()).map_err(VolumeError::sys("open", &root));
    sub_path(folders, spec, number, mount, opened.map_err(|error| error.of_volume(&mount.name))?)
}

/// A path of the box. Docker may be given it as it is only where no container comes by it: where it is not in a folder that may be mounted, too.
fn host_path(
    folders: &Folders,
    spec: &CreateSpec,
    number: usize,
    mount: &BoundMount,
    path: &Path,
    kind: HostPathType,
) -> Result<Source, EngineError> {
    let resolve = || {
        let (thing, place) = hostpath::resolve(path, kind, &folders.rule)?;
        if !mount.sub_path.is_empty() {
            return Ok((thing, None));
        }
        let place = match place.parent() {
            Some(above) if (folders.rule)(above).is_ok() => {
                pins::pin(folders, &spec.name, number, &thing, pins::Depth::Whole)?
            }
            Some(_) | None => place,
        };
        Ok((thing, Some(place)))
    };
    match resolve().map_err(|error: VolumeError| error.of_volume(&mount.name))? {
        (_, Some(place)) => Ok(Source::Path(place)),
        (thing, None) => sub_path(folders, spec, number, mount, thing),
    }
}

fn sub_path(
    folders: &Folders,
    spec: &CreateSpec,
    number: usize,
    mount: &BoundMount,
    root: OwnedFd,
) -> Result<Source, EngineError> {
    let found = subpath::resolve(root, &mount.sub_path)
        .and_then(|thing| pins::pin(folders, &spec.name, number, &thing, pins::Depth::Alone));
    found.map(Source::Path).map_err(|error| {
        let (name, role) = (&mount.name, container(&spec.role));
        let message = format!(
            "failed to prepare subPath for volumeMount {name:?} of container {role:?}: {}",
            Chain(&error)
        );
        EngineError::Config { message }
    })
}

fn container(role: &Role) -> String {
    role.to_string()
}

/// The name stands for everything that Docker must be told about it: another size is another volume.
fn memory_volume(
    folders: &Folders,
    spec: &CreateSpec,
    mount: &BoundMount,
    size: Option<u64>,
) -> Result<Source, VolumeError> {
    let mode = match spec.fs_group {
        Some(group) => format!("mode=2777,gid={group}"),
        None => "mode=0777".to_owned(),
    };
    let o = match size {
        Some(size) => format!("size={size},{mode}"),
        None => mode,
    };
    let identity = format!("{}\n{}\n{}\n{o}", folders.home(), spec.app, part(&mount.name)?);
    let digest: String = Sha256::digest(identity)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Source::Tmpfs {
        name: format!("skerry-{digest}"),
        options: vec![("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned()), ("o", o)],
    })
}

/// The name of Docker's volume for a mount of a volume in memory.
pub(super) fn memory_name(folders: &Folders, spec: &CreateSpec, mount: &BoundMount) -> Option<String> {
    let Volume::Memory { size } = &mount.volume else { return None };
    match memory_volume(folders, spec, mount, *size).ok()? {
        Source::Tmpfs { name, options: _ } => Some(name),
        Source::Path(_) => None,
    }
}

pub(super) use files::project;
pub(super) use pins::{being_made, pinned, unpin};
pub(super) use reclaim::{discard, forget_message, kept};
pub(super) use sweep::sweep;

/// True if a path is on a file system in memory.
pub(super) fn is_memory(path: &Path) -> bool {
    /// From linux/magic.h.
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    rustix::fs::statfs(path)
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|magic| magic == TMPFS_MAGIC))
}
