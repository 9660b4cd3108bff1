//! What a pod, or a volume, makes a node read. Views of canonical JSON, made for a moment.
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Pod {
    pub metadata: Meta,
    pub spec: Spec,
    pub status: Status,
}
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Meta {
    pub name: String,
    annotations: Option<Mirror>,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct Mirror {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub node_name: String,
    service_account_name: String,
    image_pull_secrets: Option<Vec<Named>>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    resource_claims: Option<Vec<PodClaim>>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    resource_claim_statuses: Option<Vec<PodClaim>>,
    extended_resource_claim_status: Option<PodClaim>,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodClaim {
    resource_claim_name: Option<String>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    env: Option<Vec<Env>>,
    env_from: Option<Vec<EnvFrom>>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Env {
    value_from: Option<ValueFrom>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ValueFrom {
    secret_key_ref: Option<Named>,
    config_map_key_ref: Option<Named>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct EnvFrom {
    secret_ref: Option<Named>,
    config_map_ref: Option<Named>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    secret: Option<SecretVolume>,
    config_map: Option<Named>,
    projected: Option<Projected>,
    persistent_volume_claim: Option<ClaimVolume>,
    ephemeral: Option<serde::de::IgnoredAny>,
    azure_file: Option<SecretVolume>,
    csi: Option<WithSecret>,
    cephfs: Option<WithSecret>,
    cinder: Option<WithSecret>,
    flex_volume: Option<WithSecret>,
    iscsi: Option<WithSecret>,
    rbd: Option<WithSecret>,
    #[serde(rename = "scaleIO")]
    scale_io: Option<WithSecret>,
    storageos: Option<WithSecret>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SecretVolume {
    secret_name: String,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WithSecret {
    #[serde(alias = "nodePublishSecretRef")]
    secret_ref: Option<Named>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClaimVolume {
    claim_name: String,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct Projected {
    sources: Option<Vec<Source>>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    secret: Option<Named>,
    config_map: Option<Named>,
}

/// Names by kind, in the pod's own namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    pub secrets: Vec<String>,
    pub config_maps: Vec<String>,
    pub claims: Vec<String>,
    pub accounts: Vec<String>,
    pub resource_claims: Vec<String>,
}

impl Pod {
    pub fn references(self) -> References {
        let mut r = References::default();
        // A node makes mirror pods itself: they must not open anything to it.
        if self.metadata.annotations.is_some_and(|a| a.mirror.is_some()) {
            return r;
        }
        let (pod, spec) = (self.metadata.name, self.spec);
        r.accounts.push(spec.service_account_name);
        r.secrets.extend(spec.image_pull_secrets.unwrap_or_default().into_iter().map(|n| n.name));
        for container in [spec.containers, spec.init_containers, spec.ephemeral_containers].into_iter().flatten().flatten() {
            r.container(container);
        }
        for volume in spec.volumes.unwrap_or_default() {
            r.volume(&pod, volume);
        }
        let told = self.status.resource_claim_statuses.unwrap_or_default();
        let claims = spec.resource_claims.unwrap_or_default().into_iter().chain(told).chain(self.status.extended_resource_claim_status);
        r.resource_claims.extend(claims.filter_map(|c| c.resource_claim_name));
        for list in [&mut r.secrets, &mut r.config_maps, &mut r.claims, &mut r.accounts, &mut r.resource_claims] {
            list.retain(|name| !name.is_empty());
            list.sort_unstable();
            list.dedup();
        }
        r
    }
}

impl References {
    fn container(&mut self, container: Container) {
        for from in container.env.unwrap_or_default().into_iter().filter_map(|e| e.value_from) {
            self.secrets.extend(from.secret_key_ref.map(|n| n.name));
            self.config_maps.extend(from.config_map_key_ref.map(|n| n.name));
        }
        for from in container.env_from.unwrap_or_default() {
            self.secrets.extend(from.secret_ref.map(|n| n.name));
            self.config_maps.extend(from.config_map_ref.map(|n| n.name));
        }
    }
    fn volume(&mut self, pod: &str, v: Volume) {
        if v.ephemeral.is_some() {
            self.claims.push(format!("{pod}-{}", v.name));
        }
        self.claims.extend(v.persistent_volume_claim.map(|c| c.claim_name));
        self.config_maps.extend(v.config_map.map(|n| n.name));
        self.secrets.extend([v.secret, v.azure_file].into_iter().flatten().map(|s| s.secret_name));
        let with_secret = [v.csi, v.cephfs, v.cinder, v.flex_volume, v.iscsi, v.rbd, v.scale_io, v.storageos];
        self.secrets.extend(with_secret.into_iter().flatten().filter_map(|w| w.secret_ref).map(|n| n.name));
        for source in v.projected.and_then(|p| p.sources).unwrap_or_default() {
            self.secrets.extend(source.secret.map(|n| n.name));
            self.config_maps.extend(source.config_map.map(|n| n.name));
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PersistentVolume {
    pub spec: VolumeSpec,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeSpec {
    pub claim_ref: Option<ClaimRef>,
    csi: Option<CsiSecrets>,
    azure_file: Option<AzureSecret>,
}
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ClaimRef {
    pub namespace: String,
    pub name: String,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CsiSecrets {
    node_publish_secret_ref: Option<ClaimRef>,
    node_stage_secret_ref: Option<ClaimRef>,
    node_expand_secret_ref: Option<ClaimRef>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AzureSecret {
    secret_name: String,
    secret_namespace: Option<String>,
}

impl VolumeSpec {
    /// Namespace and name of the secrets that mounting takes.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let csi = self.csi.iter().flat_map(|c| [&c.node_publish_secret_ref, &c.node_stage_secret_ref, &c.node_expand_secret_ref]).flatten();
        let mut secrets: Vec<_> = csi.map(|r| (r.namespace.clone(), r.name.clone())).collect();
        if let Some(azure) = &self.azure_file {
            let claim = self.claim_ref.as_ref().map(|c| c.namespace.clone());
            secrets.extend(azure.secret_namespace.clone().or(claim).map(|ns| (ns, azure.secret_name.clone())));
        }
        secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn everything_a_pod_names_is_found() {
        let pod = r#"{"metadata":{"name":"p"},"spec":{"nodeName":"n","serviceAccountName":"sa","imagePullSecrets":[{"name":"s1"}],
            "containers":[{"env":[{"valueFrom":{"secretKeyRef":{"name":"s2"}}},{"value":"x"}],"envFrom":[{"configMapRef":{"name":"c1"}}]}],
            "initContainers":[{"env":[{"valueFrom":{"configMapKeyRef":{"name":"c2"}}}],"envFrom":[{"secretRef":{"name":"s3"}}]}],
            "volumes":[{"name":"a","secret":{"secretName":"s4"}},{"name":"b","configMap":{"name":"c3"}},{"name":"e","ephemeral":{"x":1}},
              {"name":"c","projected":{"sources":[{"secret":{"name":"s5"}},{"configMap":{"name":"c4"}},{"serviceAccountToken":{}}]}},
              {"name":"d","persistentVolumeClaim":{"claimName":"pvc"}},{"name":"f","csi":{"nodePublishSecretRef":{"name":"s6"}}},{"name":"g","emptyDir":{}}],
            "resourceClaims":[{"resourceClaimName":"r1"},{"resourceClaimTemplateName":"t"}]},"status":{"resourceClaimStatuses":[{"name":"x","resourceClaimName":"r2"}]}}"#;
        let r = skiff_json::from_str::<Pod>(pod).unwrap().references();
        assert_eq!(r.secrets, ["s1", "s2", "s3", "s4", "s5", "s6"]);
        assert_eq!(r.config_maps, ["c1", "c2", "c3", "c4"]);
        assert_eq!(
            (r.claims, r.accounts, r.resource_claims),
            (vec!["p-e".to_owned(), "pvc".into()], vec!["sa".to_owned()], vec!["r1".to_owned(), "r2".into()])
        );
        let mirror = pod.replace(r#""name":"p""#, r#""name":"p","annotations":{"kubernetes.io/config.mirror":"h"}"#);
        assert_eq!(skiff_json::from_str::<Pod>(&mirror).unwrap().references(), References::default());
    }
}
