//! Volumes, and where containers mount them.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A volume of an app. The serialized form leaves out the contents of files: they are replaced in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Volume {
    /// A folder that lives as long as the app is on the node.
    EmptyDir,
    /// The same in memory, as long as the app's sandbox runs.
    Memory {
        /// In bytes. Absent: half of the box's memory.
        size: Option<u64>,
    },
    HostPath {
        path: String,
        kind: HostPathType,
    },
    /// A folder of the app on the box that outlives its updates.
    Local {
        /// What becomes of it when the app is removed. Not part of the serialized form's meaning for a container.
        #[serde(skip)]
        reclaim: Reclaim,
    },
    /// Files from ConfigMaps, Secrets and fields. Read-only for the container.
    Files {
        /// Something in it is a secret: the files never reach a disk.
        secret: bool,
        #[serde(skip)]
        files: Vec<File>,
    },
}

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the volume, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    pub content: Arc<[u8]>,
}

impl fmt::Debug for File {
    /// Without the content, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What must be at the path of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HostPathType {
    /// Nothing is checked.
    Unset,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

/// What becomes of a local volume when its app is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    Retain,
    Delete,
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Name of the volume.
    pub volume: String,
    /// An absolute path in the container.
    pub path: String,
    pub read_only: bool,
    /// A path in the volume; empty for all of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_path: String,
    /// `$(VAR)` in `sub_path` is expanded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sub_path_expands: bool,
}
