//! Reads a target's scale and its metrics, and writes scale and status.
use super::limits::{Bounds, History};
use super::plan::{self, Aim, Draft, Proposal, Silent, Verdict};
use super::proposal::{self, Ask};
use super::ratio::{Tolerance, World};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricStatus};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use skiff_client::{Target, decode};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, split_key};
use skiff_json::json;
use skiff_meta::{GroupVersionResource, LabelSelector, Quantity, Reason, Status};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How often each autoscaler looks.
const PERIOD: Duration = Duration::from_secs(15);
const TOLERANCE: f64 = 0.1;
/// Tries when somebody else scales at the same time.
const TRIES: usize = 5;

struct Autoscaler {
    deps: Deps,
    all: Typed<HorizontalPodAutoscaler>,
    pods: Typed<Pod>,
    history: Mutex<HashMap<String, History>>,
    /// What each autoscaler selects, by its key.
    selectors: Mutex<HashMap<String, LabelSelector>>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (all, pods) = (deps.informers.of::<HorizontalPodAutoscaler>(), deps.informers.of::<Pod>());
    let queue = Queue::new();
    let q = queue.clone();
    all.subscribe(move |c| {
        // Its own status is no news.
        let spec_same = |a: &skiff_informer::Row, b: &skiff_informer::Row| generation(a) == generation(b);
        if !matches!((&c.old, &c.new), (Some(a), Some(b)) if spec_same(a, b)) {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Autoscaler { deps, all, pods, history: Mutex::default(), selectors: Mutex::default() }))
}

fn generation(row: &skiff_informer::Row) -> i64 {
    row.decode::<HorizontalPodAutoscaler>().ok().and_then(|h| h.metadata.generation).unwrap_or(0)
}

#[async_trait]
impl Reconcile for Autoscaler {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(hpa) = self.all.get(namespace, name) else {
            self.history.lock().remove(key);
            self.selectors.lock().remove(key);
            return Ok(Action::Done);
        };
        let now = self.deps.clock.seconds().0;
        let mut draft = Draft::of(&hpa, now);
        let one = One { a: self, hpa: &hpa, key, namespace, now };
        if let Err(error) = one.run(&mut draft).await {
            tracing::debug!(target: "controller", autoscaler = key, error, "not scaled");
        }
        if hpa.status.as_ref() != Some(&draft.status) {
            let mut changed = hpa.clone();
            changed.status = Some(draft.status);
            let written = self.deps.client.update_status(&changed).await;
            if let Err(e) = &written {
                self.deps.recorder.warning(&Regarding::of(&hpa), "FailedUpdateStatus", e.to_string());
            }
            written.at("tell of autoscaler", key)?;
        }
        Ok(Action::RequeueAfter(PERIOD))
    }
}

/// One look of one autoscaler.
struct One<'a> {
    a: &'a Autoscaler,
    hpa: &'a HorizontalPodAutoscaler,
    key: &'a str,
    namespace: &'a str,
    now: i64,
}

