//! Volumes of all pods of a node: reads what they need, carries plans out off the async threads.
use crate::apply::{Mounted, set_up};
use crate::certificates::{Answer, Asked, Bundle, Certificates, Step};
use crate::error::{SubPathError, TearDownError, VolumeError};
use crate::sources::{Sources, TokenKey, Wanted, wanted, wanted_volumes};
use crate::tokens::{Token, Tokens};
use crate::{plan, subpath, teardown};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, ImageVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, PodCertificateProjection, Secret,
};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use skiff_pod::field::NodeFacts;
use skiff_pod::view;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reads objects for volumes. `Ok(None)`: there is none of that name. An error's text goes to the user.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String>;
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String>;
    async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>, String>;
    async fn persistent_volume(&self, name: &str) -> Result<Option<PersistentVolume>, String>;
    /// A token of the pod's service account, bound to the pod.
    async fn token(&self, pod: &Pod, key: &TokenKey) -> Result<Token, String>;
    /// The trust anchors as PEM, those of all bundles that fit.
    async fn trust_bundle(&self, projection: &ClusterTrustBundleProjection) -> Result<Option<Vec<u8>>, String>;
    /// Asks for a certificate of a new key.
    async fn ask_certificate(&self, pod: &Pod, projection: &PodCertificateProjection) -> Result<Asked, String>;
    /// What became of it; may wait a moment.
    async fn look_at_certificate(&self, pod: &Pod, asked: &Asked) -> Result<Answer, String>;
    /// The folder where the image's files are, mounted for this pod.
    async fn image(&self, pod: &Pod, volume: &str, image: &ImageVolumeSource) -> Result<PathBuf, String>;
    /// The pod is going: images mounted for it can be let go.
    async fn release_images(&self, pod_uid: &str);
}

pub struct PodVolumes<R> {
    reader: R,
    tokens: Mutex<Tokens>,
    certificates: Mutex<Certificates>,
}

