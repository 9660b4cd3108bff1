//! Image pulls: policy, credentials, back-off, and how many at once.
use crate::agent::Agent;
use base64::Engine;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use skiff_cri::{Image, PullAuth, RuntimeError};
use skiff_pod::image::{self, Pull};
use skiff_pod::{Backoff, StartFailure, view};
use std::collections::BTreeMap;
use tokio::sync::Semaphore;

pub struct Puller {
    slots: Semaphore,
    backoff: Mutex<Backoff>,
    last_errors: Mutex<BTreeMap<String, String>>,
}

/// A failure, and when to try again.
pub struct PullFailure {
    pub failure: StartFailure,
    pub retry: Option<Timestamp>,
}

fn failed(reason: &str, message: impl Into<String>, retry: Option<Timestamp>) -> PullFailure {
    PullFailure { failure: StartFailure { reason: reason.into(), message: message.into() }, retry }
}

impl Puller {
    pub fn new(parallel: usize) -> Self {
        let backoff = Backoff::new(SignedDuration::from_secs(10), SignedDuration::from_secs(300));
        Self { slots: Semaphore::new(parallel.max(1)), backoff: Mutex::new(backoff), last_errors: Mutex::default() }
    }
}

impl Agent {
    /// The image of a container, fetched when its policy says so.
    pub async fn ensure_image(&self, pod: &Pod, c: &Container) -> Result<Image, PullFailure> {
        let about = self.about_container(pod, &c.name);
        let asked = c.image.as_deref().unwrap_or_default();
        let name = image::full_name(asked).map_err(|e| {
            let message = format!("Failed to apply default image tag {asked:?}: {e}");
            self.recorder.warning(&about, "InspectFailed", message.clone());
            failed("InvalidImageName", message, None)
        })?;
        let present = self.images.status(&name).await.map_err(|e| {
            let message = format!("Failed to inspect image {asked:?}: {}", e.full_message());
            self.recorder.warning(&about, "InspectFailed", message.clone());
            failed("ImageInspectError", message, None)
        })?;
        match (image::decide(c.image_pull_policy.as_deref(), asked, present.is_some()), present) {
            (Pull::Present, Some(found)) => {
                self.recorder.normal(&about, "Pulled", format!("Container image {asked:?} already present on machine and can be accessed by the pod"));
                Ok(found)
            }
            (Pull::Refuse, _) => {
                let message = format!("Container image {asked:?} is not present with pull policy of Never");
                self.recorder.warning(&about, "ErrImageNeverPull", message.clone());
                Err(failed("ErrImageNeverPull", message, None))
            }
            _ => self.pull_image(pod, c, asked, &name).await,
        }
    }

    async fn pull_image(&self, pod: &Pod, c: &Container, asked: &str, name: &str) -> Result<Image, PullFailure> {
        let about = self.about_container(pod, &c.name);
        let key = format!("{}_{asked}", view::uid(pod));
        if let Some(until) = self.puller.backoff.lock().until_since_update(&key, self.now()) {
            let message = format!("Back-off pulling image {asked:?}");
            self.recorder.normal(&about, "BackOff", message.clone());
            let last = self.puller.last_errors.lock().get(&key).cloned();
            return Err(failed("ImagePullBackOff", last.map_or(message.clone(), |l| format!("{message}: {l}")), Some(until)));
        }
        self.recorder.normal(&about, "Pulling", format!("Pulling image {asked:?}"));
        let auths = self.pull_auths(pod, name).await;
        let began = self.now();
        let _slot = self.puller.slots.acquire().await;
        let fetching = self.now();
        match self.images.pull(name, &auths, None).await {
            Ok(image) => {
                let took = |since: Timestamp| go_duration(self.now().duration_since(since));
                let message =
                    format!("Successfully pulled image {asked:?} in {} ({} including waiting). Image size: {} bytes.", took(fetching), took(began), image.size);
                self.recorder.normal(&about, "Pulled", message);
                self.puller.last_errors.lock().remove(&key);
                self.puller.backoff.lock().collect_garbage(self.now());
                Ok(image)
            }
            Err(e) => Err(self.pull_failed(&about, &key, asked, &e)),
        }
    }

