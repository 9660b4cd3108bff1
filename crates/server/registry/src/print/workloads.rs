//! Workloads.
use super::{Columns, cells::*};
use crate::value::{at, flag, int, list, text};
use skiff_json::Value;

fn replicas(v: &Value) -> String {
    format!("{}/{}", int(v, "status.readyReplicas"), int(v, "spec.replicas"))
}
/// A ReplicationController selects by a plain map.
fn plain_selector(v: &Value) -> String {
    labels(v, "spec.selector")
}

fn sets(pick: fn(&Value) -> String) -> Columns {
    Columns::of("Name|Desired#|Current#|Ready#|Age|Containers*|Images*|Selector*", move |v, now| {
        let (names, images) = containers(v, "spec.template.spec.containers");
        vec![
            name(v),
            int(v, "spec.replicas").into(),
            int(v, "status.replicas").into(),
            int(v, "status.readyReplicas").into(),
            age(v, now).into(),
            names.into(),
            images.into(),
            pick(v).into(),
        ]
    })
}
pub fn replication_controller() -> Columns {
    sets(plain_selector)
}
pub fn replica_set() -> Columns {
    sets(|v| selector(v, "spec.selector"))
}

pub fn daemon_set() -> Columns {
    Columns::of("Name|Desired#|Current#|Ready#|Up-to-date#|Available#|Node Selector|Age|Containers*|Images*|Selector*", |v, now| {
        let (names, images) = containers(v, "spec.template.spec.containers");
        let mut cells = vec![name(v)];
        cells.extend(
            ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
                .map(|k| Value::from(int(&v["status"], k))),
        );
        cells.extend([labels(v, "spec.template.spec.nodeSelector"), age(v, now), names, images, selector(v, "spec.selector")].map(Value::from));
        cells
    })
}

pub fn deployment() -> Columns {
    Columns::of("Name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*", |v, now| {
        let (names, images) = containers(v, "spec.template.spec.containers");
        vec![
            name(v),
            replicas(v).into(),
            int(v, "status.updatedReplicas").into(),
            int(v, "status.availableReplicas").into(),
            age(v, now).into(),
            names.into(),
            images.into(),
            selector(v, "spec.selector").into(),
        ]
    })
}

pub fn stateful_set() -> Columns {
    Columns::of("Name|Ready|Age|Containers*|Images*", |v, now| {
        let (names, images) = containers(v, "spec.template.spec.containers");
        vec![name(v), replicas(v).into(), age(v, now).into(), names.into(), images.into()]
    })
}

pub fn job() -> Columns {
    Columns::of("Name|Status|Completions|Duration|Age|Containers*|Images*|Selector*", |v, now| {
        let (names, images) = containers(v, "spec.template.spec.containers");
        let duration = match (text(v, "status.startTime"), text(v, "status.completionTime").parse::<skiff_meta::Timestamp>()) {
            ("", _) => String::new(),
            (_, Ok(end)) => since(v, "status.startTime", end),
            _ => since(v, "status.startTime", now),
        };
        vec![
            name(v),
            job_status(v).into(),
            completions(v).into(),
            duration.into(),
            age(v, now).into(),
            names.into(),
            images.into(),
            selector(v, "spec.selector").into(),
        ]
    })
}
fn completions(v: &Value) -> String {
    let done = int(v, "status.succeeded");
    match (at(v, "spec.completions").and_then(Value::as_i64), int(v, "spec.parallelism")) {
        (Some(n), _) => format!("{done}/{n}"),
        (None, p) if p > 1 => format!("{done}/1 of {p}"),
        _ => format!("{done}/1"),
    }
}
fn job_status(v: &Value) -> &'static str {
    let ended = ["Complete", "Failed"].into_iter().find(|c| holds(v, c));
    let going = || ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|c| holds(v, c));
    match ended {
        Some(s) => s,
        None if at(v, "metadata.deletionTimestamp").is_some() => "Terminating",
        None => going().unwrap_or("Running"),
    }
}

