//! One pass over a CronJob.
use super::{
    schedule::{Schedule, find_zone},
    view::{CronJob, CronJobStatus},
};
use crate::{
    job::{Job, over},
    view::Time,
};
use skiff_controller::EventType::{self, Normal, Warning};
use skiff_json::{Value, json};

pub struct Snapshot<'a> {
    pub cron: &'a CronJob,
    /// The jobs that it controls.
    pub jobs: &'a [Job],
    pub now: Time,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Told(pub EventType, pub &'static str, pub String);

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub told: Vec<Told>,
    /// Names of jobs, of the history or replaced.
    pub delete: Vec<String>,
    /// The job that is due; its `active` reference is added once it is made.
    pub create: Option<Value>,
    pub status: CronJobStatus,
    /// Look again in so many seconds.
    pub again: Option<i64>,
}

const TEMPLATE_MARK: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub fn plan(s: &Snapshot<'_>) -> Plan {
    let mut p = Plan { status: s.cron.status.clone(), ..Default::default() };
    follow(s, &mut p);
    trim(s, &mut p);
    if s.cron.metadata.deleting() {
        return p;
    }
    let zone = s.cron.spec.time_zone.clone().unwrap_or_default();
    if let Err(e) = find_zone(&zone) {
        p.told.push(Told(Warning, "UnknownTimeZone", format!("invalid timeZone: {zone:?}: {e}")));
        return p;
    }
    if s.cron.spec.suspend {
        return p;
    }
    match Schedule::parse(&s.cron.spec.schedule, &zone) {
        Ok(schedule) => run(s, &schedule, &mut p),
        Err(e) => p.told.push(Told(Warning, "UnparseableSchedule", format!("unparseable schedule: {:?} : {e}", s.cron.spec.schedule))),
    }
    p
}

/// Takes jobs that are over or gone off the list of active ones.
fn follow(s: &Snapshot<'_>, p: &mut Plan) {
    for j in s.jobs {
        let listed = p.status.active.iter().any(|a| a.uid == j.metadata.uid);
        match over(&j.status) {
            None if !listed => {
                p.told.push(Told(Warning, "UnexpectedJob", format!("Saw a job that the controller did not create or forgot: {}", j.metadata.name)))
            }
            None => {}
            Some(end) => {
                if listed {
                    p.status.active.retain(|a| a.uid != j.metadata.uid);
                    p.told.push(Told(Normal, "SawCompletedJob", format!("Saw completed job: {}, condition: {}", j.metadata.name, end.kind)));
                }
                if end.kind == "Complete" {
                    p.status.last_successful_time = p.status.last_successful_time.max(j.status.completion_time);
                }
            }
        }
    }
    let there = |uid: &str| s.jobs.iter().any(|j| j.metadata.uid == uid);
    for gone in p.status.active.iter().filter(|a| !there(&a.uid)) {
        p.told.push(Told(Normal, "MissingJob", format!("Active job went missing: {}", gone.name)));
    }
    p.status.active.retain(|a| there(&a.uid));
}

/// The oldest ended jobs beyond the limits.
fn trim(s: &Snapshot<'_>, p: &mut Plan) {
    let spec = &s.cron.spec;
    for (kind, limit) in [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)] {
        let Some(limit) = limit.and_then(|n| usize::try_from(n).ok()) else { continue };
        let mut ended: Vec<&Job> = s.jobs.iter().filter(|j| !j.metadata.deleting() && over(&j.status).is_some_and(|c| c.kind == kind)).collect();
        ended.sort_by_key(|j| (j.status.start_time.is_none(), j.status.start_time, j.metadata.name.clone()));
        let surplus = ended.len().saturating_sub(limit);
        p.delete.extend(ended.iter().take(surplus).map(|j| j.metadata.name.clone()));
    }
}

