//! PodSecurity: namespaces hold their pods to the Pod Security Standards (KEP-2579).
//!
//! Labels of the namespace choose a standard to enforce (on pods), to warn of and to audit (on pods and templates).
//! The findings are pure functions of a pod.

mod baseline;
mod evaluations;
mod existing;
mod level;
mod restricted;
mod standard;
mod subject;

use crate::{
    request::{Operation, about, all, forbidden, operation, stored_labels},
    value,
};
use async_trait::async_trait;
use evaluations::{Evaluations, Mode, Request};
use level::{Level, Policy, policy_of};
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};
use skiff_telemetry::metrics::Exposition;
use subject::Subject;

#[derive(Default)]
pub struct PodSecurity {
    evaluations: Evaluations,
}

/// Where annotations of audit records begin.
const AUDIT: &str = "pod-security.kubernetes.io/";
/// Subresources that leave the spec alone.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// Where the kinds have their pod template.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "template"),
    ("", "replicationcontrollers", "spec.template"),
    ("apps", "replicasets", "spec.template"),
    ("apps", "deployments", "spec.template"),
    ("apps", "daemonsets", "spec.template"),
    ("apps", "statefulsets", "spec.template"),
    ("batch", "jobs", "spec.template"),
    ("batch", "cronjobs", "spec.jobTemplate.spec.template"),
];

#[async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }
    fn metrics(&self, out: &mut Exposition) {
        self.evaluations.write(out);
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if operation(a) == Operation::Delete {
            return Ok(());
        }
        if about(a, "", "namespaces") {
            return namespace(a);
        }
        if about(a, "", "pods") {
            return if IGNORED.contains(&a.target.subresource.as_str()) { Ok(()) } else { pod(a, &self.evaluations) };
        }
        if let Some((_, _, path)) = TEMPLATES.iter().find(|(group, resource, _)| about(a, group, resource)).filter(|_| a.target.subresource.is_empty()) {
            template(a, path, &self.evaluations);
        }
        Ok(())
    }
}

fn policy(v: &Value) -> (Policy, Vec<skiff_meta::Cause>) {
    policy_of(value::map(v, "metadata.labels"))
}

/// Labels must be right when they are set, and pods that break a stricter standard are told of.
fn namespace(a: &mut Attributes<'_>) -> Result<(), Status> {
    let Some(new) = a.object.as_deref().filter(|_| a.target.subresource.is_empty()) else { return Ok(()) };
    let name = value::text(new, "metadata.name");
    let (policy, causes) = policy(new);
    let before = a.old.map(self::policy);
    if !causes.is_empty() && before.as_ref().is_none_or(|(_, old)| *old != causes) {
        return Err(Status::invalid("", "Namespace", name, causes));
    }
    let Some((old, _)) = before else { return Ok(()) };
    let (enforce, old) = (policy.enforce, old.enforce);
    let relaxed = enforce.version == old.version && enforce.level <= old.level;
    if enforce == old || enforce.level == Level::Privileged || relaxed {
        return Ok(());
    }
    let warnings = existing::warnings(name, enforce, &all(a, "pods", name));
    a.warnings.extend(warnings);
    Ok(())
}

fn pod(a: &mut Attributes<'_>, counts: &Evaluations) -> Result<(), Status> {
    let Some(namespace) = stored_labels(a, "namespaces", "", &a.target.namespace) else {
        return Err(Status::internal(format!("failed to lookup namespace {:?}", a.target.namespace)));
    };
    let (policy, _) = policy(&namespace);
    let Some(pod) = a.object.as_deref() else { return Ok(()) };
    if operation(a) == Operation::Update && a.old.is_some_and(|old| !significant(pod, old)) {
        return Ok(());
    }
    let found = standard::findings(policy.enforce, Subject(pod));
    let request = request(a, true);
    counts.count(!found.is_empty(), Mode::Enforce, policy.enforce, request);
    let violations = violations(&policy, Subject(pod));
    if violations.is_some() {
        counts.count(true, Mode::Audit, policy.audit, request);
    }
    a.audit.insert(format!("{AUDIT}enforce-policy"), policy.enforce.to_string());
    a.audit.extend(violations);
    if !found.is_empty() {
        return Err(forbidden(a, format!("violates PodSecurity \"{}\": {}", policy.enforce, standard::detail(&found))));
    }
    let warning = warning(&policy, Subject(pod));
    if warning.is_some() {
        counts.count(true, Mode::Warn, policy.warn, request);
    }
    a.warnings.extend(warning);
    Ok(())
}

fn request(a: &Attributes<'_>, pod: bool) -> Request {
    let subresource = ["ephemeralcontainers", "resize"].into_iter().find(|s| *s == a.target.subresource).unwrap_or_default();
    Request { creates: operation(a) == Operation::Create, pod, subresource }
}

fn template(a: &mut Attributes<'_>, path: &str, counts: &Evaluations) {
    let Some(template) = a.object.as_deref().and_then(|v| value::at(v, path)) else { return };
    let Some(namespace) = stored_labels(a, "namespaces", "", &a.target.namespace) else { return };
    let policy = policy(&namespace).0;
    let (warning, violations) = (warning(&policy, Subject(template)), violations(&policy, Subject(template)));
    let request = request(a, false);
    for (mode, standard, _) in [(Mode::Audit, policy.audit, violations.is_some()), (Mode::Warn, policy.warn, warning.is_some())].iter().filter(|m| m.2) {
        counts.count(true, *mode, *standard, request);
    }
    a.warnings.extend(warning);
    a.audit.extend(violations);
}

/// What the audit record says of a pod that breaks the standard that is only audited.
fn violations(policy: &Policy, s: Subject<'_>) -> Option<(String, String)> {
    let found = standard::findings(policy.audit, s);
    (!found.is_empty()).then(|| (format!("{AUDIT}audit-violations"), format!("would violate PodSecurity \"{}\": {}", policy.audit, standard::detail(&found))))
}

fn warning(policy: &Policy, s: Subject<'_>) -> Option<String> {
    let found = standard::findings(policy.warn, s);
    (!found.is_empty()).then(|| format!("would violate PodSecurity \"{}\": {}", policy.warn, standard::detail(&found)))
}

/// Whether an update could change what the checks say: another image, or another container.
fn significant(pod: &Value, old: &Value) -> bool {
    let fixed = ["spec.containers", "spec.initContainers"].iter().any(|path| {
        let (new, old) = (value::list(pod, path), value::list(old, path));
        new.len() != old.len() || new.iter().zip(old).any(|(n, o)| value::text(n, "image") != value::text(o, "image"))
    });
    let before = value::list(old, "spec.ephemeralContainers");
    fixed
        || value::list(pod, "spec.ephemeralContainers").iter().any(|n| {
            let same = before.iter().find(|o| value::text(o, "name") == value::text(n, "name"));
            same.is_none_or(|o| value::text(o, "image") != value::text(n, "image"))
        })
}

#[cfg(test)]
mod tests;
