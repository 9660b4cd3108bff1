//! Pods: one word that sums up containers and conditions, as upstream's printer finds it.
use super::{Columns, cells::*};
use crate::value::{at, flag, int, list, text};
use skiff_json::Value;
use skiff_meta::Timestamp;

/// The bulk of a pod that no cell tells of.
const UNREAD: &[&str] = &[
    "managedFields",
    "annotations",
    "labels",
    "ownerReferences",
    "env",
    "envFrom",
    "resources",
    "volumeMounts",
    "volumes",
    "args",
    "command",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "securityContext",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "allocatedResources",
    "imageID",
    "containerID",
    "apiVersion",
    "namespace",
    "generateName",
    "uid",
    "generation",
    "finalizers",
    "image",
    "imagePullPolicy",
    "ports",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "dnsPolicy",
    "dnsConfig",
    "terminationGracePeriodSeconds",
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "schedulerName",
    "hostAliases",
    "enableServiceLinks",
    "preemptionPolicy",
    "priority",
    "imagePullSecrets",
    "hostIP",
    "hostIPs",
    "podIP",
    "qosClass",
    "startTime",
    "observedGeneration",
    "lastProbeTime",
    "lastTransitionTime",
    "message",
    "ephemeralContainers",
    "ephemeralContainerStatuses",
    "resourceClaims",
    "resourceClaimStatuses",
    "user",
];

pub fn pod() -> Columns {
    Columns::of("Name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*", |v, now| {
        let s = summary(v);
        let restarts = match s.last_restart {
            Some(t) if s.restarts > 0 => format!("{} ({} ago)", s.restarts, human(now.0 - t.0)),
            _ => s.restarts.to_string(),
        };
        let ip = list(v, "status.podIPs").first().map_or("", |p| text(p, "ip"));
        vec![
            name(v),
            format!("{}/{}", s.ready, s.total).into(),
            s.reason.into(),
            restarts.into(),
            age(v, now).into(),
            or(ip, "<none>").into(),
            text_or(v, "spec.nodeName", "<none>").into(),
            text_or(v, "status.nominatedNodeName", "<none>").into(),
            gates(v).into(),
        ]
    })
    .unread(UNREAD)
}

pub fn pod_template() -> Columns {
    Columns::of("Name|Containers|Images|Pod Labels", |v, _| {
        let (names, images) = containers(v, "template.spec.containers");
        vec![name(v), names.into(), images.into(), labels(v, "template.metadata.labels").into()]
    })
}

