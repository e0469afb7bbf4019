//! What Docker says, of any version and in any mood.

use std::path::Path;

use bollard::models::ContainerInspectResponse;

use super::inspect::details;
use crate::fuzz::fuzz;

const INSPECT: &str = r#"{"Id": "ab", "Name": "/web", "State": {"Status": "running", "StartedAt": "2026-05-01T10:00:00.123456789Z",
  "FinishedAt": "0001-01-01T00:00:00Z", "ExitCode": 0, "OOMKilled": false, "Error": ""}, "Config": {"Labels": {"skerry.dev/app": "web"}},
  "HostConfig": {"NetworkMode": "container:cd", "IpcMode": "private", "PidMode": "", "NanoCpus": 500000000, "Memory": 8388608, "CpuShares": 2},
  "Mounts": [{"Type": "bind", "Source": "/state/message", "Destination": "/m"}]}"#;
const EXITED: &str = r#"{"State": {"Status": "exited", "ExitCode": 137, "StartedAt": "2026-05-01T10:00:00Z", "FinishedAt": "2026-05-01T10:00:01+08:00"}}"#;

#[test]
fn no_inspection_of_a_container_hurts() {
    fuzz("inspections", &[INSPECT.into(), EXITED.into()], |bytes| {
        let Ok(response) = serde_json::from_slice::<ContainerInspectResponse>(bytes) else { return false };
        details(response, 2, |path| path.starts_with(Path::new("/state"))).is_ok()
    });
}
