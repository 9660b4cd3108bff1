//! The ConfigMap that says since when uses of tokens in secrets are written down: what cleans those tokens up believes
//! nothing from before.
use super::Bootstrap;
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, Reason, Status, Timestamp};
use skiff_request::{Answer, Call, Target, Verb};
use std::time::SystemTime;

const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
const NAMESPACE: &str = "kube-system";
const SINCE: &str = "since";

/// `2026-11-25`, in UTC.
fn day(now: SystemTime) -> String {
    let mut text = Timestamp::from_system(now).to_string();
    text.truncate(10);
    text
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && format!("{text}T00:00:00Z").parse::<Timestamp>().is_ok()
}

impl Bootstrap<'_> {
    /// Makes it where it is missing, and mends it where it says no day.
    pub(super) async fn tracked(&self, now: SystemTime) -> Result<(), Status> {
        let (group, version, resource) = ("", "v1", "configmaps");
        let target = Target::new(GroupVersionResource::new(group, version, resource), NAMESPACE, NAME);
        let since = json!({SINCE: day(now)});
        match self.service.serve(self.user.clone(), Call::new(Verb::Get, target.clone())).await {
            Err(e) if e.is(Reason::NotFound) => {
                self.create(
                    group,
                    version,
                    resource,
                    NAMESPACE,
                    json!({"kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": since}),
                )
                .await
            }
            Err(e) => Err(e),
            Ok(Answer::Object { bytes, .. }) => {
                let mut v: Value = skiff_json::from_slice(&bytes).map_err(Status::internal)?;
                if v["data"][SINCE].as_str().is_some_and(is_day) {
                    return Ok(());
                }
                v["data"][SINCE] = since[SINCE].clone();
                match self.call(Verb::Update, target, &v).await {
                    Err(e) if !e.is(Reason::NotFound) && !e.is(Reason::Conflict) => Err(e),
                    _ => Ok(()),
                }
            }
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};
    #[test]
    fn days() {
        assert_eq!(day(UNIX_EPOCH + Duration::from_secs(86_400 * 365)), "1971-01-01");
        assert!(is_day("2026-11-25"));
        for bad in ["", "2026-11-32", "2026-1-1", "yesterday!"] {
            assert!(!is_day(bad), "{bad}");
        }
    }
}
