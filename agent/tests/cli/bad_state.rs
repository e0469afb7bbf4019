//! The binary on a state folder that it cannot use as it should: it comes up, touches nothing that it does not understand, says so in one line
//! and on its door, and goes on by itself when the cause is gone.
//!
//! Disks that are full or read-only are mounts in memory: these tests need root.

use std::path::{Path, PathBuf};

use super::*;

/// A state folder on a disk of its own.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { dir: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(disk.path()).expect("created");
        disk.mount("size=128k,mode=700");
        disk
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn mount(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "skerry-test"])
            .arg(self.path())
            .status();
        assert!(mounted.expect("mount runs").success(), "these tests need root");
    }

    fn fill(&self) {
        let filled = std::fs::write(self.path().join("filling"), vec![0; 1 << 20]);
        assert!(filled.is_err(), "the disk is larger than it should be");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path().join("filling")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// An agent whose door is not on the disk that fails.
struct Agent {
    child: Child,
    state: PathBuf,
    door: PathBuf,
}

impl Agent {
    fn start(state: &Path, door: &Path, more: &[&str]) -> Self {
        let text = state.to_str().expect("text");
        let args =
            ["run", "--node-name", "box", "--state-dir", text, "--docker-socket", "/nonexistent/docker.sock"];
        let place = ["--controller", "http://127.0.0.1:1", "--admin-socket", door.to_str().expect("text")];
        let child = agent(&[&args[..], &place, more].concat()).spawn().expect("it starts");
        let mut agent = Self { child, state: state.to_owned(), door: door.to_owned() };
        wait_for(&mut agent.child, "answering on");
        agent
    }

    fn ask(&self, args: &[&str]) -> Output {
        let (state, door) = (self.state.to_str().expect("text"), self.door.to_str().expect("text"));
        let (command, rest) = args.split_first().expect("a command");
        run(&[&[*command, "--state-dir", state, "--admin-socket", door, "--node-name", "box"], rest].concat())
    }

    fn status(&self) -> String {
        stdout(&self.ask(&["status"]))
    }

    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        terminate(&self.child);
        let ended = self.child.wait().expect("it ends");
        if !std::thread::panicking() {
            assert_eq!(ended.code(), Some(0));
        }
    }
}

fn web(dir: &Path) -> String {
    let file = dir.join("web.yaml");
    std::fs::write(&file, WEB).expect("written");
    file.to_str().expect("text").to_owned()
}

#[test]
fn a_full_disk_takes_nothing_new_and_what_a_file_says_is_taken_when_there_is_room() {
    let disk = Disk::new();
    let manifests = disk.dir.path().join("manifests");
    std::fs::create_dir(&manifests).expect("created");
    let door = disk.dir.path().join("agent.sock");
    let agent = Agent::start(&disk.path(), &door, &["--manifest-dir", manifests.to_str().expect("text")]);
    disk.fill();
    let file = web(disk.dir.path());
    let refused = agent.ask(&["run", "-f", &file, "--no-wait"]);
    assert!(stderr(&refused).contains("No space left on device"), "{}", stderr(&refused));
    std::fs::copy(&file, manifests.join("web.yaml")).expect("copied");
    let status = agent.until("it says so", |status| status.contains("StateProblem: StateNotDurable"));
    assert!(status.contains("No space left on device") && status.contains("no apps"), "{status}");
    disk.make_room();
    agent.until("the app is there", |status| status.contains("Static") && !status.contains("StateProblem"));
    let names: Vec<String> = std::fs::read_dir(disk.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
}

#[test]
fn on_a_read_only_disk_what_is_stored_is_in_force() {
    let disk = Disk::new();
    let door = disk.dir.path().join("agent.sock");
    let file = web(disk.dir.path());
    let agent = Agent::start(&disk.path(), &door, &["--manifest-dir", "/nonexistent"]);
    assert!(agent.ask(&["run", "-f", &file, "--no-wait"]).status.success());
    drop(agent);
    disk.mount("remount,ro");
    let agent = Agent::start(&disk.path(), &door, &["--manifest-dir", "/nonexistent"]);
    let status = agent.until("the app is there", |status| status.contains("web"));
    assert!(
        status.contains("StateProblem: StateNotDurable") && status.contains("Read-only file system"),
        "{status}"
    );
    let refused = agent.ask(&["remove", "web"]);
    assert!(stderr(&refused).contains("Read-only file system"), "{}", stderr(&refused));
    disk.mount("remount,rw");
    agent.until("it is well", |status| !status.contains("StateProblem"));
    assert!(agent.ask(&["remove", "web"]).status.success());
}

#[test]
fn a_newer_agents_state_is_left_alone_until_a_fitting_one_is_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, door) = (dir.path().join("state"), dir.path().join("agent.sock"));
    std::fs::create_dir(&state).expect("created");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/state");
    let newer = std::fs::read(golden.join("v3-for-readers-from-3-desired.bin")).expect("read");
    std::fs::write(state.join("desired.bin"), &newer).expect("written");
    std::fs::write(state.join("store.key"), [7; 32]).expect("written");
    let agent = Agent::start(&state, &door, &["--manifest-dir", "/nonexistent"]);
    let status = agent.until("it says so", |status| status.contains("StateProblem: StateFromNewerAgent"));
    assert!(status.contains("format 3") && status.contains("no apps"), "{status}");
    // A second agent on the same state is refused, and the first does not notice.
    let second = run(&["run", "--node-name", "box", "--state-dir", state.to_str().expect("text")]);
    assert_eq!((second.status.code(), stderr(&second).lines().count()), (Some(1), 1), "{}", stderr(&second));
    assert_eq!(std::fs::read(state.join("desired.bin")).expect("there"), newer);
    std::fs::copy(golden.join("v2-desired.bin"), state.join("fitting")).expect("copied");
    std::fs::rename(state.join("fitting"), state.join("desired.bin")).expect("replaced");
    agent
        .until("its apps are there", |status| status.contains("plant-a") && !status.contains("StateProblem"));
}

#[test]
fn a_key_that_is_put_back_brings_everything_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, door) = (dir.path().join("state"), dir.path().join("agent.sock"));
    let file = web(dir.path());
    let agent = Agent::start(&state, &door, &["--manifest-dir", "/nonexistent"]);
    assert!(agent.ask(&["run", "-f", &file, "--no-wait"]).status.success());
    drop(agent);
    std::fs::rename(state.join("store.key"), dir.path().join("away")).expect("moved");
    let agent = Agent::start(&state, &door, &["--manifest-dir", "/nonexistent"]);
    let status = agent.until("it says so", |status| status.contains("StateProblem: StateKeyUnusable"));
    assert!(status.contains("store.key is missing") && status.contains("no apps"), "{status}");
    assert!(!agent.ask(&["run", "-f", &file, "--no-wait"]).status.success(), "nothing is written over");
    assert!(!state.join("store.key").exists(), "no other key is made");
    std::fs::rename(dir.path().join("away"), state.join("store.key")).expect("put back");
    agent.until("its app is there", |status| status.contains("web") && !status.contains("StateProblem"));
}
