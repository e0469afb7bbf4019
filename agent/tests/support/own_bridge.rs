//! A network bridge for a dockerd of a test's own. Without one, a second dockerd takes away the bridge of the first.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

static COUNTER: AtomicU8 = AtomicU8::new(0);

/// Taken away when dropped.
#[derive(Debug)]
pub struct OwnBridge {
    pub name: String,
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).status().is_ok_and(|status| status.success())
}

impl OwnBridge {
    pub fn new() -> Self {
        let (process, number) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        // A name of an interface has 15 characters.
        let name = format!("sa{}-{number}", process % 1_000_000);
        // Of the block that is for tests of networks, and apart from those of other tests that run now.
        let network = format!("198.19.{}.1/24", (process % 200) as u8 + number);
        let made = ip(&["link", "add", &name, "type", "bridge"])
            && ip(&["address", "add", &network, "dev", &name])
            && ip(&["link", "set", &name, "up"]);
        assert!(made, "a bridge needs root and iproute2: tests/host/prepare.sh --docker");
        Self { name }
    }
}

impl Drop for OwnBridge {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.name]);
    }
}
