//! What becomes of volumes when their app is gone. Only below the agent's own folders, and never through a symbolic link: the standard
//! library removes folders by their descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use skerry_terms::AppKey;
use tracing::warn;

use super::folders::RECLAIM;
use super::{EngineError, Folders, VolumeError};

/// Apps that keep something on the box. One list of names per namespace.
pub(in crate::engine) fn kept(folders: &Folders) -> BTreeSet<AppKey> {
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    };
    let volumes = folders.volumes();
    let apps = names(&volumes).flat_map(|namespace| {
        let apps: Vec<_> =
            names(&volumes.join(&namespace)).map(|app| AppKey::new(&namespace, &app)).collect();
        apps
    });
    apps.filter_map(Result::ok).collect()
}

/// Removes everything of an app but local volumes that are to be retained. Done twice, it does nothing.
pub(in crate::engine) fn discard(folders: &Folders, app: &AppKey) -> Result<(), EngineError> {
    discard_local(folders, app).and_then(|()| discard_rest(folders, app)).map_err(|error| {
        EngineError::Refused {
            message: format!("cannot remove the volumes of {app}: {}", skerry_terms::Chain(&error)),
        }
    })
}

fn discard_local(folders: &Folders, app: &AppKey) -> Result<(), VolumeError> {
    let home = folders.local(app);
    let entries = match fs::read_dir(&home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(VolumeError::io("read", &home)(error)),
    };
    for entry in entries {
        let volume = entry.map_err(VolumeError::io("read", &home))?.path();
        match fs::read_to_string(volume.join(RECLAIM)).as_deref() {
            Ok("Delete") => gone(&volume)?,
            Ok("Retain") => {}
            // Data that nobody can get back is not removed on a guess.
            Ok(_) | Err(_) => {
                warn!("{} has no reclaim policy that can be read: it is retained", volume.display());
            }
        }
    }
    up(&home);
    Ok(())
}

/// The app's folder goes last: while it is there, there is something to discard.
fn discard_rest(folders: &Folders, app: &AppKey) -> Result<(), VolumeError> {
    for root in &folders.memory_roots {
        let path = root.join("skerry").join(folders.home()).join(app.namespace()).join(app.name());
        gone(&path)?;
        up(&path);
    }
    let path = folders.app(app);
    gone(&path)?;
    up(&path);
    Ok(())
}

fn gone(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VolumeError::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The folders above, as far as they are empty: of the app, of its namespace, of this agent's secrets.
fn up(path: &Path) {
    const LEVELS: usize = 3;
    for above in path.ancestors().take(LEVELS) {
        match fs::remove_dir(above) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return,
            Ok(()) | Err(_) => {}
        }
    }
}

/// With its container gone, nobody reads a termination message again.
pub(in crate::engine) fn forget_message(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use skerry_agent_core::Reclaim;

    use super::*;
    use crate::engine::volumes::folders;

    #[test]
    fn an_app_goes_with_everything_but_what_is_retained() {
        let state = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("x"), "foreign").expect("written");
        let boxed = Folders::new(state.path());
        let (app, other): (AppKey, AppKey) = ("a/b".parse().expect("a key"), "a/c".parse().expect("a key"));
        let empty = folders::empty(&boxed, &app, "cache", None).expect("made");
        symlink(outside.path(), empty.join("link")).expect("linked");
        let kept_data = folders::local(&boxed, &app, "kept", Reclaim::Retain, None).expect("made");
        let lost_data = folders::local(&boxed, &app, "lost", Reclaim::Delete, None).expect("made");
        fs::write(kept_data.join("x"), "kept").expect("written");
        symlink(outside.path(), lost_data.join("link")).expect("linked");
        let unclear = folders::local(&boxed, &app, "unclear", Reclaim::Delete, None).expect("made");
        fs::write(unclear.with_file_name(RECLAIM), "Dele").expect("written");
        folders::empty(&boxed, &other, "cache", None).expect("made");
        assert_eq!(kept(&boxed), BTreeSet::from([app.clone(), other.clone()]));

        discard(&boxed, &app).expect("discarded");
        assert_eq!(kept(&boxed), BTreeSet::from([other.clone()]));
        assert!(!empty.exists() && !lost_data.exists());
        assert!(unclear.exists(), "what cannot be read is not a permission to delete");
        assert_eq!(fs::read_to_string(outside.path().join("x")).expect("untouched"), "foreign");
        discard(&boxed, &app).expect("nothing is there");
        let found = folders::local(&boxed, &app, "kept", Reclaim::Delete, None).expect("found");
        assert_eq!(fs::read_to_string(found.join("x")).expect("kept"), "kept");

        discard(&boxed, &app).expect("discarded");
        discard(&boxed, &other).expect("discarded");
        assert!(!found.exists() && kept(&boxed).is_empty());
    }

    #[test]
    fn what_is_no_apps_folder_is_not_one() {
        let state = tempfile::tempdir().expect("a folder");
        let boxed = Folders::new(state.path());
        assert!(kept(&boxed).is_empty());
        fs::create_dir_all(state.path().join("volumes/a/Not A Name")).expect("made");
        fs::create_dir_all(state.path().join("volumes/lost+found")).expect("made");
        assert!(kept(&boxed).is_empty());
    }
}
