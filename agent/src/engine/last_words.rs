//! What a container left to say when it ended: its termination message, or the end of its log. Read once per end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt as _;
use rustix::fs::{Mode, OFlags, open};
use tracing::debug;

/// Kubernetes' bounds: of the file, and of the log that stands in for it.
const MESSAGE_MAX: u64 = 4096;
const LOG_MAX: usize = 2048;
const LOG_LINES: &str = "80";
/// A log of 80 lines is read from a disk, and nobody's start may wait for it long.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// The end of the file that the container was given for it. Empty when it wrote nothing, or the file is gone.
pub(super) fn of_file(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(open(path, flags, Mode::empty())?);
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MESSAGE_MAX)))?;
        let mut message = Vec::new();
        file.take(MESSAGE_MAX).read_to_end(&mut message)?;
        Ok(message)
    };
    match read() {
        Ok(message) => String::from_utf8_lossy(&message).into_owned(),
        Err(error) => {
            debug!("cannot read {}: {error}", path.display());
            String::new()
        }
    }
}

/// The end of the log. What is not there within the bound is left out.
pub(super) async fn of_log(client: &bollard::Docker, container: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LOG_LINES).build();
    let mut parts = std::pin::pin!(client.logs(container, Some(options)));
    let mut tail = Vec::new();
    let read = async {
        while let Some(Ok(part)) = parts.next().await {
            tail.extend_from_slice(&part.into_bytes());
            tail.drain(..tail.len().saturating_sub(LOG_MAX));
        }
    };
    let _ = tokio::time::timeout(LOG_TIMEOUT, read).await;
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_end_of_the_file_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("message");
        assert_eq!(of_file(&path), "");
        std::fs::write(&path, format!("{}end", "x".repeat(5000))).expect("written");
        let message = of_file(&path);
        assert!(message.len() == 4096 && message.ends_with("xend"));
        let link = folder.path().join("link");
        symlink(&path, &link).expect("linked");
        assert_eq!(of_file(&link), "");
    }
}
