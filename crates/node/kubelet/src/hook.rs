//! Lifecycle hooks: exec, httpGet, sleep.
use crate::agent::Agent;
use crate::check;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use skiff_cri::ContainerId;
use std::net::IpAddr;
use std::time::Duration;

/// The error is for logs: it may hold secrets, so no event shows it.
pub async fn run(agent: &Agent, c: &Container, id: &ContainerId, ip: Option<IpAddr>, h: &LifecycleHandler) -> Result<(), String> {
    if let Some(e) = &h.exec {
        let command = e.command.as_deref().unwrap_or_default();
        return match agent.runtime.exec_sync(id, command, Duration::ZERO).await {
            Ok(out) if out.exit_code == 0 => Ok(()),
            Ok(out) => Err(format!(
                "Exec lifecycle hook ({command:?}) for Container {:?} failed - error: command exited with {}: {}",
                c.name,
                out.exit_code,
                String::from_utf8_lossy(&out.stderr)
            )),
            Err(e) => Err(e.full_message()),
        };
    }
    if let Some(get) = &h.http_get {
        let Some(host) = get.host.clone().filter(|h| !h.is_empty()).or_else(|| ip.map(|ip| ip.to_string())) else {
            return Err("the pod has no address".into());
        };
        let (code, body) = check::http_get(get, c, &host, "kube-lifecycle/1.37", Duration::from_secs(3600)).await?;
        return if code < 400 { Ok(()) } else { Err(format!("HTTP lifecycle hook failed with statuscode: {code}: {body}")) };
    }
    if let Some(s) = &h.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(s.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("the hook has no handler".into())
}
