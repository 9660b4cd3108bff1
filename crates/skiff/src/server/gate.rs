//! Who may use a node agent's server: the API server's own authenticators and authoriser.
use skiff_kubelet::{Access, Gate, Peer};
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::{Action, Authenticator, Authorizer, Credentials, Decision};
use skiff_request::Target;
use std::sync::Arc;

pub struct NodeGate {
    pub node: String,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
}

#[async_trait::async_trait]
impl Gate for NodeGate {
    async fn allow(&self, peer: &Peer, access: &Access) -> Result<(), Status> {
        let certificate = peer.certificates.first().and_then(|c| crate::node::subject(c));
        let credentials = Credentials { certificate, bearer: peer.bearer.clone(), ..Credentials::default() };
        let user = self.authenticator.authenticate(&credentials).await?.ok_or_else(|| Status::unauthorized(""))?;
        let target = Target::new(GroupVersionResource::new("", "v1", "nodes"), "", &*self.node).sub(access.subresource.to_string());
        let action = Action::resource(access.verb, target);
        match self.authorizer.authorize(&user, &action).await {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => Err(skiff_auth::forbidden(&user, &action, &why)),
        }
    }
}
