//! The node's own way through: a reader of objects, tokens that are renewed, images.
use crate::{Node, pod, root};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, ImageVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, PodCertificateProjection, Secret,
};
use k8s_openapi::jiff::Timestamp;
use skiff_pod::field::NodeFacts;
use skiff_volumes::{Answer, Asked, PodVolumes, Reader, Token, TokenKey};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Hands out tokens that live an hour from `made`, until it is negative.
struct Api {
    made: AtomicI64,
}

#[async_trait]
impl Reader for Api {
    async fn config_map(&self, _: &str, name: &str) -> Result<Option<ConfigMap>, String> {
        if name == "refused" { Err("forbidden".into()) } else { Ok(None) }
    }
    async fn secret(&self, _: &str, _: &str) -> Result<Option<Secret>, String> {
        Ok(None)
    }
    async fn claim(&self, _: &str, name: &str) -> Result<Option<PersistentVolumeClaim>, String> {
        let text = r#"{"metadata":{"uid":"c1"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}}"#;
        Ok((name == "claim").then(|| skiff_json::from_str(text).unwrap()))
    }
    async fn persistent_volume(&self, _: &str) -> Result<Option<PersistentVolume>, String> {
        Ok(Some(skiff_json::from_str(r#"{"spec":{"claimRef":{"uid":"c1"},"hostPath":{"path":"/proc"}}}"#).unwrap()))
    }
    async fn token(&self, pod: &Pod, key: &TokenKey) -> Result<Token, String> {
        match self.made.load(Ordering::Relaxed) {
            made if made < 0 => Err("down".into()),
            made => {
                Ok(Token { token: format!("{}-{made}", pod.metadata.uid.as_deref().unwrap()), expires: Timestamp::from_second(made + key.seconds).unwrap() })
            }
        }
    }
    async fn trust_bundle(&self, _: &ClusterTrustBundleProjection) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(b"pem".to_vec()))
    }
    async fn ask_certificate(&self, _: &Pod, p: &PodCertificateProjection) -> Result<Asked, String> {
        Ok(Asked { request: p.signer_name.clone(), key: "KEY\n".into() })
    }
    async fn look_at_certificate(&self, _: &Pod, asked: &Asked) -> Result<Answer, String> {
        let at = |s| Timestamp::from_second(s).unwrap();
        Ok(if asked.request == "slow" { Answer::Waiting } else { Answer::Issued { chain: "CHAIN\n".into(), refresh: at(1000), expires: at(2000) } })
    }
    async fn image(&self, _: &Pod, volume: &str, image: &ImageVolumeSource) -> Result<PathBuf, String> {
        Ok(PathBuf::from(format!("/images/{volume}/{}", image.reference.as_deref().unwrap())))
    }
    async fn release_images(&self, _: &str) {}
}

#[tokio::test]
async fn certificates_come_as_files() {
    if !root() {
        return;
    }
    let node = Node::make();
    let volumes = PodVolumes::new(Api { made: AtomicI64::new(0) });
    let facts = NodeFacts::default();
    let of = |signer: &str| {
        pod(&format!(
            r#"{{"containers":[],"volumes":[{{"name":"t","projected":{{"sources":[{{"podCertificate":{{"signerName":"{signer}","keyType":"ECDSAP256","credentialBundlePath":"both","keyPath":"key","certificateChainPath":"chain"}}}}]}}}}]}}"#
        ))
    };
    let (_, due) = volumes.set_up(&of("quick"), &node.pod_dir(), &facts, Timestamp::from_second(100).unwrap()).await.unwrap();
    assert_eq!(due, Some(Duration::from_secs(900)));
    let read = |name: &str| std::fs::read_to_string(node.volume("projected", "t").join(name)).unwrap();
    assert_eq!((read("both"), read("key"), read("chain")), ("KEY\nCHAIN\n".into(), "KEY\n".into(), "CHAIN\n".into()));
    let (fresh, other) = (Node::make(), PodVolumes::new(Api { made: AtomicI64::new(0) }));
    let why = other.set_up(&of("slow"), &fresh.pod_dir(), &facts, Timestamp::from_second(100).unwrap()).await.unwrap_err();
    assert!(why[0].to_string().contains("credential bundle is not issued yet"), "{}", why[0]);
}

#[tokio::test]
async fn from_objects_to_files() {
    if !root() {
        return;
    }
    let node = Node::make();
    let volumes = PodVolumes::new(Api { made: AtomicI64::new(0) });
    let p = pod(
        r#"{"containers":[],"volumes":[{"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token"}},{"clusterTrustBundle":{"path":"ca","name":"x"}}]}},{"name":"i","image":{"reference":"r"}},{"name":"c","persistentVolumeClaim":{"claimName":"claim"}}]}"#,
    );
    let facts = NodeFacts::default();
    let set_up = async |now| volumes.set_up(&p, &node.pod_dir(), &facts, Timestamp::from_second(now).unwrap()).await;
    let token = || std::fs::read_to_string(node.volume("projected", "t").join("token")).unwrap();
    let (mounted, due) = set_up(0).await.unwrap();
    assert_eq!(due, Some(Duration::from_secs(2880)));
    assert_eq!(mounted.paths["i"], PathBuf::from("/images/i/r"));
    assert_eq!(mounted.paths["c"], PathBuf::from("/proc"));
    assert_eq!(token(), "u1-0");
    volumes.reader().made.store(3000, Ordering::Relaxed);
    assert!(set_up(2879).await.unwrap().0.changed.is_empty());
    assert_eq!(set_up(3000).await.unwrap().0.changed, ["t"]);
    assert_eq!(token(), "u1-3000");
    // No new one to be had: the old one serves while it lives, then the file stays with a warning.
    volumes.reader().made.store(-1, Ordering::Relaxed);
    assert!(set_up(6500).await.unwrap().0.warnings.is_empty());
    let warnings = set_up(6600).await.unwrap().0.warnings;
    assert_eq!(warnings[0].to_string(), r#"MountVolume.SetUp failed for volume "t" : failed to fetch token: down"#);
    volumes.tear_down("u1", &node.pod_dir()).await.unwrap();
    assert!(node.mounts().is_empty());
    let refused = pod(r#"{"containers":[],"volumes":[{"name":"v","configMap":{"name":"refused"}}]}"#);
    let e = volumes.set_up(&refused, &node.pod_dir(), &facts, Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert_eq!(e[0].to_string(), r#"MountVolume.SetUp failed for volume "v" : forbidden"#);
}
