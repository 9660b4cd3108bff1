//! PodCertificateRequests (KEP-4317): who asks for which pod, with a key whose possession is proven, and what became of it.
//!
//! Not here: the deprecated pair `pkixPublicKey` and `proofOfPossession` is only checked to be whole, and an issued chain
//! to be PEM; what is in it is its signer's.
use crate::{certificates, field::Field, names, small};
use base64::{Engine, engine::general_purpose::STANDARD};

const MAX_UID: usize = 128;
const MAX_STUB: usize = 10 * 1024;
const MAX_CHAIN: usize = 100 * 1024;
const HOUR: i64 = 3600;
const ENDED: [&str; 3] = ["Issued", "Denied", "Failed"];

pub(crate) fn create(v: &Field<'_>) {
    let spec = v.at("spec");
    certificates::signer_name(&spec.at("signerName"));
    for (key, _) in spec.at("unverifiedUserAnnotations").entries() {
        certificates::domain_prefixed_key(&spec.at("unverifiedUserAnnotations"), &key.to_lowercase());
    }
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        spec.at(name).check(names::dns1123_subdomain);
        let uid = spec.at(uid);
        if uid.str().is_empty() {
            uid.invalid("", "must not be empty");
        } else if uid.str().len() > MAX_UID {
            uid.too_long(MAX_UID);
        }
    }
    let lifetime = spec.at("maxExpirationSeconds");
    if !lifetime.exists() {
        return lifetime.required("must be set");
    }
    let own = spec.at("signerName").str().split('/').next().is_some_and(|host| host == "kubernetes.io" || host.ends_with(".kubernetes.io"));
    let most = if own { 24 * HOUR } else { 91 * 24 * HOUR };
    if !(HOUR..=most).contains(&lifetime.int()) {
        lifetime.invalid(lifetime.int(), &format!("must be in the range [{HOUR}, {most}]"));
    }
    let has = |part: &str| !spec.inside(part).str().is_empty();
    match (has("stubPKCS10Request"), has("pkixPublicKey"), has("proofOfPossession")) {
        (true, false, false) => stub(&spec.at("stubPKCS10Request")),
        (false, true, true) => {}
        _ => omitted(&spec, "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set"),
    }
}

fn stub(f: &Field<'_>) {
    let der = STANDARD.decode(f.str()).unwrap_or_default();
    if der.len() > MAX_STUB {
        f.too_long(MAX_STUB);
    } else if let Err(fault) = skiff_pki::examine_stub(&der) {
        match fault.shown {
            Some(shown) => f.invalid(shown.as_str(), fault.why),
            None => omitted(f, fault.why),
        }
    }
}

/// A value that is not shown.
fn omitted(f: &Field<'_>, why: &str) {
    f.tell_cause(skiff_meta::Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {why}"), field: f.path() });
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    if !crate::same::same(new.at("spec").value(), old.at("spec").value()) {
        let shown = crate::show::internal("io.k8s.api.certificates.v1.PodCertificateRequestSpec", new.at("spec").value());
        // The inner type still has the pair that v1 gave up.
        let whole = shown.0.replacen(",\"StubPKCS10Request\":", ",\"PKIXPublicKey\":null,\"ProofOfPossession\":null,\"StubPKCS10Request\":", 1);
        new.at("spec").invalid(crate::show::Json(whole), "field is immutable");
    }
}

/// Whether one of these conditions is there.
fn is(v: &Field<'_>, kinds: &[&str]) -> bool {
    v.at("status.conditions").items().any(|c| kinds.contains(&c.at("type").str()) && c.at("status").is("True"))
}

pub(crate) fn status(new: &Field<'_>, old: &Field<'_>) {
    let (mark, status) = (new.mark(), new.at("status"));
    let mut known = 0;
    let list = status.at("conditions");
    for (i, c) in list.items().enumerate() {
        // Upstream writes the index as a name.
        let named = list.child(format!("[{i}]"));
        let (kind, held) = (named.at("type").with(c.inside("type").value()), named.at("status").with(c.inside("status").value()));
        if !ENDED.contains(&kind.str()) {
            kind.unsupported(kind.str(), &ENDED);
            continue;
        }
        known += 1;
        if known > 1 {
            kind.invalid(kind.str(), "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"");
        }
        held.if_any_of(&["True"]);
    }
    small::conditions(&status.at("conditions"));
    if !new.clean_since(mark) {
        return;
    }
    if is(old, &ENDED) {
        if !crate::same::same(status.value(), old.at("status").value()) {
            omitted(&status, "immutable after PodCertificateRequest is issued, denied, or failed");
        }
        return;
    }
    let chain = status.at("certificateChain");
    let more = ["certificateChain", "notBefore", "beginRefreshAt", "notAfter"].iter().any(|part| status.inside(part).exists());
    if is(new, &["Denied", "Failed"]) && more {
        omitted(&status, "non-condition status fields must be empty when denying or failing the PodCertificateRequest");
    } else if is(new, &["Issued"]) {
        if chain.str().len() > MAX_CHAIN {
            chain.too_long(MAX_CHAIN);
        } else if !chain.str().contains("-----BEGIN ") {
            chain.invalid(chain.str(), "issued certificate chain must contain at least one certificate");
        }
    } else if more && known == 0 {
        omitted(&status, "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"");
    }
}

#[cfg(test)]
mod tests {
    use crate::{validate_create, validate_status_update};
    use skiff_json::{Value, json};

    fn request(spec: &[(&str, Value)]) -> Value {
        let (_, der) = skiff_pki::stub_request("ECDSAP256").unwrap();
        let stub = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let mut v = json!({"metadata": {"name": "r"}, "spec": {"signerName": "e.example/s", "podName": "p", "podUID": "1", "serviceAccountName": "s", "serviceAccountUID": "2", "nodeName": "n", "nodeUID": "3", "maxExpirationSeconds": 86400, "stubPKCS10Request": stub}});
        for (k, x) in spec {
            v["spec"][*k] = x.clone();
        }
        v
    }
    fn told(v: &Value) -> Vec<String> {
        validate_create("certificates.k8s.io", "PodCertificateRequest", v).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    #[test]
    fn who_asks_and_with_what() {
        assert_eq!(told(&request(&[])), Vec::<String>::new());
        assert_eq!(told(&request(&[("podUID", json!(""))])), ["spec.podUID: Invalid value: \"\": must not be empty"]);
        assert_eq!(
            told(&request(&[("maxExpirationSeconds", json!(5))])),
            ["spec.maxExpirationSeconds: Invalid value: 5: must be in the range [3600, 7862400]"]
        );
        assert_eq!(told(&request(&[("stubPKCS10Request", json!("DA=="))])), ["spec.stubPKCS10Request: Invalid value: must be a valid PKCS#10 CSR"]);
        assert_eq!(told(&request(&[("stubPKCS10Request", json!(""))])).len(), 1);
    }

    #[test]
    fn what_ended_stays() {
        let with = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let check = |new: &Value, old: &Value| validate_status_update("certificates.k8s.io", "PodCertificateRequest", new, old).len();
        assert_eq!(check(&with("Denied"), &json!({})), 0);
        assert_eq!(check(&with("Failed"), &with("Denied")), 1);
        assert_eq!(check(&with("Other"), &json!({})), 1);
    }
}
