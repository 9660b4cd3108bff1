//! Client certificates: the common name is the user, the organisations are the groups.
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;

/// Believes [`Credentials::certificate`], whose chain the TLS layer verified against the client CA.
pub struct Certificates;

#[async_trait::async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let named = credentials.certificate.as_ref().filter(|(name, _)| !name.is_empty());
        Ok(named.map(|(name, organisations)| User::new(name.clone(), organisations.iter().cloned())))
    }
}
