//! Who still uses tokens that live in secrets: counted, told of once a day for each secret so that somebody can write it
//! down (label `kubernetes.io/legacy-token-last-used`), and noted for those who audit.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#legacy-serviceaccount-token-tracking-controller>
use super::Issuer;
use skiff_telemetry::metrics::Exposition;
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
pub(super) const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// A token of a secret was used whose label doesn't say so of today.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Use {
    pub namespace: String,
    pub secret: String,
    /// `2026-11-25`, in UTC.
    pub day: String,
}

type Tell = Box<dyn Fn(Use) + Send + Sync>;

#[derive(Default)]
pub(super) struct Uses {
    tell: OnceLock<Tell>,
    /// Tokens that Kubernetes made for accounts by itself once, and those that somebody asked for by making a secret.
    pub automatic: AtomicU64,
    pub manual: AtomicU64,
    /// Of the former, those that were marked as invalid.
    pub invalid: AtomicU64,
    /// Bound tokens, and those of them that their clients should have replaced.
    pub bound: AtomicU64,
    pub stale: AtomicU64,
}

impl Uses {
    pub fn told(&self, u: Use) {
        if let Some(tell) = self.tell.get() {
            tell(u);
        }
    }
}

impl Issuer {
    /// Tells of uses from now on. What it calls must not wait.
    pub fn on_use(&self, tell: impl Fn(Use) + Send + Sync + 'static) {
        let _ = self.uses.tell.set(Box::new(tell));
    }
    pub fn metrics(&self, out: &mut Exposition) {
        let (u, of) = (&self.uses, |n: &AtomicU64| n.load(Ordering::Relaxed));
        let (automatic, manual) = (of(&u.automatic), of(&u.manual));
        for (name, help, value) in [
            ("serviceaccount_legacy_tokens_total", "Uses of tokens that live in secrets", automatic + manual),
            ("serviceaccount_legacy_auto_token_uses_total", "Uses of tokens that were made with their accounts", automatic),
            ("serviceaccount_legacy_manual_token_uses_total", "Uses of tokens whose secrets somebody made", manual),
            ("serviceaccount_invalid_legacy_auto_token_uses_total", "Uses of tokens that were marked as invalid", of(&u.invalid)),
            ("serviceaccount_stale_tokens_total", "Uses of bound tokens that should have been replaced", of(&u.stale)),
            ("serviceaccount_valid_tokens_total", "Uses of bound tokens", of(&u.bound)),
        ] {
            out.single(name, "counter", help, value);
        }
    }
}
