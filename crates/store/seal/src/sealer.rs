//! The whole: own keys, configured providers, and what is chosen for a value.
use crate::config::{Configured, Provider};
use crate::own::{self, Own};
use arc_swap::ArcSwapOption;
use skiff_store::{SealError, Sealing};
use std::sync::Arc;

/// What every cluster seals unless its configuration says otherwise.
const DEFAULT: &str = "secrets";

pub struct Sealer {
    own: Own,
    configured: ArcSwapOption<Configured>,
}

impl Sealer {
    pub fn new(own: Own, configured: Option<Configured>) -> Self {
        Self { own, configured: ArcSwapOption::new(configured.map(Arc::new)) }
    }
    pub fn own(&self) -> &Own {
        &self.own
    }
    /// Takes other settings, and gives those before back: they still open while the caller holds values of theirs.
    pub fn configure(&self, configured: Option<Configured>) {
        self.configured.store(configured.map(Arc::new));
    }
    pub fn configured(&self) -> Option<Arc<Configured>> {
        self.configured.load_full()
    }
}

/// `secrets` of `secrets/kube-system/x`, `widgets.example.com` of `widgets.example.com/ns/x`.
fn resource(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

impl Sealing for Sealer {
    fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let configured = self.configured.load();
        match configured.as_ref().and_then(|c| c.writer(resource(key))) {
            Some(provider) => provider.seal(key, value),
            None if resource(key) == DEFAULT => self.own.seal(key, value),
            None => Ok(None),
        }
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if own::is_own(sealed) {
            return self.own.open_value(key, sealed);
        }
        let mut failed = None;
        if let Some(configured) = self.configured.load().as_ref() {
            for provider in configured.readers(resource(key)) {
                let Some(text) = provider.strip(sealed) else { continue };
                match provider.open(key, text) {
                    Ok(value) => return Ok(value),
                    Err(e) => failed = failed.or(Some(e)),
                }
            }
        }
        Err(failed.unwrap_or_else(|| SealError::UnknownKey(self.label(sealed))))
    }

    fn fresh(&self, key: &str, sealed: Option<&[u8]>) -> bool {
        let configured = self.configured.load();
        match configured.as_ref().and_then(|c| c.writer(resource(key))) {
            Some(Provider::Identity) => sealed.is_none(),
            Some(provider) => sealed.and_then(|s| provider.strip(s)).is_some_and(|text| provider.wrote(text)),
            None if resource(key) == DEFAULT => self.own.fresh(sealed),
            None => sealed.is_none(),
        }
    }

    fn label(&self, sealed: &[u8]) -> String {
        if own::is_own(sealed) {
            return own::label(sealed);
        }
        let head = String::from_utf8_lossy(sealed.get(..sealed.len().min(300)).unwrap_or_default());
        match head.strip_prefix("k8s:enc:").map(|rest| rest.splitn(4, ':').collect::<Vec<_>>()).as_deref() {
            Some([provider, _, name, _]) => format!("{provider} {name}"),
            _ => "an unknown scheme".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(providers: &str) -> Configured {
        Configured::parse(&format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [configmaps, '*.example.com']\n  providers: [{providers}]\n"
        ))
        .unwrap()
    }
    const FIRST: &str = "aescbc: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODw==}]}";
    const BOTH: &str = "secretbox: {keys: [{name: two, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}, {aescbc: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODw==}]}";

    #[test]
    fn the_configuration_decides_for_what_it_names_and_the_own_keys_for_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let s = Sealer::new(Own::open(dir.path().join("seal.key"), true).unwrap(), None);
        assert_eq!(s.seal("configmaps/a/b", b"v").unwrap(), None);
        let secret = s.seal("secrets/a/b", b"v").unwrap().unwrap();
        s.configure(Some(config(&format!("{{{FIRST}}}"))));
        assert!(s.seal("secrets/a/b", b"v").unwrap().unwrap().starts_with(b"SKS1"), "not named: sealed as before");
        assert_eq!((s.fresh("secrets/a/b", Some(&secret)), s.fresh("configmaps/a/b", None)), (true, false));
        let map = s.seal("configmaps/a/b", b"v").unwrap().unwrap();
        assert!(map.starts_with(b"k8s:enc:aescbc:v1:one:") && s.fresh("configmaps/a/b", Some(&map)));
        assert!(s.seal("widgets.example.com/a/b", b"v").unwrap().is_some());
        assert_eq!(s.seal("pods/a/b", b"v").unwrap(), None);
        s.configure(Some(config(&format!("{{{BOTH}}}"))));
        assert_eq!(s.open("configmaps/a/b", &map).unwrap(), b"v", "the second provider opens");
        assert!(!s.fresh("configmaps/a/b", Some(&map)));
        assert_eq!(s.label(&s.seal("configmaps/a/b", b"v").unwrap().unwrap()), "secretbox two");
        s.configure(Some(config("{identity: {}}")));
        assert_eq!(s.seal("configmaps/a/b", b"v").unwrap(), None);
        assert_eq!(s.open("configmaps/a/b", &map), Err(SealError::UnknownKey("aescbc one".into())));
        s.configure(Some(config("{aescbc: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0OEA==}]}}")));
        let wrong = s.open("configmaps/a/b", &map);
        assert!(matches!(&wrong, Err(SealError::Refused(who)) if who == "aescbc one") || wrong.as_deref() != Ok(b"v"));
    }
}
