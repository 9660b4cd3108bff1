//! Admin access to devices, which the label of a namespace allows (KEP-5018).
//!
//! Whether a namespace has the label is not in the object, so this stands beside the pipeline and not with the rules.
use crate::{
    registry::{Context, Registry},
    table::Role,
    value,
};
use skiff_json::Value;
use skiff_meta::Cause;

const LABEL: &str = "resource.kubernetes.io/admin-access";

impl Registry {
    /// The first request or result with admin access in a namespace that does not allow it.
    pub(super) fn admin_access(&self, ctx: &Context<'_>, v: &Value, old: Option<&Value>, role: Option<Role>) -> Option<Cause> {
        if &*ctx.row.group != "resource.k8s.io" {
            return None;
        }
        let field = asked(&ctx.row.kind, v, old, role)?;
        let allowed = self.store.get(&format!("namespaces//{}", ctx.namespace())).is_some_and(|e| e.row.label(LABEL) == Some("true"));
        (!allowed).then(|| Cause {
            reason: "FieldValueForbidden".into(),
            message: format!("Forbidden: admin access to devices requires the `{LABEL}: true` label on the containing namespace"),
            field,
        })
    }
}

/// Where admin access is asked for that was not granted before; upstream names requests of templates as a claim's.
fn asked(kind: &str, v: &Value, old: Option<&Value>, role: Option<Role>) -> Option<String> {
    let first = |v: &Value, list: &str, flag: &str| value::list(v, list).iter().position(|r| value::flag(r, flag));
    let results = "status.allocation.devices.results";
    match (kind, role) {
        ("ResourceClaim", Some(Role::Status)) if old.is_some_and(|o| first(o, results, "adminAccess").is_some()) => None,
        ("ResourceClaim", Some(Role::Status)) => first(v, results, "adminAccess").map(|i| format!("{results}[{i}].adminAccess")),
        ("ResourceClaim", None) if old.is_none() => {
            first(v, "spec.devices.requests", "exactly.adminAccess").map(|i| format!("spec.devices.requests[{i}].adminAccess"))
        }
        ("ResourceClaimTemplate", None) if old.is_none() => {
            first(v, "spec.spec.devices.requests", "exactly.adminAccess").map(|i| format!("spec.devices.requests[{i}].adminAccess"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn where_it_is_asked_for() {
        let claim = json!({"spec": {"devices": {"requests": [{"exactly": {}}, {"exactly": {"adminAccess": true}}]}}});
        let granted = json!({"status": {"allocation": {"devices": {"results": [{"adminAccess": true}]}}}});
        for (kind, v, old, role, want) in [
            ("ResourceClaim", &claim, None, None, Some("spec.devices.requests[1].adminAccess")),
            ("ResourceClaimTemplate", &json!({"spec": claim["spec"]}), None, None, None),
            ("ResourceClaimTemplate", &json!({"spec": claim}), None, None, Some("spec.devices.requests[1].adminAccess")),
            ("ResourceClaim", &granted, Some(&claim), Some(Role::Status), Some("status.allocation.devices.results[0].adminAccess")),
            ("ResourceClaim", &granted, Some(&granted), Some(Role::Status), None),
        ] {
            assert_eq!(asked(kind, v, old, role).as_deref(), want, "{kind} {v}");
        }
    }
}
