//! Who may use this node agent's server: the API server is asked, by token and access reviews, as upstream's kubelet does.
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use parking_lot::Mutex;
use skiff_client::Client;
use skiff_kubelet::{Access, Gate, Peer};
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::Action;
use skiff_request::{Target, User};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an answer counts: yes, no, and who a token is.
const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
const KNOWN: Duration = Duration::from_secs(120);
/// More answers are not kept.
const MANY: usize = 1000;

pub struct Delegated {
    client: Client,
    node: String,
    users: Mutex<Answers<Option<User>>>,
    access: Mutex<Answers<Option<String>>>,
}

/// Answers until they are too old.
struct Answers<T>(BTreeMap<String, (T, Instant)>);

impl<T: Clone> Answers<T> {
    fn get(&self, key: &str, now: Instant) -> Option<T> {
        self.0.get(key).filter(|(_, until)| *until > now).map(|(v, _)| v.clone())
    }
    fn put(&mut self, key: String, value: T, now: Instant, until: Instant) {
        if self.0.len() >= MANY {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() < MANY {
            self.0.insert(key, (value, until));
        }
    }
}

impl Delegated {
    pub fn new(client: Client, node: String) -> Self {
        Self { client, node, users: Mutex::new(Answers(BTreeMap::new())), access: Mutex::new(Answers(BTreeMap::new())) }
    }

    async fn user(&self, peer: &Peer) -> Result<Option<User>, Status> {
        if let Some((name, groups)) = peer.certificates.first().and_then(|c| crate::node::subject(c)).filter(|(name, _)| !name.is_empty()) {
            return Ok(Some(User::new(name, groups.into_iter().chain([User::AUTHENTICATED.to_owned()]))));
        }
        let Some(token) = &peer.bearer else { return Ok(None) };
        let now = Instant::now();
        let key = skiff_pki::fingerprint(token.as_bytes());
        if let Some(known) = self.users.lock().get(&key, now) {
            return Ok(known);
        }
        let review = TokenReview { spec: TokenReviewSpec { token: token.clone(), audiences: None }, ..TokenReview::default() };
        let status = self.client.create(&review).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).map(user_of);
        self.users.lock().put(key, user.clone(), now, now + if user.is_some() { KNOWN } else { DENIED });
        Ok(user)
    }

    /// None when it may, else why not.
    async fn refusal(&self, user: &User, verb: &str, subresource: &str) -> Result<Option<String>, Status> {
        let now = Instant::now();
        let key = format!("{user:?} {verb} {subresource}");
        if let Some(known) = self.access.lock().get(&key, now) {
            return Ok(known);
        }
        let text = |s: &str| Some(s.to_owned());
        let attributes = ResourceAttributes {
            group: text(""),
            version: text("v1"),
            resource: text("nodes"),
            name: text(&self.node),
            subresource: text(subresource),
            verb: text(verb),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: text(&user.name),
            groups: Some(user.groups.iter().map(ToString::to_string).collect()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let status = self.client.create(&SubjectAccessReview { spec, ..SubjectAccessReview::default() }).await?.status.unwrap_or_default();
        let answer = if status.allowed { None } else { Some(status.reason.unwrap_or_default()) };
        self.access.lock().put(key, answer.clone(), now, now + if answer.is_none() { ALLOWED } else { DENIED });
        Ok(answer)
    }
}

fn user_of(u: UserInfo) -> User {
    User::new(u.username.unwrap_or_default(), u.groups.unwrap_or_default())
}

#[async_trait::async_trait]
impl Gate for Delegated {
    async fn allow(&self, peer: &Peer, access: &Access) -> Result<(), Status> {
        let user = self.user(peer).await?.ok_or_else(|| Status::unauthorized(""))?;
        match self.refusal(&user, access.verb, access.subresource).await? {
            None => Ok(()),
            Some(why) => {
                let target = Target::new(GroupVersionResource::new("", "v1", "nodes"), "", &*self.node).sub(access.subresource.to_string());
                Err(skiff_auth::forbidden(&user, &Action::resource(access.verb, target), &why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_grow_old() {
        let (mut answers, now) = (Answers(BTreeMap::new()), Instant::now());
        answers.put("a".into(), 1, now, now + DENIED);
        assert_eq!(answers.get("a", now), Some(1));
        assert_eq!(answers.get("a", now + DENIED), None);
        for i in 0..2 * MANY {
            answers.put(i.to_string(), 1, now, now + DENIED);
        }
        assert!(answers.0.len() <= MANY);
        answers.put("later".into(), 1, now + DENIED, now + DENIED + DENIED);
        assert_eq!(answers.0.len(), 1);
    }
}