fn gates(v: &Value) -> String {
    let all = list(v, "spec.readinessGates");
    if all.is_empty() {
        return "<none>".into();
    }
    let open = all.iter().filter(|g| holds(v, text(g, "conditionType"))).count();
    format!("{open}/{}", all.len())
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn restartable(v: &Value, name: &str) -> bool {
    list(v, "spec.initContainers").iter().any(|c| c["name"] == name && c["restartPolicy"] == "Always")
}
fn finished(c: &Value) -> Option<Timestamp> {
    text(c, "lastState.terminated.finishedAt").parse().ok()
}
/// Why a container ended, in a word.
fn ending(terminated: &Value) -> String {
    match (text(terminated, "reason"), int(terminated, "signal"), int(terminated, "exitCode")) {
        ("", 0, code) => format!("ExitCode:{code}"),
        ("", signal, _) => format!("Signal:{signal}"),
        (reason, ..) => reason.to_owned(),
    }
}

fn summary(v: &Value) -> Summary {
    let sidecars = list(v, "spec.initContainers").iter().filter(|c| c["restartPolicy"] == "Always").count();
    let mut s = Summary {
        ready: 0,
        total: list(v, "spec.containers").len() + sidecars,
        reason: text_or(v, "status.reason", text(v, "status.phase")).to_owned(),
        restarts: 0,
        last_restart: None,
    };
    if condition(v, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
        s.reason = "SchedulingGated".into();
    }
    let (sidecar_restarts, sidecar_last, initializing) = init(v, &mut s);
    if !initializing || holds(v, "Initialized") {
        s.restarts = sidecar_restarts;
        s.last_restart = sidecar_last;
        running(v, &mut s);
    }
    if at(v, "metadata.deletionTimestamp").is_some() {
        if text(v, "status.reason") == "NodeLost" {
            s.reason = "Unknown".into();
        } else if !matches!(text(v, "status.phase"), "Succeeded" | "Failed") {
            s.reason = "Terminating".into();
        }
    }
    s
}

/// The first init container that is not done gives the word.
fn init(v: &Value, s: &mut Summary) -> (i64, Option<Timestamp>, bool) {
    let (mut restarts, mut last) = (0, None);
    for (i, c) in list(v, "status.initContainerStatuses").iter().enumerate() {
        let sidecar = restartable(v, text(c, "name"));
        s.restarts += int(c, "restartCount");
        s.last_restart = s.last_restart.max(finished(c));
        if sidecar {
            restarts += int(c, "restartCount");
            last = last.max(finished(c));
        }
        let terminated = at(c, "state.terminated");
        if terminated.is_some_and(|t| int(t, "exitCode") == 0) {
            continue;
        }
        if sidecar && flag(c, "started") {
            s.ready += flag(c, "ready") as usize;
            continue;
        }
        let waiting = text(c, "state.waiting.reason");
        s.reason = match terminated {
            Some(t) => format!("Init:{}", ending(t)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{i}/{}", list(v, "spec.initContainers").len()),
        };
        return (restarts, last, true);
    }
    (restarts, last, false)
}

fn running(v: &Value, s: &mut Summary) {
    let (mut runs, mut failure) = (false, String::new());
    for c in list(v, "status.containerStatuses").iter().rev() {
        s.restarts += int(c, "restartCount");
        s.last_restart = s.last_restart.max(finished(c));
        let waiting = text(c, "state.waiting.reason");
        if !waiting.is_empty() {
            s.reason = waiting.to_owned();
        } else if let Some(t) = at(c, "state.terminated") {
            s.reason = ending(t);
            if int(t, "exitCode") != 0 {
                failure.clone_from(&s.reason);
            }
        } else if flag(c, "ready") && at(c, "state.running").is_some() {
            runs = true;
            s.ready += 1;
        }
    }
    if s.reason == "Completed" {
        if runs && holds(v, "Ready") {
            s.reason = "Running".into();
        } else if !failure.is_empty() {
            s.reason = failure;
        } else if runs {
            s.reason = "NotReady".into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    fn without_unread(v: &Value) -> Value {
        match v {
            Value::Object(m) => m.iter().filter(|(k, _)| !UNREAD.contains(&k.as_str())).map(|(k, v)| (k.clone(), without_unread(v))).collect(),
            Value::Array(a) => a.iter().map(without_unread).collect(),
            other => other.clone(),
        }
    }
    #[test]
    fn what_is_not_read_shows_nowhere() {
        let condition =
            |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        for (state, phase, reason) in [
            (json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), "Running", ""),
            (json!({"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}), "Running", ""),
            (json!({"terminated": {"exitCode": 3, "signal": 9, "reason": "Completed"}}), "Failed", "Evicted"),
            (json!({"terminated": {"exitCode": 0, "signal": 9}}), "Succeeded", "NodeLost"),
        ] {
            let statuses = json!([{"name": "i", "ready": true, "started": true, "restartCount": 2, "state": state, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:00Z"}}, "image": "x", "imageID": "x"}]);
            let v = json!({
                "kind": "Pod", "metadata": {"name": "a", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"containers": [{"name": "i", "image": "x"}], "initContainers": [{"name": "i", "restartPolicy": "Always"}], "nodeName": "n", "readinessGates": [{"conditionType": "g"}], "priority": 1},
                "status": {"phase": phase, "reason": reason, "message": "m", "podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}], "nominatedNodeName": "m", "containerStatuses": statuses, "initContainerStatuses": statuses,
                    "conditions": [condition("PodScheduled", "SchedulingGated"), condition("Ready", ""), condition("g", ""), condition("Initialized", "")]},
            });
            let cells = |v: &Value| (pod().cells)(v, Timestamp(1_800_000_000));
            assert_eq!(cells(&without_unread(&v)), cells(&v));
        }
    }
    #[test]
    fn pods_are_summed_up() {
        let c = |v: Value| json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}, "status": v});
        for (status, ready, reason) in [
            (json!({"phase": "Pending"}), 0, "Pending"),
            (json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}), 0, "Init:0/1"),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
                0,
                "Init:ImagePullBackOff",
            ),
            (json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]}), 1, "Running"),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}]}),
                0,
                "CrashLoopBackOff",
            ),
            (json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]}), 0, "Error"),
        ] {
            let s = summary(&c(status.clone()));
            assert_eq!((s.ready, s.reason.as_str()), (ready, reason), "{status}");
        }
    }
}
