//! Secrets of type `kubernetes.io/service-account-token`: filled with a token that does not expire, removed with their
//! account. Nobody makes such secrets by himself any more; people do.
//! <https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets>
//!
//! Secrets that Kubernetes before 1.24 made for each account are [`legacy`](super::legacy)'s.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use skiff_client::{DeleteOptions, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Informer, Row, Selection, Typed, split_key};
use skiff_meta::{Head, Reason, Status};
use std::collections::BTreeMap;
use std::sync::Arc;

const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const BY_ACCOUNT: &str = "account";

/// Whoever signs tokens.
pub trait SecretTokens: Send + Sync {
    /// A token that counts as long as the secret holds it.
    fn token(&self, namespace: &str, account: &str, account_uid: &str, secret: &str) -> Result<String, String>;
}

/// The account that a secret names: name, and uid if any.
pub(super) fn account(row: &Row) -> Option<(String, String)> {
    let mut notes = Head::of(&row.bytes).ok()?.annotations;
    Some((notes.remove(ACCOUNT)?, notes.remove(ACCOUNT_UID).unwrap_or_default())).filter(|(name, _)| !name.is_empty())
}

struct Tokens {
    deps: Deps,
    secrets: Arc<Informer>,
    accounts: Typed<ServiceAccount>,
}

/// Keys are `secret|ns/name`, and `gone|ns/account/name` of a secret that an account may still name.
pub(crate) fn start(deps: Deps) -> Started {
    let secrets = deps.informers.raw(Selection::of(resource_of::<Secret>()).fields("type=kubernetes.io/service-account-token"));
    let accounts = deps.informers.of::<ServiceAccount>();
    secrets.index(BY_ACCOUNT, |r| account(r).map(|(name, _)| format!("{}/{name}", r.namespace())).into_iter().collect());
    let queue = Queue::new();
    let q = queue.clone();
    secrets.subscribe(move |c| match (&c.new, account(c.row())) {
        (Some(_), _) => q.add(format!("secret|{}", c.key())),
        (None, Some((account, _))) => q.add(format!("gone|{}/{account}/{}", c.row().namespace(), c.row().name())),
        (None, None) => {}
    });
    let (q, all) = (queue.clone(), secrets.clone());
    accounts.subscribe(move |c| all.indexed(BY_ACCOUNT, c.key()).iter().for_each(|r| q.add(format!("secret|{}", r.key))));
    (queue, Arc::new(Tokens { deps, secrets, accounts }))
}

#[async_trait]
impl Reconcile for Tokens {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        match key.split_once('|') {
            Some(("secret", k)) => self.secret(k).await.at("fill token secret", k)?,
            Some(("gone", k)) => self.gone(k).await.at("take secret from service account", k)?,
            _ => {}
        }
        Ok(Action::Done)
    }
}

impl Tokens {
    async fn secret(&self, key: &str) -> Result<(), Status> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.secrets.row(namespace, name).filter(|r| !r.deleting) else { return Ok(()) };
        let Some((account, uid)) = account(&row) else { return Ok(()) };
        let Some(found) = self.account(namespace, &account, &uid).await? else {
            let options = DeleteOptions::default().uid(row.uid.as_str());
            return settled(self.deps.client.delete::<Secret>(namespace, name, &options).await);
        };
        let mut secret: Secret = row.decode()?;
        let uid = found.metadata.uid.unwrap_or_default();
        let data = secret.data.get_or_insert_default();
        let token = || self.deps.settings.tokens.token(namespace, &account, &uid, name).map_err(Status::internal);
        if !fill(data, &self.deps.settings.root_ca, namespace, token)? {
            return Ok(());
        }
        secret.metadata.annotations.get_or_insert_default().extend([(ACCOUNT.to_owned(), account), (ACCOUNT_UID.to_owned(), uid)]);
        settled(self.deps.client.update(&secret).await.map(drop))
    }
    /// The account of that name, and uid if one is given; looked up anew before it counts as gone.
    async fn account(&self, namespace: &str, name: &str, uid: &str) -> Result<Option<ServiceAccount>, Status> {
        let right = |a: &ServiceAccount| uid.is_empty() || a.metadata.uid.as_deref() == Some(uid);
        match self.accounts.get(namespace, name).filter(right) {
            Some(a) => Ok(Some(a)),
            None => Ok(self.deps.client.find::<ServiceAccount>(namespace, name).await?.filter(right)),
        }
    }
    async fn gone(&self, key: &str) -> Result<(), Status> {
        let mut parts = key.splitn(3, '/');
        let (Some(namespace), Some(name), Some(secret)) = (parts.next(), parts.next(), parts.next()) else { return Ok(()) };
        let Some(mut account) = self.accounts.get(namespace, name) else { return Ok(()) };
        let named = |account: &ServiceAccount| account.secrets.iter().flatten().any(|s| s.name.as_deref() == Some(secret));
        if !named(&account) || self.secrets.row(namespace, secret).is_some() {
            return Ok(());
        }
        account.secrets.iter_mut().for_each(|all| all.retain(|s| s.name.as_deref() != Some(secret)));
        match self.deps.client.update(&account).await {
            Err(e) if !e.is(Reason::NotFound) => Err(e),
            _ => Ok(()),
        }
    }
}

/// Who changed or removed it meanwhile wakes this again.
fn settled(done: Result<(), Status>) -> Result<(), Status> {
    done.or_else(|e| if e.is(Reason::Conflict) || e.is(Reason::NotFound) { Ok(()) } else { Err(e) })
}

/// Adds what is missing; false when nothing is.
fn fill(data: &mut BTreeMap<String, ByteString>, root_ca: &str, namespace: &str, token: impl FnOnce() -> Result<String, Status>) -> Result<bool, Status> {
    let lacks = |data: &BTreeMap<String, ByteString>, k: &str| data.get(k).is_none_or(|v| v.0.is_empty());
    let mut changed = false;
    let mut put = |data: &mut BTreeMap<String, ByteString>, k: &str, v: String| {
        data.insert(k.to_owned(), ByteString(v.into_bytes()));
        changed = true;
    };
    if data.get("ca.crt").is_none_or(|v| v.0 != root_ca.as_bytes()) {
        put(data, "ca.crt", root_ca.to_owned());
    }
    if lacks(data, "namespace") {
        put(data, "namespace", namespace.to_owned());
    }
    if lacks(data, "token") {
        put(data, "token", token()?);
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_there_stays() {
        let mut data = BTreeMap::from([("namespace".to_owned(), ByteString(b"other".to_vec()))]);
        assert!(fill(&mut data, "ca", "ns", || Ok("t".into())).unwrap());
        assert_eq!((&*data["ca.crt"].0, &*data["namespace"].0, &*data["token"].0), (&b"ca"[..], &b"other"[..], &b"t"[..]));
        assert!(!fill(&mut data, "ca", "ns", || Err(Status::internal("no second token"))).unwrap());
    }
}
