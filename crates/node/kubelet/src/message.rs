//! Termination messages. <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
use crate::logs;
use skiff_cri::{ContainerStatus, ExitReason};
use skiff_pod::names;
use std::path::Path;

const MAX_FILE: u64 = 4096;
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;

/// What the container left behind; falls back to the end of its log where its policy says so and it failed.
pub async fn of(c: &ContainerStatus) -> String {
    let path = c.annotations.get(names::MESSAGE_PATH).map(String::as_str).unwrap_or("/dev/termination-log");
    let file = match c.mounts.iter().find(|m| m.container_path == Path::new(path)) {
        Some(m) => read(&m.host_path).await,
        None => String::new(),
    };
    let falls_back = c.annotations.get(names::MESSAGE_POLICY).is_some_and(|p| p == "FallbackToLogsOnError");
    let failed = c.exit_code != 0 || matches!(c.reason, Some(ExitReason::OomKilled));
    if file.is_empty() && falls_back && failed && !c.log_path.as_os_str().is_empty() {
        return logs::last_lines(&c.log_path, MAX_LOG_LINES, MAX_LOG_BYTES).await.unwrap_or_default();
    }
    match (file.is_empty(), c.message.is_empty()) {
        (false, _) => file,
        (true, false) => c.message.clone(),
        (true, true) => String::new(),
    }
}

async fn read(path: &Path) -> String {
    use tokio::io::AsyncReadExt;
    let Ok(file) = tokio::fs::File::open(path).await else { return String::new() };
    let mut bytes = Vec::new();
    match file.take(MAX_FILE).read_to_end(&mut bytes).await {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
