//! Rotation of container logs: a file that has grown too long is renamed, compressed later ones are not kept.
use crate::agent::Agent;
use skiff_cri::{ContainerFilter, ContainerState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(10);

pub fn spawn(agent: Arc<Agent>) {
    tokio::spawn(async move {
        let shutdown = agent.shutdown.clone();
        let forever = async {
            loop {
                tokio::time::sleep(EVERY).await;
                rotate_all(&agent).await;
            }
        };
        shutdown.run_until_cancelled(forever).await;
    });
}

async fn rotate_all(agent: &Agent) {
    let filter = ContainerFilter { state: Some(ContainerState::Running), ..ContainerFilter::default() };
    let Ok(running) = agent.runtime.list_containers(&filter).await else { return };
    for c in running.iter().filter(|c| !c.log_path.as_os_str().is_empty()) {
        let Ok(m) = tokio::fs::metadata(&c.log_path).await else { continue };
        if m.len() < agent.config.log_max_bytes {
            continue;
        }
        if let Err(e) = rotate(agent, &c.log_path, &c.id).await {
            tracing::warn!(target: "node", container = %c.id, error = e, "log not rotated");
        }
    }
}

async fn rotate(agent: &Agent, log: &Path, id: &skiff_cri::ContainerId) -> Result<(), String> {
    let mut old = rotated(log).await.map_err(|e| e.to_string())?;
    let keep = usize::try_from(agent.config.log_max_files).unwrap_or(5).saturating_sub(2);
    old.sort();
    for stale in old.iter().take(old.len().saturating_sub(keep)) {
        let _ = tokio::fs::remove_file(stale).await;
    }
    let stamp = agent.now().strftime("%Y%m%d-%H%M%S").to_string();
    let aside = PathBuf::from(format!("{}.{stamp}", log.display()));
    tokio::fs::rename(log, &aside).await.map_err(|e| format!("rename: {e}"))?;
    if let Err(e) = agent.runtime.reopen_log(id).await {
        let _ = tokio::fs::rename(&aside, log).await;
        return Err(e.full_message());
    }
    Ok(())
}

/// Files that this log was rotated into.
async fn rotated(log: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|n| n.to_str())) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(e) = entries.next_entry().await? {
        if e.file_name().to_str().is_some_and(|n| n.strip_prefix(name).is_some_and(|r| r.starts_with('.'))) {
            all.push(e.path());
        }
    }
    Ok(all)
}
