//! Why a job ends: policies, limits, deadlines, indexes that failed.
use super::super::{
    Indexes,
    count::new_condition,
    policy::{Verdict, judge, success},
    view::failed,
};
use super::Work;
use crate::view::{Condition, condition};

impl Work<'_> {
    /// Why the job must end now: as a SuccessCriteriaMet or FailureTarget condition.
    pub(super) fn ending(&mut self) -> Option<Condition> {
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
            return Some(new_condition(
                "FailureTarget",
                "True",
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
                now,
            ));
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
}
