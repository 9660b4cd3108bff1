//! Names of signers, certificate signing requests and bundles of trust.
use crate::{field::Field, names};

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
