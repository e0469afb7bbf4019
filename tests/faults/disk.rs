//! A disk that a test can fill.

use anyhow::{Result, ensure};

/// A file system of half a megabyte.
#[derive(Debug)]
pub struct SmallDisk {
    pub dir: tempfile::TempDir,
}

impl SmallDisk {
    pub fn mount() -> Result<Self> {
        let disk = Self { dir: tempfile::Builder::new().prefix("skerry-disk-").tempdir()? };
        let mut mount = std::process::Command::new("mount");
        let done =
            mount.args(["-t", "tmpfs", "-o", "size=512k,mode=700", "none"]).arg(disk.dir.path()).status()?;
        ensure!(done.success(), "mount failed: see above");
        Ok(disk)
    }

    /// Not one byte is left.
    pub fn fill(&self) -> Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.dir.path().join("filler"))?;
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.dir.path().join("filler"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}
