//! `standalone user add`, `list` and `remove`: the subcommands that write `users.yaml`. A running server needs no word of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::private_file::write_for_owner_of_folder;
use super::users::{Roster, User, UserRole, UsersError, check, read, token_sha256};
use super::yaml;

/// Tells a token of ours from other secrets, for people and for scanners of leaks.
const PREFIX: &str = "skerry_";
/// 256 bits: nobody guesses it, so that a plain hash of it may be kept.
const RANDOM_BYTES: usize = 32;
const HEADER: &str = "\
# Who may use this server's API beside the admin. Hashes alone: a token is shown once, when it is made.
# Written by `skerry-controller standalone user`, which keeps no comments of yours; a running server sees changes within a second.
";

/// Why the users are as before.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error("user {0:?} exists; `user remove` it first to give it a new token or role")]
    Exists(String),
    #[error("there is no user {0:?}; `user list` shows who there is")]
    Unknown(String),
    #[error("failed to write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("failed to lock {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    #[error("the system gives no random numbers for a token")]
    NoRandomness,
}

/// Adds a user and answers with the token, which is kept nowhere.
pub fn add(path: &Path, name: &str, role: UserRole, namespaces: &[String]) -> Result<String, RosterError> {
    let _locked = lock(path)?;
    let mut roster = read(path)?;
    if roster.users.iter().any(|user| user.name == name) {
        return Err(RosterError::Exists(name.to_owned()));
    }
    let token = token()?;
    roster.users.push(User {
        name: name.to_owned(),
        role,
        namespaces: namespaces.to_vec(),
        token_sha256: token_sha256(&token),
    });
    write(path, &roster)?;
    Ok(token)
}

/// All users, in the order of the file.
pub fn list(path: &Path) -> Result<Vec<User>, UsersError> {
    Ok(read(path)?.users)
}

/// Removes a user. A running server refuses its token within a second; a watch that is open goes on to its end.
pub fn remove(path: &Path, name: &str) -> Result<(), RosterError> {
    let _locked = lock(path)?;
    let mut roster = read(path)?;
    let before = roster.users.len();
    roster.users.retain(|user| user.name != name);
    if roster.users.len() == before {
        return Err(RosterError::Unknown(name.to_owned()));
    }
    write(path, &roster)
}

fn write(path: &Path, roster: &Roster) -> Result<(), RosterError> {
    check(path, roster)?;
    let text = format!("{HEADER}{}", yaml::text(&json!(roster)));
    write_for_owner_of_folder(path, text.as_bytes())
        .map_err(|error| RosterError::Write(path.to_owned(), error))
}

/// Two who add users at once must not lose one. The lock is a file of its own, for the file itself is replaced.
fn lock(path: &Path) -> Result<File, RosterError> {
    let beside = path.with_added_extension("lock");
    let lock = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&beside)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error| RosterError::Lock(beside.clone(), error))
}

fn token() -> Result<String, RosterError> {
    let mut bytes = [0; RANDOM_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| RosterError::NoRandomness)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}
