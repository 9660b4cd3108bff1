//! What a pod's volumes are made of, as data that the caller has read.
use crate::certificates::Bundle;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, ImageVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, PodCertificateProjection, Secret, Volume,
};
use skiff_pod::view;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A service account token of this shape; equal keys share one token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenKey {
    /// Empty: the API server's own.
    pub audience: String,
    pub seconds: i64,
}

/// One thing to read for a pod's volumes. Names are in the pod's namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    ConfigMap(String),
    Secret(String),
    Claim(String),
    PersistentVolume(String),
    Token(TokenKey),
    /// By volume and index of the projected source.
    TrustBundle(String, usize, Box<ClusterTrustBundleProjection>),
    /// By volume and index of the projected source.
    Certificate(String, usize, Box<PodCertificateProjection>),
    /// By volume.
    Image(String, ImageVolumeSource),
}

/// What was found. What is in no map was not found; `failures` says why something could not be read at all.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    pub volumes: BTreeMap<String, PersistentVolume>,
    pub tokens: BTreeMap<TokenKey, String>,
    /// PEM, by volume and index of the projected source.
    pub trust_bundles: BTreeMap<(String, usize), Vec<u8>>,
    /// By volume and index of the projected source.
    pub certificates: BTreeMap<(String, usize), Bundle>,
    /// Root folders of images that are mounted already, by volume.
    pub images: BTreeMap<String, PathBuf>,
    pub failures: Vec<(Wanted, String)>,
}

impl Sources {
    pub(crate) fn failure(&self, of: impl Fn(&Wanted) -> bool) -> Option<&str> {
        self.failures.iter().find(|(w, _)| of(w)).map(|(_, text)| text.as_str())
    }
}

/// The claim that stands behind a volume, with its readOnly: the pod's own for a generic ephemeral volume.
pub(crate) fn claim_of(pod: &Pod, v: &Volume) -> Option<(String, bool)> {
    match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(c), _) => Some((c.claim_name.clone(), c.read_only == Some(true))),
        (None, Some(_)) => Some((format!("{}-{}", view::name(pod), v.name), false)),
        (None, None) => None,
    }
}

/// What the pod's volumes need, each once.
pub fn wanted(pod: &Pod) -> Vec<Wanted> {
    let mut all = Vec::new();
    for v in view::spec(pod).volumes.iter().flatten() {
        all.extend(v.config_map.as_ref().map(|c| Wanted::ConfigMap(c.name.clone())));
        all.extend(v.secret.as_ref().map(|s| Wanted::Secret(s.secret_name.clone().unwrap_or_default())));
        all.extend(claim_of(pod, v).map(|(name, _)| Wanted::Claim(name)));
        all.extend(v.image.as_ref().map(|i| Wanted::Image(v.name.clone(), i.clone())));
        for (n, s) in v.projected.iter().flat_map(|p| p.sources.iter().flatten()).enumerate() {
            all.extend(s.config_map.as_ref().map(|c| Wanted::ConfigMap(c.name.clone())));
            all.extend(s.secret.as_ref().map(|s| Wanted::Secret(s.name.clone())));
            all.extend(s.service_account_token.as_ref().map(|t| Wanted::Token(token_key(t))));
            all.extend(s.cluster_trust_bundle.as_ref().map(|b| Wanted::TrustBundle(v.name.clone(), n, Box::new(b.clone()))));
            all.extend(s.pod_certificate.as_ref().map(|c| Wanted::Certificate(v.name.clone(), n, Box::new(c.clone()))));
        }
    }
    let mut once: Vec<Wanted> = Vec::new();
    for w in all {
        if !once.contains(&w) {
            once.push(w);
        }
    }
    once
}

/// The PersistentVolumes behind the claims that were found.
pub fn wanted_volumes(sources: &Sources) -> Vec<Wanted> {
    let bound = sources.claims.values().filter_map(|c| c.spec.as_ref()?.volume_name.clone());
    bound.filter(|n| !n.is_empty()).map(Wanted::PersistentVolume).collect()
}

pub(crate) fn token_key(t: &k8s_openapi::api::core::v1::ServiceAccountTokenProjection) -> TokenKey {
    TokenKey { audience: t.audience.clone().unwrap_or_default(), seconds: t.expiration_seconds.unwrap_or(3600) }
}
