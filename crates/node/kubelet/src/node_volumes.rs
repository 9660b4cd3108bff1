//! skiff-volumes behind the seam: what volumes show is read from the API under the node's identity.
use crate::trust_anchors::normalized;
use crate::used_volumes::with_used_volumes;
use crate::volumes::{MountedVolumes, VolumeError, Volumes};
use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, ImageVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, PodCertificateProjection, Secret, ServiceAccount,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use skiff_client::{Client, ListParams, Target, decode, resource_of};
use skiff_controller::Clock;
use skiff_cri::{ContainerId, Images, RuntimeError, Snapshots, VOLUME_SNAPSHOT};
use skiff_meta::{LabelSelector, Quantity, Status};
use skiff_pod::env::RefKind;
use skiff_pod::field::NodeFacts;
use skiff_pod::view;
use skiff_volumes::{Answer, Asked, PodVolumes, Reader, Token, TokenKey, Wanted, wanted};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Volumes of a node whose objects come from the API.
pub struct NodeVolumes {
    volumes: PodVolumes<ApiReader>,
    node_ips: Vec<IpAddr>,
    allocatable_cpu: Quantity,
    allocatable_memory: Quantity,
    clock: Arc<dyn Clock>,
}

impl NodeVolumes {
    /// `allocatable` (CPU, memory) stands in for limits that containers don't set.
    pub fn new(client: Client, clock: Arc<dyn Clock>, node_ips: Vec<IpAddr>, allocatable: (Quantity, Quantity), images: ImageMounts) -> Self {
        let reader = ApiReader { client, clock: clock.clone(), images };
        Self { volumes: PodVolumes::new(reader), node_ips, allocatable_cpu: allocatable.0, allocatable_memory: allocatable.1, clock }
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[async_trait]
impl Volumes for NodeVolumes {
    async fn set_up(&self, pod: &Pod, pod_dir: &Path, pod_ips: &[IpAddr]) -> Result<MountedVolumes, VolumeError> {
        let facts = NodeFacts { pod_ips, node_ips: &self.node_ips, allocatable_cpu: self.allocatable_cpu, allocatable_memory: self.allocatable_memory };
        match self.volumes.set_up(&with_used_volumes(pod), pod_dir, &facts, self.now()).await {
            Ok((m, refresh_in)) => {
                for w in &m.warnings {
                    tracing::warn!(target: "volumes", pod = view::name(pod), namespace = view::namespace(pod), error = %w, "volume not brought up to date");
                }
                Ok(MountedVolumes { paths: m.paths, read_only: m.read_only, devices: m.devices, refresh_in })
            }
            Err(errors) => Err(VolumeError(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
        }
    }
    async fn sub_path(&self, pod_dir: &Path, volume: &Path, sub_path: &str, key: &str) -> Result<PathBuf, VolumeError> {
        self.volumes.sub_path(pod_dir, volume, sub_path, key).await.map_err(|e| VolumeError(e.to_string()))
    }
    async fn tear_down(&self, pod_uid: &str, pod_dir: &Path) -> Result<(), VolumeError> {
        self.volumes.tear_down(pod_uid, pod_dir).await.map_err(|e| VolumeError(e.to_string()))
    }
    fn references(&self, pod: &Pod) -> Vec<(RefKind, String)> {
        let of = |w: Wanted| match w {
            Wanted::ConfigMap(n) => Some((RefKind::ConfigMap, n)),
            Wanted::Secret(n) => Some((RefKind::Secret, n)),
            _ => None,
        };
        wanted(pod).into_iter().filter_map(of).collect()
    }
}

/// The image store, for images that are mounted as volumes.
pub struct ImageMounts {
    pub images: Arc<dyn Images>,
    pub snapshots: Arc<dyn Snapshots>,
}

impl ImageMounts {
    fn snapshot(pod_uid: &str, volume: &str) -> ContainerId {
        ContainerId::new(format!("{VOLUME_SNAPSHOT}{pod_uid}-{volume}"))
    }
    /// The folder of a present image's files for one volume of one pod.
    async fn mount(&self, pod_uid: &str, volume: &str, reference: &str) -> Result<PathBuf, String> {
        let failed = |e: RuntimeError| format!("mount image {reference:?}: {}", e.full_message());
        let name = skiff_pod::image::full_name(reference).map_err(|e| format!("image {reference:?}: {e}"))?;
        let image = self.images.status(&name).await.map_err(failed)?.ok_or_else(|| format!("image {reference:?} is not present"))?;
        Ok(self.snapshots.prepare(&image.id, &Self::snapshot(pod_uid, volume)).await.map_err(failed)?.path)
    }
    async fn release(&self, pod_uid: &str) {
        let mine = Self::snapshot(pod_uid, "");
        for id in self.snapshots.prepared().await.unwrap_or_default() {
            if id.as_str().starts_with(mine.as_str())
                && let Err(e) = self.snapshots.release(&id).await
            {
                tracing::warn!(target: "volumes", snapshot = %id, error = %e.full_message(), "an image volume was not released");
            }
        }
    }
}

struct ApiReader {
    client: Client,
    clock: Arc<dyn Clock>,
    images: ImageMounts,
}

fn text(e: Status) -> String {
    e.to_string()
}

#[async_trait]
impl Reader for ApiReader {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String> {
        self.client.find(namespace, name).await.map_err(text)
    }
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String> {
        self.client.find(namespace, name).await.map_err(text)
    }
    async fn claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>, String> {
        self.client.find(namespace, name).await.map_err(text)
    }
    async fn persistent_volume(&self, name: &str) -> Result<Option<PersistentVolume>, String> {
        self.client.find("", name).await.map_err(text)
    }
    async fn token(&self, pod: &Pod, key: &TokenKey) -> Result<Token, String> {
        let account = view::spec(pod).service_account_name.as_deref().filter(|a| !a.is_empty()).unwrap_or("default");
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(view::name(pod).into()),
            uid: Some(view::uid(pod).into()),
        };
        let spec = TokenRequestSpec {
            audiences: (!key.audience.is_empty()).then(|| vec![key.audience.clone()]),
            expiration_seconds: Some(key.seconds),
            bound_object_ref: Some(bound),
            ..TokenRequestSpec::default()
        };
        let body = skiff_json::to_vec(&TokenRequest { spec: Some(spec), ..TokenRequest::default() }).map_err(|e| e.to_string())?;
        let target = Target::new(resource_of::<ServiceAccount>(), view::namespace(pod), account).sub("token");
        let answer: TokenRequest = decode(&self.client.create_bytes(target, body).await.map_err(text)?).map_err(text)?;
        let status = answer.status.ok_or("the TokenRequest has no status")?;
        let now = Timestamp::from_microsecond(self.clock.now().0).unwrap_or(Timestamp::UNIX_EPOCH);
        let expires = status.expiration_timestamp.map_or_else(|| now + SignedDuration::from_secs(key.seconds), |t| t.0);
        Ok(Token { token: status.token.ok_or("the TokenRequest has no token")?, expires })
    }
    async fn trust_bundle(&self, p: &ClusterTrustBundleProjection) -> Result<Option<Vec<u8>>, String> {
        if let Some(name) = p.name.as_deref().filter(|n| !n.is_empty()) {
            let found: Option<ClusterTrustBundle> = self.client.find("", name).await.map_err(text)?;
            return Ok(found.map(|b| normalized([b.spec.trust_bundle.as_str()])));
        }
        let selector = skiff_json::to_value(&p.label_selector).map_err(|e| e.to_string())?;
        let selector = LabelSelector::from_json(p.label_selector.as_ref().map(|_| &selector)).map_err(|e| e.to_string())?;
        let all: Vec<ClusterTrustBundle> = self.client.list("", &ListParams::default()).await.map_err(text)?;
        let fits = |b: &ClusterTrustBundle| {
            let signer = b.spec.signer_name.clone();
            signer == p.signer_name && selector.matches(&b.metadata.labels.clone().unwrap_or_default())
        };
        let fitting: Vec<&ClusterTrustBundle> = all.iter().filter(|b| fits(b)).collect();
        Ok((!fitting.is_empty()).then(|| normalized(fitting.iter().map(|b| b.spec.trust_bundle.as_str()))))
    }
    async fn ask_certificate(&self, pod: &Pod, p: &PodCertificateProjection) -> Result<Asked, String> {
        crate::pod_certificates::ask(&self.client, pod, p).await
    }
    async fn look_at_certificate(&self, pod: &Pod, asked: &Asked) -> Result<Answer, String> {
        crate::pod_certificates::look(&self.client, view::namespace(pod), asked).await
    }
    async fn image(&self, pod: &Pod, volume: &str, image: &ImageVolumeSource) -> Result<PathBuf, String> {
        self.images.mount(view::uid(pod), volume, image.reference.as_deref().unwrap_or_default()).await
    }
    async fn release_images(&self, pod_uid: &str) {
        self.images.release(pod_uid).await;
    }
}
