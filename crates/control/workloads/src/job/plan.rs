//! One pass over a Job.
use super::{
    Backoff, Indexes, backoff,
    count::{ensure, new_condition, settle},
    policy::{Verdict, judge, success},
    view::{Job, JobSpec, JobStatus, failed, failures, ignored, index, tracked},
};
use crate::{
    pod::{Pod, active_order},
    view::{Condition, Time, condition},
};
use std::collections::{HashMap, HashSet};

/// At most so many creations or deletions in one go, and so many pods counted.
const BURST: usize = 500;

pub struct Snapshot<'a> {
    pub job: &'a Job,
    /// The pods that it controls.
    pub pods: &'a [Pod],
    /// As the last pass left it.
    pub backoff: &'a Backoff,
    pub now: Time,
}

/// A pod to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewPod {
    pub index: Option<i64>,
    /// Failures of its index so far.
    pub failures: i64,
    pub ignored: i64,
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<NewPod>,
    /// Uids of pods to delete.
    pub delete: Vec<String>,
    /// Whether the finalizer is taken off pods that are deleted, uncounted: they were surplus.
    pub drop_finalizers: bool,
    /// What to write before finalizers are taken off.
    pub status: JobStatus,
    /// Uids of pods whose finalizer is taken off then.
    pub release: Vec<String>,
    /// The condition that ends the job, once all are counted.
    pub end: Option<Condition>,
    pub backoff: Backoff,
    /// `Suspended` or `Resumed`.
    pub told: Option<(&'static str, &'static str)>,
    /// Look again in so many seconds.
    pub again: Option<i64>,
}

/// What a pass finds out on its way.
struct Work<'a> {
    s: &'a Snapshot<'a>,
    spec: &'a JobSpec,
    active: Vec<&'a Pod>,
    terminating: i64,
    succeeded: i64,
    before: Indexes,
    succeeded_indexes: Indexes,
    failed_indexes: Option<Indexes>,
    /// By index: the failed pod whose finalizer stays until its index is tried again.
    delayed: HashMap<i64, &'a Pod>,
    plan: Plan,
}

/// Nothing is planned for a job that is over or managed by somebody else: the caller sees to that.
pub fn plan(s: &Snapshot<'_>) -> Plan {
    let mut w = Work::new(s);
    let mut end = w.ending();
    if end.is_some() {
        w.plan.delete = w.active.iter().map(|p| p.metadata.uid.clone()).collect();
    } else if !s.job.metadata.deleting() {
        w.manage();
        end = w.completed();
        if end.is_none() {
            w.suspension();
        }
    }
    w.conclude(end)
}

