use super::*;
use crate::{
    job::view::{FINALIZER, INDEX},
    pod::tests::pod,
};
use skiff_json::{Value, json};

fn job(spec: Value, status: Value) -> Job {
    skiff_json::from_value(json!({"metadata": {"name": "j"}, "spec": spec, "status": status})).unwrap()
}
/// `uid:state[:index]`; state one of run, ok, bad, dying.
fn pods(text: &str) -> Vec<Pod> {
    text.split_whitespace()
        .map(|t| {
            let parts: Vec<&str> = t.split(':').collect();
            let mut p = match parts[1] {
                "run" => pod(parts[0], "Running", Some(0), "x"),
                "ok" => pod(parts[0], "Succeeded", None, "x"),
                "bad" => pod(parts[0], "Failed", None, "x"),
                _ => pod(parts[0], "Running-", None, "x"),
            };
            p.metadata.finalizers = vec![FINALIZER.into()];
            if let Some(i) = parts.get(2) {
                p.metadata.annotations.insert(INDEX.into(), (*i).into());
            }
            p
        })
        .collect()
}
fn planned(job: &Job, text: &str) -> Plan {
    plan(&Snapshot { job, pods: &pods(text), backoff: &Backoff::default(), now: Time(1000) })
}
fn end(p: &Plan) -> Option<(&str, &str)> {
    p.end.as_ref().map(|c| (c.kind.as_str(), c.reason.as_str()))
}

