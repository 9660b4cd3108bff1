//! NamespaceLifecycle: nothing is made in a namespace that is absent or going, and three namespaces never go.
use crate::request::{Operation, about, forbidden, operation};
use async_trait::async_trait;
use skiff_meta::{Cause, GroupResource, Status};
use skiff_policy::{Admission, Attributes};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle;

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        check(a)
    }
    /// Deletions are only shown to validation, and a namespace may have begun to go since mutation.
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        check(a)
    }
}

fn check(a: &Attributes<'_>) -> Result<(), Status> {
    let itself = about(a, "", "namespaces");
    if itself {
        let immortal = operation(a) == Operation::Delete && a.target.subresource.is_empty() && IMMORTAL.contains(&a.target.name.as_str());
        return if immortal { Err(forbidden(a, "this namespace may not be deleted")) } else { Ok(()) };
    }
    let name = a.target.namespace.as_str();
    if name.is_empty() || operation(a) != Operation::Create || reviews_access(a) {
        return Ok(());
    }
    let namespaces = GroupResource::new("", "namespaces");
    let namespace = a.lookup.get("namespaces", "", name).ok_or_else(|| Status::not_found(&namespaces, name))?;
    // Every write asks, so no more of it is read than this.
    if skiff_codec::text_at(&namespace, &["status", "phase"]) != Some("Terminating") {
        return Ok(());
    }
    let mut refusal = forbidden(a, format!("unable to create new content in namespace {name} because it is being terminated"));
    if let Some(d) = &mut refusal.details {
        d.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    Err(refusal)
}

/// An answer about the namespace would tell more than the review should.
fn reviews_access(a: &Attributes<'_>) -> bool {
    about(a, "authorization.k8s.io", "localsubjectaccessreviews")
}
