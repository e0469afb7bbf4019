//! How soon a session stands again after its link was cut, in simulated time. The uplink's own test measures it: that is built with a clock
//! that can be paused, which has no place in a benchmark of daemons.

use anyhow::{Context, Result, ensure};
use skerry_tests::repository_root;
use tokio::process::Command;

use crate::at_most;
use crate::figures::Figure;

const CUTS: u32 = 200;

pub async fn p99() -> Result<Figure> {
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--workspace", "--test", "uplink", "--", "--nocapture", "soon_back"])
        .env("SKERRY_RESUME_CUTS", CUTS.to_string())
        .current_dir(repository_root())
        .output()
        .await
        .context("cargo")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let value =
        text.split_whitespace().find_map(|word| word.strip_prefix("resume_p99_s=")?.parse::<f64>().ok());
    ensure!(value.is_some() || output.status.success(), "the uplink's test failed: {text}");
    let method = format!(
        "99th percentile of {CUTS} cuts of 1 to 120 s in paused time: clean, silent, forgotten by the controller, swallowed in between; from the \
         moment at which the link is back to what the controller says then; calm of 1 to 300 s between cuts, so that all but the first link are watched"
    );
    Ok(at_most("resume_p99_s", value.context("the uplink's test told no figure")?, "s", 10.0, method))
}