#[test]
fn makes_pods_until_enough_have_succeeded() {
    for (spec, text, create, delete, ended) in [
        (json!({"parallelism": 2, "completions": 3}), "", 2, 0, None),
        (json!({"parallelism": 2, "completions": 3}), "a:run", 1, 0, None),
        (json!({"parallelism": 2, "completions": 3}), "a:ok b:ok", 1, 0, None),
        (json!({"parallelism": 2, "completions": 3}), "a:ok b:ok c:run", 0, 0, None),
        (json!({"parallelism": 2, "completions": 3}), "a:ok b:ok c:ok", 0, 0, Some(("Complete", "CompletionsReached"))),
        (json!({"parallelism": 1, "completions": 3}), "a:run b:run", 0, 1, None),
        (json!({"parallelism": 3}), "a:ok b:run", 0, 0, None),
        (json!({"parallelism": 3}), "a:ok", 0, 0, Some(("Complete", "CompletionsReached"))),
        (json!({"parallelism": 1, "completions": 1, "backoffLimit": 1}), "a:bad", 1, 0, None),
        (json!({"parallelism": 1, "completions": 1, "backoffLimit": 1}), "a:bad b:bad c:run", 0, 1, Some(("Failed", "BackoffLimitExceeded"))),
        (json!({"parallelism": 1, "completions": 1, "suspend": true}), "a:run", 0, 1, None),
        (json!({"parallelism": 1, "completions": 1}), "a:dying", 1, 0, None),
        (json!({"parallelism": 1, "completions": 1, "podReplacementPolicy": "Failed"}), "a:dying", 0, 0, None),
    ] {
        let p = planned(&job(spec.clone(), json!({})), text);
        assert_eq!((p.create.len(), p.delete.len(), end(&p)), (create, delete, ended), "{spec} {text}");
    }
}
#[test]
fn ended_pods_are_counted_once() {
    let spec = json!({"parallelism": 2, "completions": 3});
    let mut j = job(spec, json!({"startTime": "1970-01-01T00:00:00Z"}));
    let p = planned(&j, "a:ok b:run");
    assert_eq!((p.status.succeeded, p.release.clone()), (0, vec!["a".to_owned()]));
    assert_eq!(p.status.uncounted_terminated_pods.as_ref().unwrap().succeeded, ["a"]);
    // Crashed before the finalizer was off: the same again.
    j.status = p.status;
    let again = planned(&j, "a:ok b:run");
    assert_eq!((again.status.clone(), again.release), (j.status.clone(), vec!["a".to_owned()]));
    // And after: it is part of the count.
    let gone = planned(&j, "b:run");
    assert_eq!((gone.status.succeeded, gone.status.uncounted_terminated_pods), (1, Some(super::super::Uncounted::default())));
}
#[test]
fn indexes_are_worked_off() {
    let spec = json!({"parallelism": 3, "completions": 4, "completionMode": "Indexed"});
    let p = planned(&job(spec.clone(), json!({"completedIndexes": "1", "succeeded": 1})), "a:ok:0 b:run:2");
    assert_eq!(p.create.iter().filter_map(|n| n.index).collect::<Vec<_>>(), [3]);
    assert_eq!((p.status.completed_indexes.as_str(), p.status.succeeded), ("0,1", 2));
    let doubles = planned(&job(spec, json!({})), "a:run:0 b:run:0 c:run:9");
    assert_eq!(doubles.delete.len(), 2);
}
#[test]
fn brokenper_index() {
    let spec = |extra: Value| {
        let mut s = json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "backoffLimit": 1000});
        extra.as_object().unwrap().iter().for_each(|(k, v)| s[k] = v.clone());
        s
    };
    let p = planned(&job(spec(json!({})), json!({})), "a:bad:0 b:run:1");
    assert_eq!(p.create, [NewPod { index: Some(0), failures: 1, ignored: 0 }]);
    assert!(p.release.is_empty(), "its finalizer stays until the index is tried again");
    let mut twice = pods("a:bad:0 b:ok:1");
    twice[0].metadata.annotations.insert(super::super::view::FAILURES.into(), "1".into());
    let j = job(spec(json!({})), json!({}));
    let p = plan(&Snapshot { job: &j, pods: &twice, backoff: &Backoff::default(), now: Time(1000) });
    assert_eq!((end(&p), p.status.failed_indexes.as_deref()), (Some(("Failed", "FailedIndexes")), Some("0")));
    let j = job(spec(json!({"maxFailedIndexes": 0})), json!({}));
    twice[1] = pods("b:run:1").remove(0);
    let p = plan(&Snapshot { job: &j, pods: &twice, backoff: &Backoff::default(), now: Time(1000) });
    assert_eq!(end(&p), Some(("Failed", "MaxFailedIndexesExceeded")));
}
#[test]
fn policies_and_deadlines_end_jobs() {
    let policy = json!({"rules": [{"action": "FailJob", "onPodConditions": [{"type": "Bad", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "Ready", "status": "True"}]}]});
    let j = job(json!({"completions": 1, "backoffLimit": 0, "podFailurePolicy": policy}), json!({}));
    let mut bad = pods("a:bad");
    bad[0].status.conditions = vec![Condition { kind: "Ready".into(), status: "True".into(), ..Default::default() }];
    let p = plan(&Snapshot { job: &j, pods: &bad, backoff: &Backoff::default(), now: Time(1000) });
    assert_eq!((end(&p), p.create.len(), p.status.uncounted_terminated_pods.as_ref().unwrap().failed.len()), (None, 1, 0));
    bad[0].status.conditions[0].kind = "Bad".into();
    let p = plan(&Snapshot { job: &j, pods: &bad, backoff: &Backoff::default(), now: Time(1000) });
    assert_eq!(end(&p), Some(("Failed", "PodFailurePolicy")));
    let late = job(json!({"completions": 1, "activeDeadlineSeconds": 10}), json!({"startTime": "1970-01-01T00:00:00Z"}));
    assert_eq!(end(&planned(&late, "a:run")), Some(("Failed", "DeadlineExceeded")));
    let soon = job(json!({"completions": 1, "activeDeadlineSeconds": 1010}), json!({"startTime": "1970-01-01T00:00:00Z"}));
    assert_eq!(planned(&soon, "a:run").again, Some(10));
}
#[test]
fn suspension_is_told_and_stops_the_clock() {
    let p = planned(&job(json!({"suspend": true, "completions": 1}), json!({})), "");
    assert_eq!((p.told, p.status.start_time), (Some(("Suspended", "Job suspended")), None));
    let mut j = job(json!({"completions": 1}), json!({}));
    j.status = p.status;
    let p = planned(&j, "");
    assert_eq!((p.told, p.status.start_time, p.create.len()), (Some(("Resumed", "Job resumed")), Some(Time(1000)), 1));
}
