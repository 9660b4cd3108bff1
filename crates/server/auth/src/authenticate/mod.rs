//! Who is it? Each module recognises one kind of credentials; [`Union`] asks them in order.
mod anonymous;
mod bootstrap_token;
mod certificate;
mod front_proxy;
mod impersonation;

pub use anonymous::anonymous;
pub use bootstrap_token::BootstrapTokens;
pub use certificate::Certificates;
pub use front_proxy::FrontProxy;
pub use impersonation::{Impersonator, impersonate};

use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;
use std::sync::Arc;

/// Why credentials are bad. Clients see 401 and no more; the log and TokenReview tell it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        tracing::info!(target: "auth", why = %refusal, "credentials were refused");
        Status::unauthorized("")
    }
}

/// Asks each in order. The first that recognises somebody wins, even when one before it found its credentials bad; a
/// bearer token that nobody knows is bad. Whoever is recognised is in `system:authenticated`.
pub struct Union(pub Vec<Arc<dyn Authenticator>>);

#[async_trait::async_trait]
impl Authenticator for Union {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let mut refused = None;
        for each in &self.0 {
            match each.authenticate(credentials).await {
                Ok(Some(user)) => return Ok(Some(recognised(user))),
                Ok(None) => {}
                Err(status) => refused = Some(status),
            }
        }
        match refused {
            Some(status) => Err(status),
            None if credentials.bearer.is_some() => Err(Refusal("invalid bearer token".into()).into()),
            None => Ok(None),
        }
    }
}

/// Adds the group of all who were recognised.
fn recognised(mut user: User) -> User {
    if user.name != User::ANONYMOUS && !user.in_group(User::AUTHENTICATED) && !user.in_group(User::UNAUTHENTICATED) {
        user.groups.push(User::AUTHENTICATED.into());
    }
    user
}
