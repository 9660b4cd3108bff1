//! Client certificates: the common name is the user, the organisations are the groups.
use skiff_meta::Status;
use skiff_policy::{Authenticator, Credentials};
use skiff_request::User;

/// Believes [`Credentials::certificate`], whose chain the TLS layer verified against the client CA.
pub struct Certificates;

/// By which audit logs and `kubectl auth whoami` tell credentials of one user apart.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

#[async_trait::async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<User>, Status> {
        let named = credentials.certificate.as_ref().filter(|(name, _)| !name.is_empty());
        Ok(named.map(|(name, organisations)| {
            let mut user = User::new(name.clone(), organisations.iter().cloned());
            if let Some(id) = &credentials.credential {
                user.extra.insert(CREDENTIAL_ID.into(), vec![id.clone()]);
            }
            user
        }))
    }
}
