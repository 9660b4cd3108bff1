//! Connections into the cluster: logs, exec, attach and port-forward of pods, proxies of pods, services and nodes.
//!
//! The server authorises, finds the backend and pipes bytes; it reads neither SPDY nor web sockets. Kubelets are reached
//! over TLS with the server's own client certificate.

mod backend;
mod links;
mod log_options;
mod pipe;
mod pods;
mod proxy;

pub use backend::KubeletTls;
pub(crate) use backend::{Backend, anyone, kubelet};
pub(crate) use pipe::{fetch, forward, text};

use crate::answer::Reply;
use http::{Response, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use skiff_json::Value;
use skiff_meta::{Reason, Status};
use skiff_policy::Lookup;
use skiff_registry::Registry;
use skiff_request::{Notes, Query, Target, User};
use std::sync::Arc;

/// A request for a connection.
pub(crate) struct Connect<'a> {
    pub registry: &'a Registry,
    pub kubelets: Option<&'a KubeletTls>,
    pub parts: &'a Parts,
    pub target: &'a Target,
    /// What follows `…/proxy`, with its slash.
    pub rest: &'a str,
    pub query: &'a Query,
    pub user: &'a Arc<User>,
    /// Where annotations of the audit record go.
    pub notes: Option<&'a Notes>,
}

impl Connect<'_> {
    pub async fn serve(&self, body: Incoming, upgrade: Option<OnUpgrade>) -> Result<Response<Reply>, Status> {
        self.authorize().await?;
        self.admit().await?;
        let (kind, sub) = (&*self.target.resource.resource, self.target.subresource.as_str());
        let (backend, path) = match (kind, sub) {
            ("pods", "log") => match pods::log(self)? {
                Some(found) => found,
                None => return Ok(pipe::empty()),
            },
            ("pods", "exec") => pods::streams(self, "exec")?,
            ("pods", "attach") => pods::streams(self, "attach")?,
            ("pods", "portforward") => pods::port_forward(self)?,
            ("pods" | "services" | "nodes", "proxy") => {
                if let Some(redirect) = proxy::with_slash(self) {
                    return Ok(redirect);
                }
                proxy::backend(self)?
            }
            _ => return Err(Status::method_not_allowed(&self.target.group_resource(), self.parts.method.as_str())),
        };
        let answer = forward(self.parts, &proxy::forwarded(self), &backend, &path, body, upgrade).await?;
        match sub {
            "log" => pipe::checked(answer).await,
            "proxy" => proxy::rewritten(self, &backend, answer).await,
            _ => Ok(answer),
        }
    }

    /// By method; streams that a GET opens need `create`, too.
    async fn authorize(&self) -> Result<(), Status> {
        let verb = match self.parts.method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "get",
        };
        self.registry.authorize_noted(self.user, verb, self.target, self.notes).await?;
        if verb == "get" && matches!(self.target.subresource.as_str(), "exec" | "attach" | "portforward") {
            self.registry.authorize_noted(self.user, "create", self.target, self.notes).await?;
        }
        Ok(())
    }

    /// Admission sees what a connection is asked for as an object. Reading logs is no connection.
    async fn admit(&self) -> Result<(), Status> {
        let options = match self.target.subresource.as_str() {
            "exec" | "attach" => pods::stream_options(self),
            "portforward" => pods::port_options(self),
            "proxy" => skiff_json::json!({"path": self.rest}),
            _ => return Ok(()),
        };
        self.registry.admit_connection(self.user, self.target, options, self.notes).await.map(|_| ())
    }

    fn object(&self, resource: &'static str, namespace: &str, name: &str) -> Result<Value, Status> {
        let missing = || Status::not_found(&skiff_meta::GroupResource::new("", resource), name);
        let bytes = Lookup::get(self.registry, resource, namespace, name).ok_or_else(missing)?;
        skiff_json::from_slice(&bytes).map_err(Status::internal)
    }

    /// The kubelet of a node.
    fn kubelet(&self, node: &str) -> Result<Backend, Status> {
        let v = self.object("nodes", "", node)?;
        let tls = self.kubelets.ok_or_else(|| Status::new(Reason::ServiceUnavailable, "this server has no way to kubelets"))?;
        backend::kubelet(&v, node, tls)
    }
}
