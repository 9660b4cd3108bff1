//! Names of signers, certificate signing requests and bundles of trust.
use crate::{field::Field, names};
use base64::{Engine, engine::general_purpose::STANDARD};

const MAX_HOST: usize = 253;
const MAX_SIGNER: usize = MAX_HOST + 1 + (253 + 63 + 1);

/// `example.com/signer-name`.
pub(crate) fn signer_name(f: &Field<'_>) {
    let name = f.str();
    if name.is_empty() {
        return f.required("");
    }
    let Some((host, path)) = name.split_once('/').filter(|(_, p)| !p.contains('/')) else {
        return f.invalid(name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if host.len() > MAX_HOST {
        f.too_long(MAX_HOST);
    }
    labels_of(f, host, names::dns1123_label);
    if !host.contains('.') {
        f.invalid(host, "should be a domain with at least two segments separated by dots");
    }
    labels_of(f, path, names::dns1123_subdomain);
    if name.len() > MAX_SIGNER {
        f.too_long(MAX_SIGNER);
    }
}

/// Tells of the first part that is wrong.
fn labels_of(f: &Field<'_>, text: &str, check: fn(&str) -> names::Messages) {
    if let Some((label, messages)) = text.split('.').map(|l| (l, check(l))).find(|(_, m)| !m.is_empty()) {
        for m in messages {
            f.invalid(text, &format!("validating label {label:?}: {m}"));
        }
    }
}

/// `acme.io/foo` as a key.
pub(crate) fn domain_prefixed_key(f: &Field<'_>, key: &str) {
    if key.is_empty() {
        return f.required("");
    }
    let mark = f.mark();
    f.check_text(key, names::qualified_name);
    if f.clean_since(mark) && !key.contains('/') {
        f.invalid(key, "must be a domain-prefixed key (such as \"acme.io/foo\")");
    }
}

/// `acme.io/foo` as a path.
pub(crate) fn domain_prefixed_path(f: &Field<'_>) {
    let text = f.str();
    if text.is_empty() {
        return f.required("");
    }
    let Some((host, path)) = text.split_once('/').filter(|(h, p)| !h.is_empty() && !p.is_empty()) else {
        return f.invalid(text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    };
    f.check_text(host, names::dns1123_subdomain);
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        f.invalid(path, &names::pattern("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]));
    }
}

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A new CertificateSigningRequest.
pub(crate) fn request(v: &Field<'_>) {
    let spec = v.at("spec");
    let (usages, signer, expiration) = (spec.at("usages"), spec.at("signerName"), spec.at("expirationSeconds"));
    let text = STANDARD.decode(spec.at("request").str()).unwrap_or_default();
    if let Err(why) = skiff_pki::Request::parse(&text) {
        spec.at("request").invalid(spec.at("request").value(), &why.to_string());
    }
    if usages.list().is_empty() {
        usages.required("");
    }
    let mut seen = Vec::new();
    for u in usages.items() {
        u.if_any_of(&USAGES);
        if seen.contains(&u.str()) {
            u.duplicate(u.str());
        }
        seen.push(u.str());
    }
    if signer.is("kubernetes.io/legacy-unknown") {
        signer.invalid(signer.str(), "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&signer);
    }
    if expiration.exists() && expiration.int() < 600 {
        expiration.invalid(expiration.int(), "may not specify a duration less than 600 seconds (10 minutes)");
    }
    conditions(v);
    certificate(v);
}

fn certificate(v: &Field<'_>) {
    let f = v.at("status").at("certificate");
    let text = STANDARD.decode(f.str()).unwrap_or_default();
    if let Err(why) = skiff_pki::check_issued(&text)
        && !text.is_empty()
    {
        f.invalid("<certificate data>", &why);
    }
}

fn conditions(v: &Field<'_>) {
    let mut seen = Vec::new();
    let list = v.at("status").at("conditions");
    for c in list.items() {
        let (kind, status) = (c.at("type"), c.at("status"));
        if kind.str().is_empty() {
            kind.required("");
        }
        status.one_of(if matches!(kind.str(), "Approved" | "Denied" | "Failed") { &["True"] } else { &["False", "True", "Unknown"] });
        if seen.contains(&kind.str()) {
            kind.duplicate(kind.str());
        }
        seen.push(kind.str());
    }
    if seen.contains(&"Approved") && seen.contains(&"Denied") {
        list.invalid(
            "{conditions[{\"type\": \"Approved\"}], conditions[{\"type\": \"Denied\"}]}",
            "must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`",
        );
    }
}

/// Which part of a request a write may change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Neither,
    Approve,
    Issue,
}

pub(crate) fn request_update(new: &Field<'_>, old: &Field<'_>) {
    request_change(new, old, May::Neither);
}
pub(crate) fn request_approval(new: &Field<'_>, old: &Field<'_>) {
    request_change(new, old, May::Approve);
}
pub(crate) fn request_status(new: &Field<'_>, old: &Field<'_>) {
    request_change(new, old, May::Issue);
}

fn request_change(new: &Field<'_>, old: &Field<'_>, may: May) {
    request(new);
    let list = new.at("status").at("conditions");
    let of = |v: &Field<'_>, kind: &str| -> Vec<skiff_json::Value> {
        v.at("status.conditions").items().filter(|c| c.at("type").is(kind)).map(|c| c.value().clone()).collect()
    };
    for kind in ["Approved", "Denied", "Failed"] {
        let (now, was) = (of(new, kind), of(old, kind));
        let decided = kind != "Failed" && may != May::Approve;
        if now.len() < was.len() {
            list.forbidden(&format!("updates may not remove a condition of type {kind:?}"));
        } else if decided && now.len() > was.len() {
            list.forbidden(&format!("updates may not add a condition of type {kind:?}"));
        } else if decided && now != was {
            list.forbidden(&format!("updates may not modify a condition of type {kind:?}\n"));
        }
    }
    let (certificate, before) = (new.at("status").at("certificate"), old.at("status.certificate").str());
    if certificate.str() != before {
        if may != May::Issue {
            certificate.forbidden("updates may not set certificate content");
        } else if !before.is_empty() {
            certificate.forbidden("updates may not modify existing certificate content");
        }
    }
}
