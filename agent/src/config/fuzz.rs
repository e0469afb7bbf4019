//! `agent.toml`, whatever is in it.

use std::path::Path;

use super::{ConfigError, Given, parse, resolve};
use crate::fuzz::fuzz;

const FULL: &str = r#"
node-name = "box-7"
controller = "http://127.0.0.1:7443"
state-dir = "/var/lib/skerry"
docker-socket = "unix:///var/run/docker.sock"
manifest-dir = "/etc/skerry/manifests"
app-names = "Namespace"
log-format = "json"
log-level = "info"
[labels]
site = "hz"
[policy]
privileged = true
[devices.camera]
paths = ["/dev/video0"]
count = 2
"#;

#[test]
fn no_configuration_hurts_and_each_mistake_has_a_place() {
    let path = Path::new("/etc/skerry/agent.toml");
    fuzz("agent.toml", &[b"node-name = \"box-7\"\n".to_vec(), FULL.into()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        match parse(path, text) {
            Ok(given) => {
                assert_eq!(parse(path, text).expect("as before"), given);
                // What it asks for may be refused still, by name.
                if let Err(error) = resolve(Given::default(), given, path) {
                    assert!(matches!(error, ConfigError::Value { .. }), "{error}");
                }
                true
            }
            Err(ConfigError::Syntax { line, message, .. }) => {
                assert!(line <= text.lines().count().max(1) + 1, "line {line} of {text:?}");
                assert!(!message.contains('\n') || text.contains('\r'), "{message:?}");
                false
            }
            Err(error) => panic!("{error}"),
        }
    });
}
