//! What containers leave behind that somebody else removed: `docker rm` and `docker system prune` take a container, and nobody tells the agent
//! which file was its. On a box whose operator prunes by a timer they would add up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime};

use skerry_agent_core::{ContainerId, ObservedContainer};
use skerry_terms::AppKey;

use super::{Folders, forget_message, kept, message_name};

/// A file is made before its container is, and no creation takes that long.
const YOUNG: Duration = Duration::from_secs(600);

/// Removes the termination messages of containers that are gone. `containers`: all that there are.
pub(in crate::engine) fn sweep(
    folders: &Folders,
    containers: &BTreeMap<ContainerId, ObservedContainer>,
    now: SystemTime,
) {
    let mut owned: BTreeMap<&AppKey, Option<BTreeSet<String>>> = BTreeMap::new();
    for owner in containers.values().filter_map(ObservedContainer::ownership) {
        let names = owned.entry(&owner.app).or_insert_with(|| Some(BTreeSet::new()));
        match (&owner.hash, names) {
            (Some(hash), Some(names)) => {
                names.insert(message_name(&owner.role, hash, owner.restart_count));
            }
            // Which file is its, nobody knows.
            (None, names) => *names = None,
            (Some(_), None) => {}
        }
    }
    for app in kept(folders) {
        let nothing = Some(BTreeSet::new());
        let Some(names) = owned.get(&app).unwrap_or(&nothing) else { continue };
        let entries = fs::read_dir(folders.messages(&app)).into_iter().flatten().flatten();
        for entry in entries {
            let age = entry.metadata().and_then(|found| found.modified()).ok();
            let is_old =
                age.and_then(|written| now.duration_since(written).ok()).is_some_and(|age| age >= YOUNG);
            if is_old && entry.file_name().to_str().is_some_and(|name| !names.contains(name)) {
                forget_message(&entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use skerry_agent_core::{ContainerState, Owner, Ownership, Resources, Role};

    use super::*;

    fn container(app: &AppKey, hash: Option<&str>) -> ObservedContainer {
        ObservedContainer {
            name: "c".to_owned(),
            owner: Owner::Ours(Ownership {
                app: app.clone(),
                role: Role::Container("main".parse().expect("a name")),
                revision: String::new(),
                hash: hash.map(|hash| hash.parse().expect("a hash")),
                restart_count: 3,
                stop_rank: 0,
            }),
            image: None,
            state: ContainerState::Created,
            ports: Vec::new(),
            host_network: false,
            joined: None,
            ip: None,
            resources: Resources::default(),
            devices: BTreeMap::new(),
        }
    }

    #[test]
    fn the_last_words_of_a_container_go_with_it_whoever_removed_it() {
        let state = tempfile::tempdir().expect("a folder");
        let folders = Folders::new(state.path());
        let [known, unclear, alone] =
            ["a/known", "a/unclear", "b/alone"].map(|key| key.parse().expect("a key"));
        let (kept, gone) = ("main-0123456789abcdef-3", "main-0123456789abcdef-2");
        for app in [&known, &unclear, &alone] {
            fs::create_dir_all(folders.messages(app)).expect("made");
            for name in [kept, gone] {
                fs::write(folders.messages(app).join(name), "").expect("written");
            }
        }
        let containers = BTreeMap::from([
            (ContainerId("1".to_owned()), container(&known, Some("0123456789abcdef"))),
            (ContainerId("2".to_owned()), container(&unclear, None)),
        ]);
        let left = |app: &AppKey| [kept, gone].map(|name| folders.messages(app).join(name).exists());
        let now = SystemTime::now();
        sweep(&folders, &containers, now);
        assert_eq!([&known, &unclear, &alone].map(left), [[true; 2]; 3], "they may be in the making");
        sweep(&folders, &containers, now + 2 * YOUNG);
        assert_eq!(left(&known), [true, false]);
        assert_eq!(left(&unclear), [true, true], "whose they are is not known");
        assert_eq!(left(&alone), [false, false]);
    }
}
