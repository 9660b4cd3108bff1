//! Sends pods' statuses to the API: the newest only, in order, and only the parts that changed.
use crate::agent::Agent;
use crate::pods::Slot;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use skiff_client::{PatchBody, Target, resource_of};
use skiff_json::{Map, Value, json};
use skiff_meta::Reason;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A pod's latest status and how far it has been sent.
pub struct StatusWriter {
    wanted: watch::Sender<(u64, Option<Arc<PodStatus>>)>,
    sent: watch::Receiver<u64>,
}

impl StatusWriter {
    pub fn spawn(agent: Arc<Agent>, slot: Arc<Slot>) -> Self {
        let (wanted, wanted_rx) = watch::channel((0, None));
        let (sent_tx, sent) = watch::channel(0);
        tokio::spawn(write_all(agent, slot, wanted_rx, sent_tx));
        Self { wanted, sent }
    }
    /// Replaces what is to be sent, if it differs from the last.
    pub fn set(&self, status: PodStatus) {
        self.wanted.send_if_modified(|(version, last)| {
            if last.as_deref() == Some(&status) {
                return false;
            }
            *version += 1;
            *last = Some(Arc::new(status.clone()));
            true
        });
    }
    /// Sends the last one again even though it hasn't changed (a new mirror pod wants it).
    pub fn resend(&self) {
        self.wanted.send_modify(|(version, _)| *version += 1);
    }
    /// Until the API has the last one, or the object is no more.
    pub async fn wait_flushed(&mut self) {
        let version = self.wanted.borrow().0;
        let _ = self.sent.wait_for(|v| *v >= version).await;
    }
}

async fn write_all(agent: Arc<Agent>, slot: Arc<Slot>, mut wanted: watch::Receiver<(u64, Option<Arc<PodStatus>>)>, sent: watch::Sender<u64>) {
    let mut base: Option<PodStatus> = slot.pod().and_then(|p| p.status);
    let mut base_uid = slot.uid.clone();
    while wanted.changed().await.is_ok() {
        let mut wait = Duration::from_millis(250);
        loop {
            let (version, Some(status)) = wanted.borrow_and_update().clone() else { break };
            let uid = if slot.is_static { slot.mirror_uid.lock().clone() } else { Some(slot.uid.clone()) };
            let Some(uid) = uid else {
                sent.send_replace(version);
                break;
            };
            if uid != base_uid {
                (base, base_uid) = (None, uid.clone());
            }
            match send(&agent, &slot, &uid, base.as_ref(), &status).await {
                Ok(now) => {
                    base = now.or(Some((*status).clone()));
                    sent.send_replace(version);
                    break;
                }
                Err(e) if e.is(Reason::NotFound) || e.is(Reason::Conflict) || e.is(Reason::Invalid) => {
                    tracing::debug!(target: "node", pod = slot.name, namespace = slot.namespace, error = %e, "status not taken");
                    base = None;
                    sent.send_replace(version);
                    break;
                }
                Err(e) => {
                    tracing::warn!(target: "node", pod = slot.name, namespace = slot.namespace, error = %e, "status not sent");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = agent.shutdown.cancelled() => return,
                    }
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
        }
    }
}

async fn send(agent: &Agent, slot: &Slot, uid: &str, base: Option<&PodStatus>, status: &PodStatus) -> Result<Option<PodStatus>, skiff_meta::Status> {
    let Some(patch) = changes(base, status) else { return Ok(base.cloned()) };
    let body = json!({"metadata": {"uid": uid}, "status": patch});
    let target = Target::new(resource_of::<Pod>(), slot.namespace.as_str(), slot.name.as_str()).sub("status");
    let bytes = agent.client.patch_bytes(target, PatchBody::strategic(&body)).await?;
    Ok(skiff_client::decode::<Pod>(&bytes)?.status)
}

/// A strategic merge patch from one status to the other; None when nothing differs.
fn changes(base: Option<&PodStatus>, status: &PodStatus) -> Option<Value> {
    let object = |s: &PodStatus| match skiff_json::to_value(s) {
        Ok(Value::Object(o)) => o,
        _ => Map::new(),
    };
    let old = base.map(object).unwrap_or_default();
    let new = object(status);
    let mut patch = Map::new();
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        let value = match key.as_str() {
            "conditions" => changed_conditions(old.get(key), value),
            "podIPs" | "hostIPs" => replaced(old.get(key), value),
            _ => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    for key in old.keys().filter(|k| !new.contains_key(k)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Conditions merge by type: only those that differ are sent, so that nobody else's is overwritten. Those that the node
/// takes back are deleted by name; what an earlier agent has left is not known, so they are deleted then, too.
fn changed_conditions(old: Option<&Value>, new: &Value) -> Value {
    let known = old.is_some();
    let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
    let old = list(old);
    let mut out: Vec<Value> = list(Some(new)).into_iter().filter(|c| !old.contains(c)).collect();
    for c in &mut out {
        let before = old.iter().find(|o| o.get("type") == c.get("type"));
        if let (Some(before), Some(now)) = (before.and_then(Value::as_object), c.as_object_mut()) {
            for key in before.keys() {
                now.entry(key.clone()).or_insert(Value::Null);
            }
        }
    }
    let has = |list: &[Value], kind: &str| list.iter().any(|c| c.get("type").and_then(Value::as_str) == Some(kind));
    let now = list(Some(new));
    for kind in skiff_pod::PASSING.into_iter().filter(|k| !has(&now, k) && (!known || has(&old, k))) {
        out.push(json!({"$patch": "delete", "type": kind}));
    }
    Value::Array(out)
}

/// Addresses merge by ip: those that are gone are deleted by name.
fn replaced(old: Option<&Value>, new: &Value) -> Value {
    let new = new.as_array().cloned().unwrap_or_default();
    let gone = old
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|o| !new.contains(o))
        .filter_map(|o| o.get("ip"))
        .map(|ip| json!({"$patch": "delete", "ip": ip}));
    let gone: Vec<Value> = gone.collect();
    Value::Array(gone.into_iter().chain(new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn only_what_changed_is_sent() {
        let old: PodStatus = skiff_json::from_str(
            r#"{"phase":"Pending","reason":"x","conditions":[{"type":"A","status":"True"},{"type":"B","status":"False","message":"m"}],"podIPs":[{"ip":"1"}]}"#,
        )
        .unwrap();
        let new: PodStatus =
            skiff_json::from_str(r#"{"phase":"Running","conditions":[{"type":"A","status":"True"},{"type":"B","status":"True"}],"podIPs":[{"ip":"2"}]}"#)
                .unwrap();
        let want = json!({"conditions":[{"type":"B","status":"True","message":null}],"phase":"Running","podIPs":[{"$patch":"delete","ip":"1"},{"ip":"2"}],"reason":null});
        assert_eq!(changes(Some(&old), &new), Some(want));
        assert_eq!(changes(Some(&new), &new), None);
    }
    #[test]
    fn conditions_that_pass_are_taken_back() {
        let old: PodStatus =
            skiff_json::from_str(r#"{"conditions":[{"type":"PodResizeInProgress","status":"True"},{"type":"Others","status":"True"}]}"#).unwrap();
        let new: PodStatus = skiff_json::from_str(r#"{"conditions":[]}"#).unwrap();
        let delete = |kind: &str| json!({"$patch": "delete", "type": kind});
        assert_eq!(changes(Some(&old), &new), Some(json!({"conditions": [delete("PodResizeInProgress")]})));
        assert_eq!(changes(None, &new), Some(json!({"conditions": [delete("PodResizePending"), delete("PodResizeInProgress")]})));
    }
}
