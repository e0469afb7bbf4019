//! `users.yaml`: everybody but the admin. It holds hashes of tokens and no token. The running server sees a change with the next
//! request, and keeps to the last good content while the file is broken.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Identity, MASTERS, Role};

/// A change is seen this soon; between two looks a request costs no system call.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// More users than a server without a cluster is for, by far. The file is read while a request waits.
const MAX_USERS: usize = 1000;
const MAX_FILE: u64 = 1 << 20;
/// Ours have 50 characters; what is longer is not worth a hash.
const MAX_TOKEN: usize = 256;
const MAX_NAME: usize = 253;
const MAX_NAMESPACES: usize = 100;
/// The longest label in DNS, which a namespace is.
const MAX_NAMESPACE: usize = 63;

/// Why `users.yaml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} can be read by others (mode {mode:03o}); `chmod 600` it", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{} is larger than 1 MiB", path.display())]
    TooLarge { path: PathBuf },
    /// The source names line and column.
    #[error("{} is not a list of users", path.display())]
    Syntax { path: PathBuf, source: serde_yaml::Error },
    #[error("{}: users[{index}].{field}: {why}", path.display())]
    Field { path: PathBuf, index: usize, field: &'static str, why: String },
    #[error("{} has more than {MAX_USERS} users", path.display())]
    TooMany { path: PathBuf },
}

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// As it stands in refusals: letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    pub role: UserRole,
    /// Where an editor edits; nobody else has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// 64 hexadecimal digits: `printf %s "$TOKEN" | sha256sum`. The token must be random and long, for nothing slows down who
    /// tries to find it from the hash.
    #[serde(rename = "tokenSHA256")]
    pub token_sha256: String,
}

/// What somebody with a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    Admin,
    Viewer,
    Editor,
}

impl UserRole {
    /// As the file says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Editor => "editor",
        }
    }
}

/// The file as a whole.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roster {
    #[serde(default)]
    pub(super) users: Vec<User>,
}

/// The users by token, as a running server asks for them.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    looked_at: Instant,
    /// Of the file that was read last, well or not; None if there was none.
    stamp: Option<Stamp>,
    by_hash: Arc<HashMap<[u8; 32], Arc<Identity>>>,
}

/// Differs between any two states of a file, whether it was edited in place or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mode: u32,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Users {
    /// Reads the file, which need not be there. A broken one is an error now, while somebody looks.
    pub fn open(path: PathBuf) -> Result<Self, UsersError> {
        let stamp = stamp(&path);
        let by_hash = Arc::new(by_hash(&read(&path)?));
        Ok(Self { path, known: Mutex::new(Known { looked_at: Instant::now(), stamp, by_hash }) })
    }

    /// Whose token this is.
    pub fn find(&self, token: &str) -> Option<Arc<Identity>> {
        self.find_at(token, Instant::now())
    }

    fn find_at(&self, token: &str, now: Instant) -> Option<Arc<Identity>> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return None;
        }
        let by_hash = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_duration_since(known.looked_at) >= LOOK_INTERVAL {
                known.looked_at = now;
                self.look(&mut known);
            }
            known.by_hash.clone()
        };
        // The time of the look-up tells at most how a hash begins, and nobody can choose a token by its hash.
        by_hash.get(&hash(token)).cloned()
    }

    /// Reads the file if it is not what it was. The read blocks, for microseconds: the file is small and its pages are cached.
    fn look(&self, known: &mut Known) {
        let stamp = stamp(&self.path);
        if stamp == known.stamp {
            return;
        }
        known.stamp = stamp;
        match read(&self.path) {
            Ok(roster) => {
                known.by_hash = Arc::new(by_hash(&roster));
                tracing::info!(path = %self.path.display(), users = known.by_hash.len(), "users have changed");
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, source, "users have changed and are not taken: those of before stay");
            }
        }
    }
}

/// The file's users; none if it is not there.
pub(super) fn read(path: &Path) -> Result<Roster, UsersError> {
    let failed = |source| UsersError::Read { path: path.to_owned(), source };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Roster::default()),
        Err(error) => return Err(failed(error)),
    };
    if found.mode() & 0o077 != 0 {
        return Err(UsersError::Open { path: path.to_owned(), mode: found.mode() & 0o777 });
    }
    if found.len() > MAX_FILE {
        return Err(UsersError::TooLarge { path: path.to_owned() });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // Nothing but comments is nobody.
    let roster: Option<Roster> =
        serde_yaml::from_str(text).map_err(|source| UsersError::Syntax { path: path.to_owned(), source })?;
    let roster = roster.unwrap_or_default();
    check(path, &roster)?;
    Ok(roster)
}

/// What the syntax does not say.
pub(super) fn check(path: &Path, roster: &Roster) -> Result<(), UsersError> {
    if roster.users.len() > MAX_USERS {
        return Err(UsersError::TooMany { path: path.to_owned() });
    }
    let mut names = HashMap::new();
    let mut hashes = HashMap::new();
    for (index, user) in roster.users.iter().enumerate() {
        let User { name, role, namespaces, token_sha256 } = user;
        let wrong = |field, why: String| Err(UsersError::Field { path: path.to_owned(), index, field, why });
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
            return wrong("name", format!("{name:?} is not made of letters, digits, `-`, `_`, `.` and `@`"));
        }
        if let Some(other) = names.insert(name, index) {
            return wrong("name", format!("{name:?} is the name of users[{other}], too"));
        }
        match role {
            UserRole::Editor if namespaces.is_empty() => {
                return wrong("namespaces", format!("editor {name:?} needs at least one"));
            }
            UserRole::Admin | UserRole::Viewer if !namespaces.is_empty() => {
                return wrong(
                    "namespaces",
                    format!("{name:?} is no editor; its role holds in all namespaces"),
                );
            }
            UserRole::Admin | UserRole::Viewer | UserRole::Editor => {}
        }
        if namespaces.len() > MAX_NAMESPACES {
            return wrong("namespaces", format!("more than {MAX_NAMESPACES}"));
        }
        if let Some(bad) = namespaces.iter().find(|namespace| !is_namespace(namespace)) {
            return wrong("namespaces", format!("{bad:?} cannot be the name of a namespace"));
        }
        let Some(hash) = unhex(token_sha256) else {
            return wrong("tokenSHA256", "not 64 hexadecimal digits".to_owned());
        };
        if let Some(other) = hashes.insert(hash, index) {
            return wrong("tokenSHA256", format!("users[{other}] has the same token"));
        }
    }
    Ok(())
}

fn is_namespace(name: &str) -> bool {
    let inside = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inside && (1..=MAX_NAMESPACE).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-')
}

fn by_hash(roster: &Roster) -> HashMap<[u8; 32], Arc<Identity>> {
    let entry = |user: &User| {
        let (groups, role) = match user.role {
            UserRole::Admin => (vec![MASTERS.to_owned()], Role::Admin),
            UserRole::Viewer => (Vec::new(), Role::Viewer),
            UserRole::Editor => {
                (Vec::new(), Role::Editor { namespaces: user.namespaces.iter().cloned().collect() })
            }
        };
        Some((unhex(&user.token_sha256)?, Arc::new(Identity::new(user.name.clone(), groups, role))))
    };
    roster.users.iter().filter_map(entry).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        inode: found.ino(),
        size: found.len(),
        mode: found.mode(),
        changed: (found.ctime(), found.ctime_nsec()),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The hash of a token, as the file holds it.
pub(super) fn token_sha256(token: &str) -> String {
    hash(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
