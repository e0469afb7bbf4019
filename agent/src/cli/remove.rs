//! `skerry-agent remove`.

use super::RemoveArgs;
use super::status::explain;
use crate::admin::candidates;
use crate::admin::client::{Agent, CallError};
use crate::admin::view::AppReport;
use crate::config::Config;

/// What is printed.
pub async fn remove(args: RemoveArgs, config: Config) -> Result<String, String> {
    let RemoveArgs { app, place: _ } = args;
    let words = |error: CallError| explain(&error);
    let agent =
        Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir)).await.map_err(words)?;
    let report = agent.status().await.map_err(words)?;
    let keys: Vec<String> = report.apps.iter().map(AppReport::key).collect();
    let key = app.among(keys.iter().map(String::as_str))?;
    match report.apps.iter().find(|app| app.key() == key).map(|app| app.source.as_str()) {
        Some("Static") => {
            return Err(format!(
                "{key} is of a file in {}: remove it from there",
                config.manifest_dir.display()
            ));
        }
        Some("Cloud") => return Err(format!("{key} is the controller's: delete its EdgeApp")),
        Some(_) | None => {}
    }
    agent.remove(&key).await.map_err(words)?;
    Ok(format!("{key} was taken back; its containers are being stopped\n"))
}