impl<'a> Work<'a> {
    fn new(s: &'a Snapshot<'a>) -> Self {
        let spec = &s.job.spec;
        let mut status = s.job.status.clone();
        let live: HashSet<&str> = s.pods.iter().filter(|p| tracked(p)).map(|p| p.metadata.uid.as_str()).collect();
        settle(&mut status, |uid| live.contains(uid));
        if status.start_time.is_none() && !spec.suspend {
            status.start_time = Some(s.now);
        }
        let mut w = Self {
            s,
            spec,
            active: s.pods.iter().filter(|p| p.active()).collect(),
            terminating: s.pods.iter().filter(|p| p.terminating()).count() as i64,
            succeeded: 0,
            before: Indexes::parse(&status.completed_indexes, spec.size()),
            succeeded_indexes: Indexes::default(),
            failed_indexes: None,
            delayed: HashMap::new(),
            plan: Plan { status, ..Default::default() },
        };
        w.tally();
        w
    }
    fn in_range(&self, p: &Pod) -> bool {
        !self.spec.indexed() || index(p).is_some_and(|i| i < self.spec.size())
    }
    /// Tracked pods that are over and in no count yet, not even the uncounted.
    fn fresh(&self, list: &[String], f: impl Fn(&Pod) -> bool) -> Vec<&'a Pod> {
        self.s.pods.iter().filter(|p| tracked(p) && self.in_range(p) && !list.contains(&p.metadata.uid) && f(p)).collect()
    }
    fn tally(&mut self) {
        let u = self.plan.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let succeeded = self.fresh(&u.succeeded, Pod::succeeded);
        let failed_pods = self.fresh(&u.failed, |p| failed(self.spec, p));
        self.plan.backoff = self.s.backoff.with(&succeeded, &failed_pods);
        self.succeeded = self.plan.status.succeeded + (succeeded.len() + u.succeeded.len()) as i64;
        if !self.spec.indexed() {
            return;
        }
        let ended = self.s.pods.iter().filter(|p| tracked(p) && p.succeeded() && self.in_range(p)).filter_map(index);
        self.succeeded_indexes = self.before.union(&Indexes::of(ended));
        self.succeeded = self.succeeded_indexes.total();
        if let Some(limit) = self.spec.backoff_limit_per_index {
            let before = Indexes::parse(self.plan.status.failed_indexes.as_deref().unwrap_or_default(), self.spec.size());
            let given_up = self.s.pods.iter().filter(|p| tracked(p) && self.in_range(p) && self.gives_up(p, limit)).filter_map(index);
            self.failed_indexes = Some(before.union(&Indexes::of(given_up)));
            self.delay();
        }
    }
    fn gives_up(&self, p: &Pod, limit: i64) -> bool {
        failed(self.spec, p)
            && match judge(self.spec.pod_failure_policy.as_ref(), p) {
                Verdict::FailIndex => true,
                v => v.counts() && failures(p) >= limit,
            }
    }
    /// The last failed pod of each index that is to be tried again.
    fn delay(&mut self) {
        let active: HashSet<i64> = self.active.iter().filter_map(|p| index(p)).collect();
        let given_up = self.failed_indexes.clone().unwrap_or_default();
        let broken: Vec<&Pod> = self.s.pods.iter().filter(|p| tracked(p) && self.in_range(p) && failed(self.spec, p)).collect();
        for p in broken {
            let Some(i) = index(p) else { continue };
            if self.succeeded_indexes.has(i) || given_up.has(i) || active.contains(&i) {
                continue;
            }
            let order = |p: &Pod| (failures(p) + ignored(p), backoff::finished(p));
            match self.delayed.get(&i) {
                Some(other) if order(other) > order(p) => {}
                _ => drop(self.delayed.insert(i, p)),
            }
        }
    }
    /// Failures that count, seen in this pass too.
    fn failed_count(&self) -> i64 {
        let u = self.plan.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let fresh = self.fresh(&u.failed, |p| failed(self.spec, p));
        let counted = fresh.iter().filter(|p| judge(self.spec.pod_failure_policy.as_ref(), p).counts()).count();
        self.plan.status.failed + (counted + u.failed.len()) as i64
    }
    fn look_again(&mut self, seconds: i64) {
        self.plan.again = Some(self.plan.again.map_or(seconds, |a| a.min(seconds)));
    }
    /// Why the job must end now: as a SuccessCriteriaMet or FailureTarget condition.
    fn ending(&mut self) -> Option<Condition> {
        let now = self.s.now;
        let set = |kind: &str| condition(&self.plan.status.conditions, kind).filter(|c| c.status == "True").cloned();
        if let Some(c) = set("SuccessCriteriaMet").or_else(|| set("FailureTarget")) {
            return Some(c);
        }
        let fail = |reason: &str, message: &str| Some(new_condition("FailureTarget", "True", reason, message, now));
        let by_policy = self.s.pods.iter().filter(|p| failed(self.spec, p)).find_map(|p| match judge(self.spec.pod_failure_policy.as_ref(), p) {
            Verdict::FailJob(message) => Some(message),
            _ => None,
        });
        if let Some(message) = by_policy {
            return fail("PodFailurePolicy", &message);
        }
        if self.failed_count() > self.spec.backoff_limit || self.restarts_past_limit() {
            return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if let Some(left) = self.deadline_in() {
            if left <= 0 {
                return fail("DeadlineExceeded", "Job was active longer than specified deadline");
            }
            self.look_again(left);
        }
        self.ending_by_index()
    }
    fn ending_by_index(&self) -> Option<Condition> {
        let now = self.s.now;
        if !self.spec.indexed() {
            return None;
        }
        let given_up = self.failed_indexes.as_ref().map_or(0, Indexes::total);
        if self.spec.max_failed_indexes.is_some_and(|most| given_up > most) {
            return Some(new_condition("FailureTarget", "True", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes", now));
        }
        if given_up > 0 && given_up + self.succeeded_indexes.total() >= self.spec.size() {
            return Some(new_condition("FailureTarget", "True", "FailedIndexes", "Job has failed indexes", now));
        }
        let message = success(self.spec.success_policy.as_ref(), self.spec.size(), &self.succeeded_indexes)?;
        Some(new_condition("SuccessCriteriaMet", "True", "SuccessPolicy", &message, now))
    }
    /// Containers that are restarted in place count too.
    fn restarts_past_limit(&self) -> bool {
        if self.spec.template["spec"]["restartPolicy"] != "OnFailure" {
            return false;
        }
        let alive = self.s.pods.iter().filter(|p| matches!(p.status.phase.as_str(), "Running" | "Pending"));
        let n: i64 = alive.flat_map(|p| p.status.container_statuses.iter().chain(&p.status.init_container_statuses)).map(|c| c.restart_count).sum();
        if self.spec.backoff_limit == 0 { n > 0 } else { n >= self.spec.backoff_limit }
    }
    fn deadline_in(&self) -> Option<i64> {
        let start = self.plan.status.start_time.filter(|_| !self.spec.suspend)?;
        Some(start.0 + self.spec.active_deadline_seconds? - self.s.now.0)
    }
    fn wanted(&self) -> i64 {
        match self.spec.completions {
            _ if self.spec.suspend => 0,
            None if self.succeeded > 0 => self.active.len() as i64,
            None => self.spec.parallelism,
            Some(n) => (n - self.succeeded).clamp(0, self.spec.parallelism),
        }
    }
    fn manage(&mut self) {
        let wanted = self.wanted();
        let active = self.active.len() as i64;
        let surplus = self.surplus(usize::try_from(active - wanted).unwrap_or(0));
        if !surplus.is_empty() {
            self.plan.delete = surplus.iter().take(BURST).map(|p| p.metadata.uid.clone()).collect();
            self.plan.drop_finalizers = true;
            return;
        }
        let on_their_way = if self.spec.replaces_failed_only() { self.terminating } else { 0 };
        let missing = usize::try_from(wanted - active - on_their_way).unwrap_or(0).min(BURST);
        if missing > 0 {
            self.make(missing);
        }
    }
    /// Pods to delete: doubles and strays of indexed jobs in any case, and at least so many.
    fn surplus(&self, at_least: usize) -> Vec<&'a Pod> {
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        let mut sorted = self.active.clone();
        sorted.sort_by(|a, b| active_order(a, b));
        let mut seen = HashSet::new();
        // From the most advanced down: the first of an index stays.
        for p in sorted.into_iter().rev() {
            let keep = !self.spec.indexed() || (self.in_range(p) && index(p).is_some_and(|i| seen.insert(i)));
            if keep { left.push(p) } else { gone.push(p) }
        }
        while gone.len() < at_least {
            match left.pop() {
                Some(p) => gone.push(p),
                None => break,
            }
        }
        gone
    }
    fn make(&mut self, missing: usize) {
        if self.spec.backoff_limit_per_index.is_none() {
            let wait = self.plan.backoff.wait(self.s.now);
            if wait > 0 {
                return self.look_again(wait);
            }
        }
        if !self.spec.indexed() {
            self.plan.create = vec![NewPod::default(); missing];
            return;
        }
        let mut taken = self.succeeded_indexes.union(&Indexes::of(self.active.iter().filter_map(|p| index(p))));
        if self.spec.replaces_failed_only() {
            taken = taken.union(&Indexes::of(self.s.pods.iter().filter(|p| p.terminating()).filter_map(index)));
        }
        taken = taken.union(&self.failed_indexes.clone().unwrap_or_default());
        let (mut soonest, mut new) = (None::<i64>, Vec::new());
        for i in taken.missing(missing, self.spec.size()) {
            match self.delayed.get(&i).copied() {
                Some(p) => {
                    let wait = backoff::wait(failures(p) + ignored(p) + 1, backoff::finished(p), self.s.now);
                    if wait > 0 {
                        soonest = Some(soonest.map_or(wait, |s| s.min(wait)));
                        continue;
                    }
                    let counts = judge(self.spec.pod_failure_policy.as_ref(), p).counts();
                    new.push(NewPod { index: Some(i), failures: failures(p) + i64::from(counts), ignored: ignored(p) + i64::from(!counts) });
                }
                None => new.push(NewPod { index: Some(i), ..Default::default() }),
            }
        }
        self.plan.create = new;
        if let Some(s) = soonest {
            self.look_again(s);
        }
    }
    fn left_active(&self) -> i64 {
        (self.active.len() + self.plan.create.len()) as i64 - self.plan.delete.len() as i64
    }
    fn completed(&self) -> Option<Condition> {
        let done = match self.spec.completions {
            None => self.succeeded > 0,
            Some(n) => self.succeeded >= n,
        };
        (done && self.left_active() == 0).then(|| new_condition("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods", self.s.now))
    }
    fn suspension(&mut self) {
        let now = self.s.now;
        let (status, told) = if self.spec.suspend { ("True", ("JobSuspended", "Job suspended")) } else { ("False", ("JobResumed", "Job resumed")) };
        if !ensure(&mut self.plan.status.conditions, new_condition("Suspended", status, told.0, told.1, now)) {
            return;
        }
        self.plan.status.start_time = (!self.spec.suspend).then_some(now);
        self.plan.told = Some((if self.spec.suspend { "Suspended" } else { "Resumed" }, told.1));
    }
    /// Counts what is over, and says how the job ends once all is counted.
    fn conclude(mut self, end: Option<Condition>) -> Plan {
        self.count(end.as_ref());
        let deleted: HashSet<&String> = self.plan.delete.iter().collect();
        let stays = |p: &&&Pod| !deleted.contains(&p.metadata.uid);
        self.plan.status.active = self.left_active();
        self.plan.status.ready = Some(self.active.iter().filter(stays).filter(|p| p.ready()).count() as i64);
        self.plan.status.terminating = Some(self.terminating + self.plan.delete.len() as i64);
        if self.spec.indexed() {
            self.plan.status.completed_indexes = self.succeeded_indexes.to_string();
            self.plan.status.succeeded = self.succeeded_indexes.total();
            self.plan.status.failed_indexes = self.failed_indexes.as_ref().map(Indexes::to_string);
        }
        if let Some(c) = end {
            let kind = if c.kind == "FailureTarget" { "Failed" } else { "Complete" };
            self.plan.end = Some(new_condition(kind, "True", &c.reason, &c.message, self.s.now));
            ensure(&mut self.plan.status.conditions, c);
        }
        self.plan
    }
    fn count(&mut self, end: Option<&Condition>) {
        let failing = end.is_some_and(|c| c.kind == "FailureTarget");
        let mut u = self.plan.status.uncounted_terminated_pods.clone().unwrap_or_default();
        for p in self.s.pods.iter().filter(|p| tracked(p)) {
            let bad = failed(self.spec, p);
            if !self.releasable(p, bad, end.is_some()) {
                continue;
            }
            let uid = &p.metadata.uid;
            self.plan.release.push(uid.clone());
            if p.succeeded() && !u.failed.contains(uid) {
                if !self.spec.indexed() && !u.succeeded.contains(uid) {
                    u.succeeded.push(uid.clone());
                }
            } else if (bad || failing) && self.in_range(p) && !u.failed.contains(uid) && judge(self.spec.pod_failure_policy.as_ref(), p).counts() {
                u.failed.push(uid.clone());
            }
            if u.succeeded.len() + u.failed.len() >= BURST {
                break;
            }
        }
        self.plan.status.uncounted_terminated_pods = Some(u);
    }
    fn releasable(&self, p: &Pod, bad: bool, ending: bool) -> bool {
        if self.s.job.metadata.deleting() || ending || p.succeeded() {
            return true;
        }
        let kept = index(p).and_then(|i| self.delayed.get(&i)).is_some_and(|d| d.metadata.uid == p.metadata.uid);
        bad && !kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::view::{FINALIZER, INDEX},
        pod::tests::pod,
    };
    use serde_json::{Value, json};

    fn job(spec: Value, status: Value) -> Job {
        serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": spec, "status": status})).unwrap()
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
}