    fn pull_failed(&self, about: &skiff_controller::Regarding, key: &str, asked: &str, e: &RuntimeError) -> PullFailure {
        let text = e.full_message();
        self.recorder.warning(about, "Failed", format!("Failed to pull image {asked:?}: {text}"));
        let now = self.now();
        let until = {
            let mut backoff = self.puller.backoff.lock();
            backoff.next(key, now, now);
            // Half-way the pod is looked at again, and shows that it is backing off.
            now.checked_add(backoff.delay(key) / 2).ok()
        };
        self.puller.last_errors.lock().insert(key.to_owned(), format!("ErrImagePull: {text}"));
        failed("ErrImagePull", text, until)
    }

    /// Credentials for the image's registry out of the pod's pull secrets.
    async fn pull_auths(&self, pod: &Pod, image: &str) -> Vec<PullAuth> {
        let mut auths = Vec::new();
        let mut missing = Vec::new();
        for r in view::spec(pod).image_pull_secrets.iter().flatten() {
            match self.client.find::<Secret>(view::namespace(pod), &r.name).await {
                Ok(Some(secret)) => auths.extend(auths_of(&secret, image)),
                _ => missing.push(r.name.clone()),
            }
        }
        if !missing.is_empty() {
            let message = format!("Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.", missing.join(", "));
            self.recorder.warning(&self.about(pod), "FailedToRetrieveImagePullSecret", message);
        }
        auths
    }
}

/// The entries of a docker configuration that stand for the image's registry, the most specific first.
fn auths_of(secret: &Secret, image: &str) -> Vec<PullAuth> {
    let data = secret.data.as_ref();
    let entry = |key: &str| data.and_then(|d| d.get(key)).and_then(|b| skiff_json::from_slice::<skiff_json::Value>(&b.0).ok());
    let auths = entry(".dockerconfigjson").and_then(|v| v.get("auths").cloned()).or_else(|| entry(".dockercfg"));
    let Some(skiff_json::Value::Object(auths)) = auths else { return Vec::new() };
    let full = normalised(image);
    let mut found: Vec<(usize, PullAuth)> = auths
        .iter()
        .filter_map(|(host, v)| {
            let prefix = host_of(host);
            let hit = full == prefix || full.starts_with(&format!("{prefix}/"));
            Some((prefix.len(), basic(v)?)).filter(|_| hit)
        })
        .collect();
    found.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
    found.into_iter().map(|(_, a)| a).collect()
}

fn basic(v: &skiff_json::Value) -> Option<PullAuth> {
    let text = |k: &str| v.get(k).and_then(|x| x.as_str()).filter(|s| !s.is_empty()).map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(PullAuth::Basic { username, password });
    }
    if let Some(token) = text("registrytoken") {
        return Some(PullAuth::Token(token));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")?).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(PullAuth::Basic { username: username.to_owned(), password: password.to_owned() })
}

fn host_of(entry: &str) -> String {
    let bare = entry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match bare {
        "index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        other => other.to_owned(),
    }
}

fn normalised(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
        _ => format!("docker.io/{image}"),
    }
}

/// As Go prints it, to the millisecond.
pub fn go_duration(d: SignedDuration) -> String {
    let ms = i64::try_from(d.as_millis()).unwrap_or_default().clamp(0, i64::MAX / 1_000_000);
    skiff_meta::go::format_duration(ms * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn durations_as_go_prints_them() {
        for (ms, want) in [(0, "0s"), (850, "850ms"), (1500, "1.5s"), (10_000, "10s"), (62_500, "1m2.5s"), (300_000, "5m0s"), (3_600_000, "1h0m0s")] {
            assert_eq!(go_duration(SignedDuration::from_millis(ms)), want);
        }
    }
    #[test]
    fn credentials_by_registry() {
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"reg.example:5000":{"username":"a","password":"b"}}}"#;
        let secret = Secret { data: Some([(".dockerconfigjson".to_owned(), k8s_openapi::ByteString(config.into()))].into()), ..Default::default() };
        let basic = |u: &str, p: &str| PullAuth::Basic { username: u.into(), password: p.into() };
        assert!(auths_of(&secret, "nginx:1") == vec![basic("u", "p")]);
        assert!(auths_of(&secret, "reg.example:5000/x/y") == vec![basic("a", "b")]);
        assert!(auths_of(&secret, "other.example/x").is_empty());
    }
}
