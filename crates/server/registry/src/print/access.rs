//! RBAC, certificates, admission, flow control, extension of the API.
use super::{Columns, cells::*};
use crate::value::{at, int, list, text};
use skiff_json::Value;

pub fn role() -> Columns {
    Columns::name_and_creation()
}

pub fn role_binding() -> Columns {
    Columns::of("Name|Role|Age|Users*|Groups*|ServiceAccounts*", |v, now| {
        let of = |kind: &str| list(v, "subjects").iter().filter(|s| s["kind"] == kind).map(|s| text(s, "name").to_owned()).collect::<Vec<_>>().join(", ");
        let accounts: Vec<String> =
            list(v, "subjects").iter().filter(|s| s["kind"] == "ServiceAccount").map(|s| format!("{}/{}", text(s, "namespace"), text(s, "name"))).collect();
        vec![
            name(v),
            format!("{}/{}", text(v, "roleRef.kind"), text(v, "roleRef.name")).into(),
            age(v, now).into(),
            of("User").into(),
            of("Group").into(),
            accounts.join(", ").into(),
        ]
    })
}

pub fn certificate_signing_request() -> Columns {
    Columns::of("Name|Age|SignerName|Requestor|RequestedDuration|Condition", |v, now| {
        let duration = at(v, "spec.expirationSeconds").and_then(Value::as_i64).map_or_else(|| "<none>".to_owned(), human);
        let has = |kind| condition(v, kind).is_some();
        let mut state = if has("Denied") {
            "Denied"
        } else if has("Approved") {
            "Approved"
        } else {
            "Pending"
        }
        .to_owned();
        if has("Failed") {
            state += ",Failed";
        }
        if !text(v, "status.certificate").is_empty() {
            state += ",Issued";
        }
        vec![name(v), age(v, now).into(), text_or(v, "spec.signerName", "<none>").into(), text(v, "spec.username").into(), duration.into(), state.into()]
    })
}

pub fn cluster_trust_bundle() -> Columns {
    Columns::of("Name|SignerName", |v, _| vec![name(v), text_or(v, "spec.signerName", "<none>").into()])
}

pub fn pod_certificate_request() -> Columns {
    Columns::of("Name|PodName|ServiceAccountName|NodeName|SignerName|State|UnverifiedUserAnnotations", |v, _| {
        let state = ["Issued", "Denied", "Failed"].into_iter().find(|c| condition(v, c).is_some()).unwrap_or("Pending");
        let mut cells = vec![name(v)];
        cells.extend(["podName", "serviceAccountName", "nodeName", "signerName"].map(|k| Value::from(text(&v["spec"], k))));
        cells.extend([state.into(), labels(v, "spec.unverifiedUserAnnotations").into()]);
        cells
    })
}

pub fn webhooks() -> Columns {
    Columns::of("Name|Webhooks#|Age", |v, now| vec![name(v), list(v, "webhooks").len().into(), age(v, now).into()])
}

fn param_kind(v: &Value) -> String {
    at(v, "spec.paramKind").map_or_else(|| "<unset>".to_owned(), |p| format!("{}/{}", text(p, "apiVersion"), text(p, "kind")))
}
pub fn validating_policy() -> Columns {
    Columns::of("Name|Validations#|ParamKind|Age", |v, now| vec![name(v), list(v, "spec.validations").len().into(), param_kind(v).into(), age(v, now).into()])
}
pub fn mutating_policy() -> Columns {
    Columns::of("Name|Mutations#|ParamKind|Age", |v, now| vec![name(v), list(v, "spec.mutations").len().into(), param_kind(v).into(), age(v, now).into()])
}
pub fn policy_binding() -> Columns {
    Columns::of("Name|PolicyName|ParamRef|Age", |v, now| {
        let param = match at(v, "spec.paramRef") {
            Some(p) if !text(p, "name").is_empty() => format!("{}/{}", text_or(p, "namespace", "*"), text(p, "name")),
            Some(p) if p.get("selector").is_some() => selector(p, "selector"),
            _ => "<unset>".into(),
        };
        vec![name(v), text(v, "spec.policyName").into(), param.into(), age(v, now).into()]
    })
}

pub fn custom_resource_definition() -> Columns {
    Columns::of("Name|Scope|Versions|Created At@|Group*|Kind*|ShortNames*|Established?*", |v, _| {
        let stored = |x: &Value| if x["storage"] == true { "(storage)" } else { "" };
        let mut served: Vec<String> =
            list(v, "spec.versions").iter().filter(|x| x["served"] == true).map(|x| format!("{}{}", text(x, "name"), stored(x))).collect();
        served.sort_unstable();
        let short: Vec<&str> = list(v, "spec.names.shortNames").iter().filter_map(Value::as_str).collect();
        let established = condition(v, "Established").is_some_and(|c| c["status"] == "True");
        vec![
            name(v),
            text(v, "spec.scope").into(),
            served.join(",").into(),
            v["metadata"]["creationTimestamp"].clone(),
            text(v, "spec.group").into(),
            text(v, "spec.names.kind").into(),
            short.join(",").into(),
            established.into(),
        ]
    })
}

pub fn api_service() -> Columns {
    Columns::of("Name|Service|Available|Age", |v, now| {
        let service = at(v, "spec.service").map_or_else(|| "Local".to_owned(), |s| format!("{}/{}", text(s, "namespace"), text(s, "name")));
        let available = match condition(v, "Available") {
            None => "Unknown".to_owned(),
            Some(c) if c["status"] == "True" || text(c, "reason").is_empty() => text(c, "status").to_owned(),
            Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
        };
        vec![name(v), service.into(), available.into(), age(v, now).into()]
    })
    .defined_always()
}

pub fn priority_class() -> Columns {
    Columns::of("Name|Value#|Global-Default?|Age|PreemptionPolicy", |v, now| {
        vec![name(v), int(v, "value").into(), crate::value::flag(v, "globalDefault").into(), age(v, now).into(), text(v, "preemptionPolicy").into()]
    })
}

pub fn flow_schema() -> Columns {
    Columns::of("Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL", |v, now| {
        let missing = condition(v, "Dangling").map_or("?", |c| text(c, "status"));
        vec![
            name(v),
            text(v, "spec.priorityLevelConfiguration.name").into(),
            int(v, "spec.matchingPrecedence").into(),
            text_or(v, "spec.distinguisherMethod.type", "<none>").into(),
            age(v, now).into(),
            missing.into(),
        ]
    })
    .ordered(|v| int(v, "spec.matchingPrecedence"))
}

pub fn priority_level() -> Columns {
    Columns::of("Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age", |v, now| {
        let of = |path| at(v, path).cloned().unwrap_or_else(|| "<none>".into());
        let queuing = "spec.limited.limitResponse.queuing";
        vec![
            name(v),
            text(v, "spec.type").into(),
            of("spec.limited.nominalConcurrencyShares"),
            of(&format!("{queuing}.queues")),
            of(&format!("{queuing}.handSize")),
            of(&format!("{queuing}.queueLengthLimit")),
            age(v, now).into(),
        ]
    })
}