impl<R: Reader> PodVolumes<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, tokens: Mutex::default(), certificates: Mutex::default() }
    }
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Makes the pod's volumes ready or brings them up to date; with it, when to come again for tokens and certificates that run out.
    pub async fn set_up(&self, pod: &Pod, pod_dir: &Path, facts: &NodeFacts<'_>, now: Timestamp) -> Result<(Mounted, Option<Duration>), Vec<VolumeError>> {
        if view::spec(pod).volumes.as_deref().unwrap_or_default().is_empty() {
            return Ok((Mounted::default(), None));
        }
        let sources = self.read(pod, now).await;
        let plans = plan::plan(pod, pod_dir, facts, &sources);
        let dir = pod_dir.to_owned();
        let done = tokio::task::spawn_blocking(move || set_up(&dir, plans, now)).await;
        let mounted = done.unwrap_or_else(|e| Err(vec![VolumeError::Process { volume: String::new(), cause: e.to_string() }]))?;
        let dues = [self.tokens.lock().due_in(view::uid(pod), now), self.certificates.lock().due_in(view::uid(pod), now)];
        let due = dues.into_iter().flatten().min();
        Ok((mounted, due.and_then(|d| Duration::try_from(d).ok())))
    }

    pub async fn sub_path(&self, pod_dir: &Path, volume: &Path, sub_path: &str, key: &str) -> Result<PathBuf, SubPathError> {
        let (dir, volume, sub, key) = (pod_dir.to_owned(), volume.to_owned(), sub_path.to_owned(), key.to_owned());
        let done = tokio::task::spawn_blocking(move || subpath::sub_path(&dir, &volume, &sub, &key)).await;
        done.unwrap_or_else(|e| Err(SubPathError::Io { step: "preparing", sub_path: sub_path.to_owned(), source: io::Error::other(e) }))
    }

    pub async fn tear_down(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), TearDownError> {
        self.tokens.lock().forget(pod_uid);
        self.certificates.lock().forget(pod_uid);
        let dir = pod_dir.to_owned();
        let done = tokio::task::spawn_blocking(move || teardown::tear_down(&dir)).await;
        done.unwrap_or_else(|e| Err(TearDownError::Io { step: "taking down", path: pod_dir.to_owned(), source: io::Error::other(e) }))?;
        self.reader.release_images(pod_uid).await;
        Ok(())
    }

    async fn read(&self, pod: &Pod, now: Timestamp) -> Sources {
        let mut sources = Sources::default();
        for w in wanted(pod) {
            self.read_one(pod, w, now, &mut sources).await;
        }
        for w in wanted_volumes(&sources) {
            self.read_one(pod, w, now, &mut sources).await;
        }
        sources
    }

    async fn read_one(&self, pod: &Pod, w: Wanted, now: Timestamp, into: &mut Sources) {
        let namespace = view::namespace(pod);
        let result = match &w {
            Wanted::ConfigMap(n) => self.reader.config_map(namespace, n).await.map(|f| into.config_maps.extend(f.map(|o| (n.clone(), o)))),
            Wanted::Secret(n) => self.reader.secret(namespace, n).await.map(|f| into.secrets.extend(f.map(|o| (n.clone(), o)))),
            Wanted::Claim(n) => self.reader.claim(namespace, n).await.map(|f| into.claims.extend(f.map(|o| (n.clone(), o)))),
            Wanted::PersistentVolume(n) => self.reader.persistent_volume(n).await.map(|f| into.volumes.extend(f.map(|o| (n.clone(), o)))),
            Wanted::Token(key) => self.token(pod, key, now).await.map(|t| into.tokens.extend([(key.clone(), t)])),
            Wanted::TrustBundle(v, n, b) => self.reader.trust_bundle(b).await.map(|f| into.trust_bundles.extend(f.map(|pem| ((v.clone(), *n), pem)))),
            Wanted::Certificate(v, n, p) => self.certificate(pod, (v.clone(), *n), p, now).await.map(|b| into.certificates.extend([((v.clone(), *n), b)])),
            Wanted::Image(v, i) => self.reader.image(pod, v, i).await.map(|path| into.images.extend([(v.clone(), path)])),
        };
        if let Err(text) = result {
            into.failures.push((w, text));
        }
    }

    /// One that is held, or a new one: asked for, then looked for, here and at the next syncs.
    async fn certificate(&self, pod: &Pod, place: (String, usize), p: &PodCertificateProjection, now: Timestamp) -> Result<Bundle, String> {
        let place = (view::uid(pod).to_owned(), place.0, place.1);
        let step = self.certificates.lock().step(&place, now);
        let asked = match step {
            Step::Use(bundle) => return Ok(bundle),
            Step::Fail(why) => return Err(why),
            Step::LookAt(asked) => asked,
            Step::Ask => match self.reader.ask_certificate(pod, p).await {
                Ok(asked) => {
                    self.certificates.lock().asked(&place, asked.clone());
                    asked
                }
                Err(why) => {
                    let mut all = self.certificates.lock();
                    let held = all.held(&place);
                    if held.is_some() {
                        all.answered(&place, Answer::Waiting, now);
                    }
                    return held.ok_or(why);
                }
            },
        };
        let answer = self.reader.look_at_certificate(pod, &asked).await?;
        let mut all = self.certificates.lock();
        all.answered(&place, answer, now);
        match all.step(&place, now) {
            Step::Use(bundle) => Ok(bundle),
            Step::Fail(why) => Err(why),
            Step::Ask | Step::LookAt(_) => all.held(&place).ok_or_else(|| "credential bundle is not issued yet".to_owned()),
        }
    }

    async fn token(&self, pod: &Pod, key: &TokenKey, now: Timestamp) -> Result<String, String> {
        let uid = view::uid(pod);
        if let Some(t) = self.tokens.lock().fresh(uid, key, now) {
            return Ok(t.token.clone());
        }
        match self.reader.token(pod, key).await {
            Ok(new) => {
                let text = new.token.clone();
                self.tokens.lock().put(uid, key.clone(), new, now);
                Ok(text)
            }
            Err(e) => match self.tokens.lock().valid(uid, key, now) {
                Some(old) => {
                    tracing::warn!(target: "volumes", pod = view::name(pod), error = e, "token not renewed; the old one still works");
                    Ok(old.token.clone())
                }
                None => Err(format!("failed to fetch token: {e}")),
            },
        }
    }
}