/// The latest time that is due, and whether more than a hundred were missed.
fn due(cron: &CronJob, schedule: &Schedule, now: i64, with_deadline: bool) -> Result<(i64, Option<i64>, u64), &'static str> {
    let created = cron.metadata.creation_timestamp.map_or(0, |t| t.0);
    let mut earliest = cron.status.last_schedule_time.map_or(created, |t| t.0);
    if let Some(s) = cron.spec.starting_deadline_seconds.filter(|_| with_deadline) {
        earliest = earliest.max(now - s);
    }
    let Some(first) = schedule.next(earliest).filter(|t| *t <= now) else { return Ok((earliest, None, 0)) };
    let Some(second) = schedule.next(first).filter(|t| *t <= now) else { return Ok((earliest, Some(first), 1)) };
    let between = second - first;
    if between < 1 {
        return Err("time difference between two schedules is less than 1 second");
    }
    let missed = (now - first) / between + 1;
    // Not each missed time one by one: they may be millions.
    let mut latest = None;
    let mut t = schedule.next(first + (missed - 2) * between);
    while let Some(at) = t.filter(|t| *t <= now) {
        latest = Some(at);
        t = schedule.next(at);
    }
    Ok((earliest, latest.or(Some(second)), missed as u64))
}

fn run(s: &Snapshot<'_>, schedule: &Schedule, p: &mut Plan) {
    let (cron, now) = (s.cron, s.now.0);
    let (_, at, missed) = match due(cron, schedule, now, true) {
        Ok(found) => found,
        Err(e) => return p.told.push(Told(Warning, "InvalidSchedule", format!("invalid schedule: {} : {e}", cron.spec.schedule))),
    };
    p.again = next_in(cron, schedule, now);
    let Some(at) = at else { return };
    if missed > 100 {
        let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        p.told.push(Told(Warning, "TooManyMissedTimes", text.into()));
    }
    if cron.spec.starting_deadline_seconds.is_some_and(|d| at + d < now) {
        let when = jiff::Timestamp::from_second(at).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()).unwrap_or_default();
        return p.told.push(Told(Warning, "MissSchedule", format!("Missed scheduled time to start a job: {when}")));
    }
    let name = format!("{}-{}", cron.metadata.name, at / 60);
    let done = p.status.active.iter().any(|a| a.name == name) || cron.status.last_schedule_time == Some(Time(at));
    if done {
        return;
    }
    match cron.spec.concurrency_policy.as_str() {
        "Forbid" if !p.status.active.is_empty() => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return p.told.push(Told(Normal, "JobAlreadyActive", text.into()));
        }
        "Replace" => {
            p.delete.extend(p.status.active.iter().map(|a| a.name.clone()));
            p.status.active.clear();
        }
        _ => {}
    }
    p.create = Some(job(cron, schedule, name, at));
    p.status.last_schedule_time = Some(Time(at));
    let after = CronJob { status: CronJobStatus { last_schedule_time: Some(Time(at)), ..Default::default() }, ..cron.clone() };
    p.again = next_in(&after, schedule, now);
}

/// Seconds to the next time that is still to come.
fn next_in(cron: &CronJob, schedule: &Schedule, now: i64) -> Option<i64> {
    let from = match due(cron, schedule, now, false) {
        Ok((earliest, None, 0)) => earliest,
        Ok((_, Some(latest), _)) => latest,
        _ => now,
    };
    schedule.next(from).map(|t| (t - now).max(1))
}