pub fn cron_job() -> Columns {
    Columns::of("Name|Schedule|Timezone|Suspend?|Active#|Last Schedule|Age|Containers*|Images*|Selector*", |v, now| {
        let (names, images) = containers(v, "spec.jobTemplate.spec.template.spec.containers");
        let last = if at(v, "status.lastScheduleTime").is_some() { since(v, "status.lastScheduleTime", now) } else { "<none>".into() };
        let suspend = match at(v, "spec.suspend") {
            Some(_) if flag(v, "spec.suspend") => "True",
            Some(_) => "False",
            None => "<unset>",
        };
        vec![
            name(v),
            text(v, "spec.schedule").into(),
            text_or(v, "spec.timeZone", "<none>").into(),
            suspend.into(),
            list(v, "status.active").len().into(),
            last.into(),
            age(v, now).into(),
            names.into(),
            images.into(),
            selector(v, "spec.jobTemplate.spec.selector").into(),
        ]
    })
}

pub fn controller_revision() -> Columns {
    Columns::of("Name|Controller|Revision|Age", |v, now| {
        let owner = list(v, "metadata.ownerReferences").iter().find(|o| flag(o, "controller"));
        let controller = owner.map_or_else(
            || "<none>".to_owned(),
            |o| {
                let group = text(o, "apiVersion").split_once('/').map_or("", |(g, _)| g);
                let kind = text(o, "kind").to_lowercase();
                if group.is_empty() { format!("{kind}/{}", text(o, "name")) } else { format!("{kind}.{group}/{}", text(o, "name")) }
            },
        );
        vec![name(v), controller.into(), int(v, "revision").into(), age(v, now).into()]
    })
}

pub fn horizontal_pod_autoscaler() -> Columns {
    Columns::of("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age", |v, now| {
        let min = at(v, "spec.minReplicas").map_or_else(|| "<unset>".to_owned(), Value::to_string);
        vec![
            name(v),
            format!("{}/{}", text(v, "spec.scaleTargetRef.kind"), text(v, "spec.scaleTargetRef.name")).into(),
            targets(v).into(),
            min.into(),
            int(v, "spec.maxReplicas").into(),
            int(v, "status.currentReplicas").into(),
            age(v, now).into(),
        ]
    })
}

/// `cpu: 20%/80%, …`: present over wanted, two at the most.
fn targets(v: &Value) -> String {
    let current = list(v, "status.currentMetrics");
    let all: Vec<String> = list(v, "spec.metrics").iter().enumerate().map(|(i, m)| target(m, current.get(i))).collect();
    match all.len() {
        // The first version of the API knows of one metric only.
        0 => match at(v, "spec.targetCPUUtilizationPercentage") {
            Some(t) => format!("cpu: {}/{t}%", at(v, "status.currentCPUUtilizationPercentage").map_or_else(|| "<unknown>".to_owned(), |c| format!("{c}%"))),
            None => "<none>".into(),
        },
        n if n > 2 => format!("{} + {} more...", all[..2].join(", "), n - 2),
        _ => all.join(", "),
    }
}

fn target(m: &Value, current: Option<&Value>) -> String {
    let kind = text(m, "type");
    let key = match kind {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".into(),
    };
    let spec = &m[key];
    let now = |field: &str| current.and_then(|c| at(&c[key], &format!("current.{field}"))).map_or_else(|| "<unknown>".to_owned(), plain);
    let average = text(spec, "target.averageValue");
    match kind {
        "Pods" => format!("{}/{average}", now("averageValue")),
        "External" | "Object" if average.is_empty() => format!("{}/{}", now("value"), text(spec, "target.value")),
        "External" | "Object" => format!("{}/{average} (avg)", now("averageValue")),
        _ if !average.is_empty() => format!("{}: {}/{average}", text(spec, "name"), now("averageValue")),
        _ => {
            let percent = |s: String| if s.starts_with('<') { s } else { format!("{s}%") };
            let wanted = at(spec, "target.averageUtilization").map_or_else(|| "<auto>".to_owned(), plain);
            format!("{}: {}/{}", text(spec, "name"), percent(now("averageUtilization")), percent(wanted))
        }
    }
}
fn plain(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

pub fn pod_disruption_budget() -> Columns {
    Columns::of("Name|Min Available|Max Unavailable|Allowed Disruptions#|Age", |v, now| {
        let of = |path| at(v, path).map_or_else(|| "N/A".to_owned(), plain);
        vec![name(v), of("spec.minAvailable").into(), of("spec.maxUnavailable").into(), int(v, "status.disruptionsAllowed").into(), age(v, now).into()]
    })
}
