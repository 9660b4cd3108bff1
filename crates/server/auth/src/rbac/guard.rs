//! Nobody grants what they do not hold: checks of writes to roles and bindings, as an admission plug-in.
//!
//! Free are `system:masters`, who may `escalate` the role, and who may `bind` the role.
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>
use super::{Rbac, RoleRef, Rule};
use serde::Deserialize;
use skiff_json::Value;
use skiff_meta::{GroupResource, GroupVersionResource, Status};
use skiff_policy::{Action, Admission, Attributes, Authorizer, Decision};
use skiff_request::{Target, User, Verb};
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The plug-in. `authorizer` is the whole chain, which is asked for `escalate` and `bind`.
pub struct Guard {
    rbac: Arc<Rbac>,
    authorizer: Arc<dyn Authorizer>,
}

impl Guard {
    pub fn new(rbac: Arc<Rbac>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rbac, authorizer }
    }

    async fn may(&self, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let target = Target::new(GroupVersionResource::new(GROUP, "*", resource.to_owned()), namespace, name);
        self.authorizer.authorize(user, &Action::resource(verb, target)).await == Decision::Allow
    }

    async fn role(&self, user: &User, target: &Target, new: &Value) -> Result<(), Status> {
        if self.may(user, "escalate", &target.resource.resource, &target.namespace, &target.name).await {
            return Ok(());
        }
        let name = name_of(target, new);
        let refuse = |why: &str| Status::forbidden(&target.group_resource(), name, why);
        let wanted: Vec<Rule> = part(new, "rules").map_err(|e| refuse(&e))?.unwrap_or_default();
        self.rbac.escalation_check(user, &target.namespace, &wanted).map_err(|why| refuse(&why))?;
        if present(new, "aggregationRule").is_some() {
            let all = |set: &str| vec![set.to_owned()];
            let everything = [
                Rule { verbs: all("*"), api_groups: all("*"), resources: all("*"), ..Rule::default() },
                Rule { verbs: all("*"), non_resource_urls: all("*"), ..Rule::default() },
            ];
            let held = self.rbac.escalation_check(user, &target.namespace, &everything);
            held.map_err(|_| refuse("must have cluster-admin privileges to use the aggregationRule"))?;
        }
        Ok(())
    }

    async fn binding(&self, user: &User, target: &Target, new: &Value) -> Result<(), Status> {
        let name = name_of(target, new);
        let refuse = |why: &str| Status::forbidden(&target.group_resource(), name, why);
        let role: RoleRef = part(new, "roleRef").map_err(|e| refuse(&e))?.unwrap_or_default();
        let resource = if role.kind == "Role" { "roles" } else { "clusterroles" };
        if self.may(user, "bind", resource, &target.namespace, &role.name).await {
            return Ok(());
        }
        let Some(wanted) = self.rbac.role(&role, &target.namespace) else {
            return Err(Status::not_found(&GroupResource::new(GROUP, resource), &role.name));
        };
        self.rbac.escalation_check(user, &target.namespace, &wanted).map_err(|why| refuse(&why))
    }
}

/// Whether only what garbage collection writes differs. Anything else counts, labels too: they can aggregate a role.
fn only_collection_changes(old: &Value, new: &Value) -> bool {
    let bare = |v: &Value| {
        let mut v = v.clone();
        if let Some(metadata) = v.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !matches!(field.as_str(), "ownerReferences" | "finalizers" | "managedFields" | "resourceVersion"));
        }
        v
    };
    bare(old) == bare(new)
}

/// A field, unless it is null or an empty list.
fn present<'a>(v: &'a Value, field: &str) -> Option<&'a Value> {
    v.get(field).filter(|v| !v.is_null() && !v.as_array().is_some_and(Vec::is_empty))
}

fn part<T: for<'de> Deserialize<'de>>(v: &Value, field: &str) -> Result<Option<T>, String> {
    present(v, field).map(|f| T::deserialize(f).map_err(|e| format!("{field}: {e}"))).transpose()
}

fn name_of<'a>(target: &'a Target, new: &'a Value) -> &'a str {
    match target.name.as_str() {
        "" => new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default(),
        name => name,
    }
}

#[async_trait::async_trait]
impl Admission for Guard {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(new) = a.object.as_deref() else { return Ok(()) };
        let writes = matches!(a.verb, Verb::Create | Verb::Update | Verb::Patch);
        if a.target.resource.group != GROUP || !writes {
            return Ok(());
        }
        if a.user.in_group(User::MASTERS) || a.old.is_some_and(|old| only_collection_changes(old, new)) {
            return Ok(());
        }
        match a.target.resource.resource.as_ref() {
            "roles" | "clusterroles" => self.role(a.user, a.target, new).await,
            "rolebindings" | "clusterrolebindings" => self.binding(a.user, a.target, new).await,
            _ => Ok(()),
        }
    }
}
