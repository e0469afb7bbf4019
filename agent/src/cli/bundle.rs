//! `skerry-agent bundle`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::BundleArgs;
use super::check::Progress;
use crate::bundle::{Piece, gather, pack, write};
use crate::clock::wall_now;

/// Writes the archive. What is in it, and what is not.
pub async fn bundle(args: BundleArgs) -> Result<String, (String, u8)> {
    let BundleArgs { whole, file, force, container_logs } = args;
    let site = Arc::new(whole.site().map_err(|error| (skerry_terms::Chain(&error).to_string(), 2))?);
    let now = wall_now();
    let stamp = crate::admin::view::time(now).replace([':', '-'], "");
    let folder = format!("skerry-bundle-{}-{stamp}", site.config.node);
    let path = file.unwrap_or_else(|| PathBuf::from(format!("{folder}.tar")));
    let failed = |why: String| (format!("{}: {why}", path.display()), 1);
    if !force && path.exists() {
        return Err(failed("it is there already; name another, or replace it with --force".to_owned()));
    }
    let mut progress = Progress::start();
    let mut pieces = gather(site, container_logs, &mut |names| progress.show(names)).await;
    progress.end();
    let bytes = pack(&folder, &mut pieces, u64::try_from(now.0 / 1000).unwrap_or(0));
    write(&path, &bytes, force).map_err(|error| failed(error.to_string()))?;
    Ok(told(&path.display().to_string(), bytes.len(), &pieces, container_logs))
}

fn told(path: &str, size: usize, pieces: &[Piece], container_logs: bool) -> String {
    let mut text = String::new();
    for piece in pieces {
        match &piece.content {
            Ok(content) => drop(writeln!(text, "  {:8}  {}", content.len(), piece.name)),
            Err(why) => drop(writeln!(text, "   missing  {}: {}", piece.name, super::status::one_line(why))),
        }
    }
    let _ = writeln!(
        text,
        "{path}: {size} bytes, readable by you alone. Values of Secrets and variables are not in it."
    );
    if container_logs {
        text += "What containers have printed is in it: look through container-logs before you pass it on.\n";
    }
    text
}