fn job(cron: &CronJob, schedule: &Schedule, name: String, at: i64) -> Value {
    let template = &cron.spec.job_template;
    let mut annotations = template["metadata"]["annotations"].clone();
    annotations[TEMPLATE_MARK] = schedule.local(at).into();
    let mut meta = json!({
        "name": name, "namespace": cron.metadata.namespace, "annotations": annotations,
        "ownerReferences": [cron.metadata.controller_ref("batch/v1", "CronJob")],
    });
    if let Some(labels) = template["metadata"].get("labels") {
        meta["labels"] = labels.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": template["spec"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn cron(spec: Value, status: Value) -> CronJob {
        let mut full = json!({"schedule": "0 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}});
        spec.as_object().unwrap().iter().for_each(|(k, v)| full[k] = v.clone());
        skiff_json::from_value(
            json!({"metadata": {"name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": full, "status": status}),
        )
        .unwrap()
    }
    fn job_of(name: &str, end: &str, start: i64) -> Job {
        let conditions = if end.is_empty() { json!([]) } else { json!([{"type": end, "status": "True"}]) };
        skiff_json::from_value(
            json!({"metadata": {"name": name, "uid": name}, "status": {"startTime": Time(start), "completionTime": Time(start + 1), "conditions": conditions}}),
        )
        .unwrap()
    }
    fn reasons(p: &Plan) -> Vec<&str> {
        p.told.iter().map(|t| t.1).collect()
    }
    fn planned(c: &CronJob, jobs: &[Job], now: i64) -> Plan {
        plan(&Snapshot { cron: c, jobs, now: Time(now) })
    }

    #[test]
    fn jobs_start_on_time() {
        let last = |t: i64| json!({"lastScheduleTime": Time(t)});
        for (spec, status, now, created, told, again) in [
            (json!({}), json!({}), HOUR - 1, false, vec![], Some(1)),
            (json!({}), json!({}), HOUR, true, vec![], Some(HOUR)),
            (json!({}), last(HOUR), HOUR + 5, false, vec![], Some(HOUR - 5)),
            (json!({}), last(HOUR), 4 * HOUR + 5, true, vec![], Some(HOUR - 5)),
            (json!({}), last(HOUR), 200 * HOUR, true, vec!["TooManyMissedTimes"], Some(HOUR)),
            (json!({"startingDeadlineSeconds": 60}), last(HOUR), 4 * HOUR + 90, false, vec![], Some(HOUR - 90)),
            (json!({"startingDeadlineSeconds": 60}), last(HOUR), 4 * HOUR + 30, true, vec![], Some(HOUR - 30)),
            (json!({"suspend": true}), json!({}), HOUR, false, vec![], None),
            (json!({"schedule": "x"}), json!({}), HOUR, false, vec!["UnparseableSchedule"], None),
            (json!({"timeZone": "Mars/X"}), json!({}), HOUR, false, vec!["UnknownTimeZone"], None),
        ] {
            let p = planned(&cron(spec.clone(), status.clone()), &[], now);
            assert_eq!((p.create.is_some(), reasons(&p), p.again), (created, told, again), "{spec} {status} {now}");
        }
    }
    #[test]
    fn a_job_is_named_by_its_minute() {
        let p = planned(&cron(json!({"timeZone": "Europe/Berlin"}), json!({})), &[], HOUR + 7);
        let j = p.create.unwrap();
        assert_eq!(j["metadata"]["name"], "c-60");
        assert_eq!(j["metadata"]["annotations"][TEMPLATE_MARK], "1970-01-01T02:00:00+01:00");
        assert_eq!((&j["metadata"]["labels"], &j["spec"], p.status.last_schedule_time), (&json!({"a": "b"}), &json!({"x": 1}), Some(Time(HOUR))));
    }
    #[test]
    fn policies_about_jobs_that_still_run() {
        let status = json!({"active": [{"name": "j", "uid": "j"}], "lastScheduleTime": Time(HOUR)});
        for (policy, created, deleted, told) in [("Allow", true, 0, vec![]), ("Forbid", false, 0, vec!["JobAlreadyActive"]), ("Replace", true, 1, vec![])] {
            let p = planned(&cron(json!({"concurrencyPolicy": policy}), status.clone()), &[job_of("j", "", 0)], 2 * HOUR);
            assert_eq!((p.create.is_some(), p.delete.len(), reasons(&p)), (created, deleted, told), "{policy}");
        }
    }
    #[test]
    fn ended_and_missing_jobs_leave_the_list() {
        let status = json!({"active": [{"name": "a", "uid": "a"}, {"name": "b", "uid": "b"}], "lastScheduleTime": Time(HOUR)});
        let p = planned(&cron(json!({}), status), &[job_of("a", "Complete", 50), job_of("c", "", 0)], HOUR + 1);
        assert_eq!(reasons(&p), ["SawCompletedJob", "UnexpectedJob", "MissingJob"]);
        assert_eq!((p.status.active.len(), p.status.last_successful_time), (0, Some(Time(51))));
    }
    #[test]
    fn the_oldest_go() {
        let jobs = [job_of("c", "Complete", 3), job_of("a", "Complete", 1), job_of("b", "Complete", 2), job_of("f", "Failed", 1)];
        let p = planned(&cron(json!({"suspend": true, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}), json!({})), &jobs, 0);
        assert_eq!(p.delete, ["a", "b"]);
    }
}
