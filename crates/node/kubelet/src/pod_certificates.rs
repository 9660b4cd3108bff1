//! Requests for certificates of pods, made and looked at under the node's identity.
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#pod-certificate-requests>
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, PodCertificateProjection, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use skiff_client::Client;
use skiff_meta::Status;
use skiff_pod::view;
use skiff_volumes::{Answer, Asked};
use std::time::Duration;

/// A signer in the cluster mostly answers soon: waited for so often, so long each.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);

fn text(e: Status) -> String {
    e.to_string()
}

pub(crate) async fn ask(client: &Client, pod: &Pod, p: &PodCertificateProjection) -> Result<Asked, String> {
    let spec = view::spec(pod);
    let account_name = spec.service_account_name.clone().filter(|a| !a.is_empty()).unwrap_or_else(|| "default".into());
    let node_name = spec.node_name.clone().unwrap_or_default();
    let account: ServiceAccount = client
        .find(view::namespace(pod), &account_name)
        .await
        .map_err(text)?
        .ok_or_else(|| format!("while fetching service account: serviceaccounts {account_name:?} not found"))?;
    let node: Node = client.find("", &node_name).await.map_err(text)?.ok_or_else(|| format!("nodes {node_name:?} not found"))?;
    let (key, proof) = skiff_pki::stub_request(&p.key_type).map_err(|e| e.to_string())?;
    let owner =
        OwnerReference { api_version: "v1".into(), kind: "Pod".into(), name: view::name(pod).into(), uid: view::uid(pod).into(), ..OwnerReference::default() };
    let request = PodCertificateRequest {
        metadata: ObjectMeta {
            namespace: Some(view::namespace(pod).into()),
            generate_name: Some("req-".into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: PodCertificateRequestSpec {
            signer_name: p.signer_name.clone(),
            pod_name: view::name(pod).into(),
            pod_uid: view::uid(pod).into(),
            service_account_name: account_name,
            service_account_uid: account.metadata.uid.unwrap_or_default(),
            node_name,
            node_uid: node.metadata.uid.unwrap_or_default(),
            max_expiration_seconds: p.max_expiration_seconds,
            stub_pkc_s10_request: ByteString(proof),
            unverified_user_annotations: p.user_annotations.clone(),
        },
        ..PodCertificateRequest::default()
    };
    let made = client.create(&request).await.map_err(|e| format!("while creating initial PodCertificateRequest: {e}"))?;
    Ok(Asked { request: made.metadata.name.unwrap_or_default(), key })
}

/// What became of it; waits a few seconds for an answer.
pub(crate) async fn look(client: &Client, namespace: &str, asked: &Asked) -> Result<Answer, String> {
    for _ in 0..LOOKS {
        let Some(request) = client.find::<PodCertificateRequest>(namespace, &asked.request).await.map_err(text)? else { return Ok(Answer::Gone) };
        match outcome(&request) {
            Answer::Waiting => tokio::time::sleep(BETWEEN).await,
            told => return Ok(told),
        }
    }
    Ok(Answer::Waiting)
}

fn outcome(request: &PodCertificateRequest) -> Answer {
    let Some(status) = &request.status else { return Answer::Waiting };
    for c in status.conditions.iter().flatten() {
        match (c.type_.as_str(), &status.certificate_chain, &status.begin_refresh_at, &status.not_after) {
            (kind @ ("Denied" | "Failed"), ..) => {
                return Answer::Refused(format!(
                    "PodCertificateRequest was permanently {}: reason={:?} message={:?}",
                    kind.to_lowercase(),
                    c.reason,
                    c.message
                ));
            }
            ("Issued", Some(chain), Some(refresh), Some(expires)) => return Answer::Issued { chain: blocks(chain), refresh: refresh.0, expires: expires.0 },
            _ => {}
        }
    }
    Answer::Waiting
}

/// The chain's PEM blocks without what stands between them.
fn blocks(chain: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut out = String::new();
    let mut rest = chain;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((body, after)) = after.split_once(END) else { break };
        out += &format!("{BEGIN}\n{}\n{END}\n", body.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains(':')).collect::<Vec<_>>().join("\n"));
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn outcomes() {
        let of = |status: skiff_json::Value| {
            let v = skiff_json::json!({"metadata": {}, "spec": {"signerName": "s", "podName": "", "podUID": "", "serviceAccountName": "", "serviceAccountUID": "", "nodeName": "", "nodeUID": "", "stubPKCS10Request": ""}, "status": status});
            outcome(&skiff_json::from_value(v).unwrap())
        };
        let condition =
            |kind: &str| skiff_json::json!([{"type": kind, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        assert_eq!(of(skiff_json::json!({})), Answer::Waiting);
        assert_eq!(
            of(skiff_json::json!({"conditions": condition("Denied")})),
            Answer::Refused("PodCertificateRequest was permanently denied: reason=\"R\" message=\"m\"".into())
        );
        let chain = "text\n-----BEGIN CERTIFICATE-----\nheader: x\n\nAAAA\n-----END CERTIFICATE-----\nmore\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----";
        let issued = of(
            skiff_json::json!({"conditions": condition("Issued"), "certificateChain": chain, "beginRefreshAt": "2026-01-01T01:00:00Z", "notAfter": "2026-01-01T02:00:00Z"}),
        );
        let want = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        let time = |s: &str| s.parse::<Timestamp>().unwrap();
        assert_eq!(issued, Answer::Issued { chain: want.into(), refresh: time("2026-01-01T01:00:00Z"), expires: time("2026-01-01T02:00:00Z") });
    }
}
