//! One pass over a Job.
use super::{
    Backoff, Indexes, backoff,
    count::{ensure, new_condition, settle},
    policy::{Verdict, judge},
    view::{Job, JobSpec, JobStatus, failed, failures, ignored, index, tracked},
};
use crate::{
    pod::{Pod, active_order},
    view::{Condition, Time},
};
use std::collections::{HashMap, HashSet};

mod ending;

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
        (done && self.left_active() == 0)
            .then(|| new_condition("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods", self.s.now))
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
mod tests;
