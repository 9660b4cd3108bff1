//! The files of configMap, secret, downwardAPI and projected volumes. Pure.
//! <https://kubernetes.io/docs/concepts/storage/projected-volumes/>
use crate::error::joined;
use crate::sources::{Sources, Wanted, token_key};
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, VolumeProjection};
use skiff_pod::field::{self, NodeFacts};
use std::collections::BTreeMap;

const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProjection {
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Its owner when that isn't root.
    pub user: Option<u32>,
}

/// Files by their path below the volume: relative, clean, never with `..` at the front or as an element.
pub type Payload = BTreeMap<String, FileProjection>;

/// What all sources of one volume share.
pub(crate) struct Context<'a> {
    pub pod: &'a Pod,
    pub facts: &'a NodeFacts<'a>,
    pub sources: &'a Sources,
    pub default_mode: u32,
    pub fs_group: Option<u32>,
    /// The user that all containers run as, when they agree.
    pub fs_user: Option<u32>,
    pub volume: &'a str,
}

pub(crate) fn mode_or(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).map_or(default, |m| m & 0o777)
}

impl Context<'_> {
    pub fn config_map(&self, name: &str, items: Option<&[KeyToPath]>, optional: bool) -> Result<Payload, String> {
        let found = match self.sources.config_maps.get(name) {
            Some(c) => c,
            None if optional && self.failed(&Wanted::ConfigMap(name.to_owned())).is_none() => &ConfigMap::default(),
            None => return Err(self.missing(Wanted::ConfigMap(name.to_owned()), format!("configmap {name:?} not found"))),
        };
        let text = found.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
        // The API keeps the two maps' keys apart; text wins, as upstream looks there first.
        let mut entries: BTreeMap<&str, &[u8]> = found.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
        entries.extend(text);
        self.entries(&entries, items, optional, |key| format!("configmap references non-existent config key: {key}"))
    }

    pub fn secret(&self, name: &str, items: Option<&[KeyToPath]>, optional: bool) -> Result<Payload, String> {
        let found = match self.sources.secrets.get(name) {
            Some(s) => s,
            None if optional && self.failed(&Wanted::Secret(name.to_owned())).is_none() => &Secret::default(),
            None => return Err(self.missing(Wanted::Secret(name.to_owned()), format!("secret {name:?} not found"))),
        };
        let entries = found.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
        self.entries(&entries, items, optional, |key| format!("references non-existent secret key: {key}"))
    }

    fn failed(&self, wanted: &Wanted) -> Option<&str> {
        self.sources.failure(|w| w == wanted)
    }
    fn missing(&self, wanted: Wanted, not_found: String) -> String {
        self.failed(&wanted).map_or(not_found, str::to_owned)
    }

    fn entries(
        &self,
        entries: &BTreeMap<&str, &[u8]>,
        items: Option<&[KeyToPath]>,
        optional: bool,
        unknown: impl Fn(&str) -> String,
    ) -> Result<Payload, String> {
        let file = |data: &[u8], mode| FileProjection { data: data.to_vec(), mode, user: None };
        let Some(items) = items.filter(|i| !i.is_empty()) else {
            return Ok(entries.iter().map(|(k, v)| ((*k).to_owned(), file(v, self.default_mode))).collect());
        };
        let mut payload = Payload::new();
        for item in items {
            match entries.get(item.key.as_str()) {
                Some(data) => payload.insert(item.path.clone(), file(data, mode_or(item.mode, self.default_mode))),
                None if optional => continue,
                None => return Err(unknown(&item.key)),
            };
        }
        Ok(payload)
    }

    pub fn downward(&self, items: Option<&[DownwardAPIVolumeFile]>) -> Result<Payload, String> {
        let mut payload = Payload::new();
        let mut errors = Vec::new();
        for item in items.unwrap_or_default() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(f), _) => field::field(self.pod, &f.field_path, self.facts),
                (None, Some(r)) => field::resource(self.pod, None, r, self.facts),
                (None, None) => Ok(String::new()),
            };
            match value {
                Ok(text) => {
                    payload.insert(item.path.clone(), FileProjection { data: text.into_bytes(), mode: mode_or(item.mode, self.default_mode), user: None });
                }
                Err(e) => errors.push(e.to_string()),
            }
        }
        if errors.is_empty() { Ok(payload) } else { Err(joined(&errors)) }
    }

    pub fn projected(&self, p: &ProjectedVolumeSource) -> Result<Payload, String> {
        let mut payload = Payload::new();
        let mut errors = Vec::new();
        for (n, source) in p.sources.iter().flatten().enumerate() {
            match self.projection(n, source) {
                Ok(files) => payload.extend(files),
                Err(e) => errors.push(e),
            }
        }
        if errors.is_empty() { Ok(payload) } else { Err(joined(&errors)) }
    }

    fn projection(&self, n: usize, s: &VolumeProjection) -> Result<Payload, String> {
        if let Some(c) = &s.config_map {
            self.config_map(&c.name, c.items.as_deref(), c.optional == Some(true))
        } else if let Some(c) = &s.secret {
            self.secret(&c.name, c.items.as_deref(), c.optional == Some(true))
        } else if let Some(d) = &s.downward_api {
            self.downward(d.items.as_deref())
        } else if let Some(t) = &s.service_account_token {
            let key = token_key(t);
            let token = self
                .sources
                .tokens
                .get(&key)
                .ok_or_else(|| self.missing(Wanted::Token(key.clone()), "failed to fetch token: none was handed out".to_owned()))?;
            Ok(Payload::from([(t.path.clone(), self.private(token.clone().into_bytes()))]))
        } else if let Some(b) = &s.cluster_trust_bundle {
            let anchors = self.sources.trust_bundles.get(&(self.volume.to_owned(), n));
            let failed = self.sources.failure(|w| matches!(w, Wanted::TrustBundle(v, i, _) if v == self.volume && *i == n));
            let pem = match (anchors, failed) {
                (Some(pem), _) => pem.clone(),
                (None, Some(why)) => return Err(why.to_owned()),
                (None, None) if b.optional == Some(true) => Vec::new(),
                (None, None) => {
                    return Err(match (&b.name, &b.signer_name) {
                        (Some(name), _) => format!("clustertrustbundle.certificates.k8s.io {name:?} not found"),
                        (None, Some(signer)) => format!("no trust anchors for signer {signer:?}"),
                        (None, None) => "ClusterTrustBundle projection requires either name or signerName to be set".to_owned(),
                    });
                }
            };
            Ok(Payload::from([(b.path.clone(), self.private(pem))]))
        } else if let Some(c) = &s.pod_certificate {
            let failed = self.sources.failure(|w| matches!(w, Wanted::Certificate(v, i, _) if v == self.volume && *i == n));
            let bundle = self
                .sources
                .certificates
                .get(&(self.volume.to_owned(), n))
                .ok_or_else(|| failed.unwrap_or("credential bundle is not issued yet").to_owned())?;
            let both = format!("{}{}", bundle.key, bundle.chain);
            let files = [(&c.credential_bundle_path, &both), (&c.key_path, &bundle.key), (&c.certificate_chain_path, &bundle.chain)];
            let wanted = files.into_iter().filter_map(|(path, data)| Some((path.clone().filter(|p| !p.is_empty())?, data)));
            let user = c.user.and_then(|u| u32::try_from(u).ok());
            Ok(wanted.map(|(path, data)| (path, self.private_of(data.clone().into_bytes(), user))).collect())
        } else {
            Ok(Payload::new())
        }
    }

    /// For the one user that reads it; the group gets its share when the volume's group is set.
    fn private(&self, data: Vec<u8>) -> FileProjection {
        self.private_of(data, None)
    }
    /// The same for the user that the source names.
    fn private_of(&self, data: Vec<u8>, user: Option<u32>) -> FileProjection {
        let user = user.or(self.fs_user);
        let mode = if user.is_some() || self.fs_group.is_some() { 0o600 } else { self.default_mode };
        FileProjection { data, mode, user }
    }
}

