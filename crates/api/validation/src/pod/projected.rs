//! Volumes that are made of other objects: downward API and projections.
use super::{Options, env, sources};
use crate::{certificates::signer_name, field::Field, labels, names, show::internal};
use std::collections::HashSet;

pub(super) fn downward(f: &Field<'_>) {
    sources::mode(&f.at("defaultMode"));
    for i in f.at("items").items() {
        // Upstream tells errors of files under the volume.
        downward_file(&f.with(i.value()));
    }
}

fn downward_file(f: &Field<'_>) {
    if f.at("path").str().is_empty() {
        f.at("path").required("");
    }
    sources::local_path(&f.at("path"));
    let (field, resource) = (f.at("fieldRef"), f.at("resourceFieldRef"));
    if field.exists() {
        env::field_ref(&field, &env::VOLUME_FIELDS);
        if resource.exists() {
            f.invalid("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if resource.exists() {
        env::resource_ref(&resource, true);
    } else {
        f.required("one of fieldRef and resourceFieldRef is required");
    }
    sources::mode(&f.at("mode"));
}

/// The paths of all sources of one volume; each can be written once.
struct Paths<'a> {
    volume: Field<'a>,
    taken: HashSet<&'a str>,
}

impl<'a> Paths<'a> {
    fn take(&mut self, path: &'a str, shown: &str) {
        if !self.taken.insert(path) {
            self.volume.invalid(shown, "conflicting duplicate paths");
        }
    }
    fn take_filled(&mut self, path: &'a str, shown: &str) {
        if !path.is_empty() {
            self.take(path, shown);
        }
    }
}

pub(super) fn projected(f: &Field<'_>, options: &Options) {
    sources::mode(&f.at("defaultMode"));
    let mut paths = Paths { volume: f.clone(), taken: HashSet::new() };
    for s in f.at("sources").items() {
        let mut count = 0;
        for kind in ["secret", "configMap"].into_iter().filter(|k| s.at(k).exists()) {
            count += 1;
            keyed(&s.at(kind), &mut paths);
        }
        if s.at("downwardAPI").exists() {
            count += 1;
            let d = s.at("downwardAPI");
            for i in d.at("items").items() {
                downward_file(&d.with(i.value()));
                paths.take_filled(i.at("path").str(), i.at("path").str());
            }
        }
        if s.at("serviceAccountToken").exists() {
            count += 1;
            token(&s.at("serviceAccountToken"), f, options);
        }
        if s.at("clusterTrustBundle").exists() {
            count += 1;
            trust_bundle(&s.at("clusterTrustBundle"), &mut paths);
        }
        if s.at("podCertificate").exists() {
            count += 1;
            certificate(&s.at("podCertificate"), &mut paths);
        }
        if count > 1 {
            s.forbidden("may not specify more than 1 volume type per source");
        }
    }
}

fn keyed<'a>(f: &Field<'a>, paths: &mut Paths<'a>) {
    let name = f.at("name");
    if name.str().is_empty() {
        name.required("");
    }
    for i in f.at("items").items() {
        sources::key_to_path(&i);
        paths.take_filled(i.at("path").str(), name.str());
    }
}

fn token(t: &Field<'_>, volume: &Field<'_>, options: &Options) {
    let expiration = t.at("expirationSeconds");
    match expiration.number() {
        None => expiration.required(""),
        Some(n) if n < 600 => expiration.invalid(n, "may not specify a duration less than 10 minutes"),
        Some(n) if n > 1 << 32 => expiration.invalid(n, "may not specify a duration larger than 2^32 seconds"),
        Some(_) => {}
    }
    let path = volume.at("path").with(t.at("path").value());
    if path.str().is_empty() {
        path.required("");
    } else if !options.token_path_anywhere {
        sources::local_path(&path);
    }
}

fn trust_bundle<'a>(b: &Field<'a>, paths: &mut Paths<'a>) {
    let (name, signer, selector, path) = (b.at("name"), b.at("signerName"), b.at("labelSelector"), b.at("path"));
    match (name.text(), signer.text()) {
        (Some(_), Some(_)) => b.invalid(internal("io.k8s.api.core.v1.ClusterTrustBundleProjection", b.value()), "only one of name and signerName may be used"),
        (Some(text), None) => {
            if text.is_empty() {
                name.required("must be a valid object name");
            }
            for m in bundle_name(text) {
                name.invalid(text, &format!("not a valid clustertrustbundlename: {m}"));
            }
            if selector.exists() {
                selector.invalid(crate::show::selector(selector.value()), "labelSelector must be unset if name is specified");
            }
        }
        (None, Some(text)) => {
            if text.is_empty() {
                signer.required("must be a valid signer name");
            }
            signer_name(&signer);
            labels::selector(&selector, false);
        }
        (None, None) => b.required("either name or signerName must be specified"),
    }
    if path.str().is_empty() {
        path.required("");
    }
    sources::local_path(&path);
    paths.take(path.str(), path.str());
}

/// A bundle's name is a subdomain, behind its signer's name where it has one.
fn bundle_name(name: &str) -> names::Messages {
    names::dns1123_subdomain(name.rsplit_once(':').map_or(name, |(_, n)| n))
}

const KEYS: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const DAY: i64 = 86400;

fn certificate<'a>(c: &Field<'a>, paths: &mut Paths<'a>) {
    signer_name(&c.at("signerName"));
    for (k, _) in c.at("userAnnotations").entries() {
        crate::certificates::domain_prefixed_key(&c.at("userAnnotations"), &k.to_lowercase());
    }
    c.at("keyType").if_any_of(&KEYS);
    let longest = c.at("maxExpirationSeconds");
    if let Some(n) = longest.number() {
        if n < 3600 {
            longest.invalid(n, "if provided, maxExpirationSeconds must be >= 3600");
        }
        let host = c.at("signerName").str().split('/').next().unwrap_or_default();
        let max = if host == "kubernetes.io" || host.ends_with(".kubernetes.io") { DAY } else { 91 * DAY };
        if n > max {
            longest.invalid(n, &format!("if provided, maxExpirationSeconds must be <= {max}"));
        }
    }
    let files: Vec<Field<'a>> =
        ["credentialBundlePath", "keyPath", "certificateChainPath"].into_iter().map(|p| c.at(p)).filter(|p| !p.str().is_empty()).collect();
    for p in &files {
        sources::local_path(p);
        paths.take(p.str(), p.str());
    }
    if files.is_empty() {
        c.required("specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
}
