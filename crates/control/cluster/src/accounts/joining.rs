//! Tokens by which machines join (secrets of type `bootstrap.kubernetes.io/token`) go when they have expired.
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-management>
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use skiff_client::{DeleteOptions, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Informer, Selection};
use skiff_meta::Reason;
use std::sync::Arc;
use std::time::Duration;

const NAMESPACE: &str = "kube-system";

struct Cleaner {
    deps: Deps,
    tokens: Arc<Informer>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let tokens = deps.informers.raw(Selection::of(resource_of::<Secret>()).namespace(NAMESPACE).fields("type=bootstrap.kubernetes.io/token"));
    let queue = Queue::new();
    let q = queue.clone();
    tokens.subscribe(move |c| {
        if c.new.is_some() {
            q.add(c.row().name());
        }
    });
    (queue, Arc::new(Cleaner { deps, tokens }))
}

/// How long the token still holds; None for ever. One whose end cannot be read is not taken by the API server either, and is kept for
/// somebody to mend.
fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let text = String::from_utf8_lossy(&secret.data.as_ref()?.get("expiration")?.0).into_owned();
    let end: Timestamp = text.parse().ok()?;
    Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[async_trait]
impl Reconcile for Cleaner {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(row) = self.tokens.row(NAMESPACE, name).filter(|r| !r.deleting) else { return Ok(Action::Done) };
        let secret: Secret = row.decode().at("read token", name)?;
        let now = Timestamp::from_microsecond(self.deps.clock.now().0).unwrap_or_default();
        match left(&secret, now) {
            None => Ok(Action::Done),
            Some(left) if !left.is_zero() => Ok(Action::RequeueAfter(left)),
            Some(_) => match self.deps.client.delete::<Secret>(NAMESPACE, name, &DeleteOptions::default().uid(row.uid.as_str())).await {
                Err(e) if !e.is(Reason::NotFound) && !e.is(Reason::Conflict) => Err(e).at("delete expired token", name),
                _ => Ok(Action::Done),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn until_it_is_over() {
        let of = |end: &str| Secret { data: Some([("expiration".to_owned(), ByteString(end.into()))].into()), ..Secret::default() };
        let now = Timestamp::from_second(60).unwrap();
        assert_eq!(left(&of("1970-01-01T00:01:30Z"), now), Some(Duration::from_secs(30)));
        assert_eq!(left(&of("1970-01-01T01:00:30+01:00"), now), Some(Duration::ZERO));
        assert_eq!(left(&of("soon"), now), None);
        assert_eq!(left(&Secret::default(), now), None);
    }
}