/// The payload with clean paths, or what is wrong with one of them.
pub(crate) fn checked(payload: Payload) -> Result<Payload, String> {
    payload.into_iter().map(|(path, file)| Ok((clean_path(&path)?, file))).collect()
}

fn clean_path(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("invalid path: must not be empty: \"\"".to_owned());
    }
    if path.starts_with('/') {
        return Err(format!("invalid path: must be relative path: {path}"));
    }
    if path.len() > MAX_PATH {
        return Err(format!("invalid path: must be less than or equal to {MAX_PATH} characters"));
    }
    let elements: Vec<&str> = path.split('/').collect();
    if elements.contains(&"..") {
        return Err(format!("invalid path: must not contain '..': {path}"));
    }
    if elements.iter().any(|e| e.len() > MAX_NAME) {
        return Err(format!("invalid path: filenames must be less than or equal to {MAX_NAME} characters"));
    }
    let clean: Vec<&str> = elements.into_iter().filter(|e| !e.is_empty() && *e != ".").collect();
    match clean.first() {
        // A leading "./" doesn't hide the writer's own names.
        Some(first) if first.starts_with("..") => Err(format!("invalid path: must not start with '..': {path}")),
        Some(_) if !path.contains('\0') => Ok(clean.join("/")),
        _ => Err(format!("invalid path: must not be empty: {path:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn paths() {
        for (path, want) in [
            ("a", Some("a")),
            ("a/b/", Some("a/b")),
            ("./a//b", Some("a/b")),
            ("..a", None),
            ("./..data", None),
            ("a/../b", None),
            ("/a", None),
            ("", None),
            (".", None),
            ("a/..b", Some("a/..b")),
            ("a\0", None),
        ] {
            assert_eq!(clean_path(path).ok().as_deref(), want, "{path}");
        }
        assert!(clean_path(&"x".repeat(256)).is_err());
        assert!(clean_path(&"x/".repeat(2049)).is_err());
    }
}