impl One<'_> {
    async fn run(&self, draft: &mut Draft) -> Result<(), String> {
        let (target, mut scale) = match self.scale().await {
            Ok(found) => found,
            Err(why) => {
                self.warn("FailedGetScale", &why);
                draft.say("AbleToScale", "False", "FailedGetScale", format!("the HPA controller was unable to get the target's current scale: {why}"));
                return Err(why);
            }
        };
        draft.say("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale");
        let current = scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        self.a.history.lock().entry(self.key.to_owned()).or_default().begin(current, self.now);
        let (wanted, why, metrics, part) = match plan::aim(self.hpa, current) {
            Aim::Leave => {
                draft.say("ScalingActive", "False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
                draft.counts(self.hpa, current, Some(current), Vec::new());
                return Ok(());
            }
            Aim::Set { replicas, why } => (replicas, why.to_owned(), Vec::new(), None),
            Aim::Measure => self.measure(draft, &scale, current).await?,
        };
        if wanted != current {
            if let Err(e) = self.rescale(&target, &mut scale, wanted).await {
                self.warn("FailedRescale", &format!("New size: {wanted}; reason: {why}; error: {e}"));
                draft.say("AbleToScale", "False", "FailedUpdateScale", format!("the HPA controller was unable to update the target scale: {e}"));
                draft.counts(self.hpa, current, None, metrics);
                return Err(e.to_string());
            }
            draft.say("AbleToScale", "True", "SucceededRescale", format!("the HPA controller was able to update the target scale to {wanted}"));
            self.a.deps.recorder.normal(&Regarding::of(self.hpa), "SuccessfulRescale", format!("New size: {wanted}; reason: {why}"));
            let behavior = self.hpa.spec.behavior.as_ref();
            self.a.history.lock().entry(self.key.to_owned()).or_default().scaled(behavior, current, wanted, self.now);
            if current > 0 && wanted == 0 && plan::min_replicas(self.hpa) == 0 && plan::counts_without_pods(self.hpa) {
                draft.say("ScaledToZero", "True", "ScaledToZero", "the HPA controller scaled the workload to zero");
            } else {
                draft.say("ScaledToZero", "False", "NotScaledToZero", "the HPA controller did not scale the workload to zero");
            }
            draft.scaled_now();
        }
        draft.counts(self.hpa, current, Some(wanted), metrics);
        part.map_or(Ok(()), Err)
    }

    /// What the metrics ask for, within the limits; why; what was measured; what could not be.
    async fn measure(&self, draft: &mut Draft, scale: &Scale, current: i32) -> Result<(i32, String, Vec<MetricStatus>, Option<String>), String> {
        let all = match self.proposals(draft, scale, current).await {
            Ok(all) => all,
            Err(why) => {
                draft.counts(self.hpa, current, None, Vec::new());
                self.warn("FailedComputeMetricsReplicas", &why);
                return Err(why);
            }
        };
        for s in all.iter().filter_map(|r| r.as_ref().err()) {
            self.warn(s.reason, &s.cause);
        }
        let metrics: Vec<MetricStatus> = all.iter().map(|r| r.as_ref().map(|p| p.status.clone()).unwrap_or_default()).collect();
        let (raw, name, error) = match plan::verdict(&all, current) {
            Verdict::Unknown { first, error } => {
                draft.say("ScalingActive", "False", first.reason, format!("the HPA was unable to compute the replica count: {}", first.cause));
                draft.counts(self.hpa, current, None, metrics);
                self.warn("FailedComputeMetricsReplicas", &error);
                return Err(error);
            }
            Verdict::Scale { replicas, name, error } => (replicas, name, error),
        };
        draft.say("ScalingActive", "True", "ValidMetricFound", format!("the HPA was able to successfully calculate a replica count from {name}"));
        let mut why = match raw.cmp(&current) {
            std::cmp::Ordering::Greater => format!("{name} above target"),
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        let spec = self.hpa.spec.clone();
        let min = plan::min_replicas(self.hpa);
        let bounds = Bounds { min, max: spec.max_replicas, current };
        let limited = self.a.history.lock().entry(self.key.to_owned()).or_default().limit(spec.behavior.as_ref(), bounds, raw, self.now);
        draft.say("AbleToScale", "True", limited.able.0, limited.able.1);
        draft.say("ScalingLimited", if limited.limited { "True" } else { "False" }, limited.limit.0, limited.limit.1);
        let mut wanted = limited.replicas;
        if current == 0 && min != 0 && plan::scaled_to_zero(self.hpa) && wanted < min {
            wanted = min;
            if why.is_empty() {
                why = "Current number of replicas below Spec.MinReplicas".into();
            }
        }
        Ok((wanted, why, metrics, error))
    }

    async fn proposals(&self, draft: &mut Draft, scale: &Scale, current: i32) -> Result<Vec<Result<Proposal, Silent>>, String> {
        let text = scale.status.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
        let pods = self.selected(draft, &text)?;
        let spec = self.hpa.spec.clone();
        let resource_of = |group: &str, kind: &str| (self.a.deps.settings.kinds)(group, kind).first().map(|r| r.resource.to_string());
        let ask = Ask {
            client: &self.a.deps.client,
            namespace: self.namespace,
            selector: &text,
            world: World { pods: &pods, current, tolerance: tolerance(self.hpa), now: self.now },
            there: scale.status.as_ref().map_or(0, |s| s.replicas),
            resource_of: &resource_of,
        };
        let mut all = Vec::new();
        for m in spec.metrics.iter().flatten() {
            all.push(proposal::of(&ask, m).await);
        }
        Ok(all)
    }

    /// The pods of the target, if they are nobody else's.
    fn selected(&self, draft: &mut Draft, text: &str) -> Result<Vec<Pod>, String> {
        let mut refuse = |event: &str, reason: &str, said: &str, message: String| {
            self.warn(event, said);
            draft.say("ScalingActive", "False", reason, message);
            said.to_owned()
        };
        if text.is_empty() {
            return Err(refuse("SelectorRequired", "InvalidSelector", "selector is required", "the HPA target's scale is missing a selector".into()));
        }
        let selector = LabelSelector::parse(text).map_err(|e| {
            let said = format!("couldn't convert selector into a corresponding internal selector object: {e}");
            refuse("InvalidSelector", "InvalidSelector", &said, said.clone())
        })?;
        let pods = self.a.pods.list(self.namespace, &selector);
        let mut selectors = self.a.selectors.lock();
        selectors.insert(self.key.to_owned(), selector);
        let labels = |p: &Pod| p.metadata.labels.clone().unwrap_or_default();
        let there = |k: &str| self.a.all.row(split_key(k).0, split_key(k).1).is_some();
        let mut rivals: Vec<&String> = selectors
            .iter()
            .filter(|(k, s)| split_key(k).0 == self.namespace && there(k) && pods.iter().any(|p| s.matches(&labels(p))))
            .map(|(k, _)| k)
            .collect();
        if rivals.len() > 1 {
            rivals.sort();
            let shown: Vec<&str> = rivals.into_iter().map(String::as_str).take(2).collect();
            let said = format!("pods by selector {text} are controlled by more than one HPA (e.g. [{}])", shown.join(" "));
            return Err(refuse("AmbiguousSelector", "AmbiguousSelector", &said, said.clone()));
        }
        Ok(pods)
    }

    async fn scale(&self) -> Result<(Target, Scale), String> {
        let spec = self.hpa.spec.clone();
        let to = &spec.scale_target_ref;
        let version = to.api_version.as_deref().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(g, _)| g);
        let resources: Vec<GroupVersionResource> = (self.a.deps.settings.kinds)(group, &to.kind);
        let mut first = None;
        for r in resources {
            let target = Target::new(r, self.namespace, &*to.name).sub("scale");
            match self.a.deps.client.get_bytes(target.clone()).await.and_then(|b| decode::<Scale>(&b)) {
                Ok(scale) => return Ok((target, scale)),
                Err(e) => drop(first.get_or_insert(e.to_string())),
            }
        }
        Err(first.unwrap_or_else(|| format!("no matches for kind {:?} in group {group:?}", to.kind)))
    }

    async fn rescale(&self, target: &Target, scale: &mut Scale, replicas: i32) -> Result<(), Status> {
        let mut last = Status::internal("no try was made");
        for _ in 0..TRIES {
            let mut v = skiff_json::to_value(&*scale).map_err(Status::internal)?;
            v["spec"] = json!({"replicas": replicas});
            match self.a.deps.client.update_bytes(target.clone(), v.to_string()).await {
                Err(e) if e.is(Reason::Conflict) => {
                    last = e;
                    *scale = decode(&self.a.deps.client.get_bytes(target.clone()).await?)?;
                }
                done => return done.map(drop),
            }
        }
        Err(last)
    }

    fn warn(&self, reason: &str, message: &str) {
        self.a.deps.recorder.event(&Regarding::of(self.hpa), skiff_controller::EventType::Warning, reason, message);
    }
}

fn tolerance(hpa: &HorizontalPodAutoscaler) -> Tolerance {
    let behavior = hpa.spec.behavior.as_ref();
    let of = |r: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
        let q = r.and_then(|r| r.tolerance.as_ref());
        q.and_then(|q| q.0.parse::<Quantity>().ok()).map_or(TOLERANCE, |q| q.as_f64())
    };
    Tolerance { down: of(behavior.and_then(|b| b.scale_down.as_ref())), up: of(behavior.and_then(|b| b.scale_up.as_ref())) }
}
