//! Ends containers: hooks, grace periods, order.
use super::{Next, Worker};
use crate::hook;
use k8s_openapi::api::core::v1::Pod;
use skiff_cri::ContainerId;
use skiff_pod::probe::{ProbeKind, grace_of};
use skiff_pod::{Observed, termination_order, view};
use std::net::IpAddr;
use std::time::Duration;

/// After a hook a container gets at least this long to end by itself.
const LEAST: Duration = Duration::from_secs(2);

impl Worker {
    /// Seconds that the whole pod gets; deleting with 0 is 1, as upstream.
    fn ending_grace(&self, pod: &Pod) -> i64 {
        let forced = self.slot.is_gone().then_some(1).filter(|_| !view::deleted(pod));
        forced.unwrap_or_else(|| view::grace_seconds(pod)).max(1)
    }

    pub(super) async fn terminate(&mut self, pod: &Pod, observed: Observed) -> Next {
        self.prober.wind_down();
        self.failures.clear();
        self.report(pod, &observed);
        let grace = self.ending_grace(pod);
        let slot = self.slot.clone();
        let shorter = async {
            loop {
                slot.woken().await;
                if slot.pod().is_some_and(|p| view::deleted(&p) && view::grace_seconds(&p).max(1) < grace) {
                    return;
                }
            }
        };
        let killed = tokio::select! {
            r = self.kill_all(pod, &observed, Some(grace)) => r,
            () = shorter => return Next::Again,
        };
        match killed {
            Ok(()) => {}
            Err(why) => {
                self.agent.recorder.warning(&self.agent.about(pod), "FailedKillPod", format!("error killing pod: {why}"));
                return self.retry_later();
            }
        }
        self.mark_terminated();
        match self.observe().await {
            Ok(observed) => {
                self.report(pod, &observed);
                Next::Again
            }
            Err(_) => Next::Again,
        }
    }

    /// Ends all containers in their order, then the sandboxes. `grace` overrides the containers' own.
    pub(super) async fn kill_all(&self, pod: &Pod, observed: &Observed, grace: Option<i64>) -> Result<(), String> {
        let total = Duration::from_secs(u64::try_from(grace.unwrap_or_else(|| view::grace_seconds(pod))).unwrap_or(0));
        let began = tokio::time::Instant::now();
        for step in termination_order(pod, observed) {
            let left = total.saturating_sub(began.elapsed());
            let kills = step.0.iter().map(|(id, name)| {
                let message = format!("Stopping container {name}");
                async move { self.kill_container(pod, id, name, &message, None, Some(left)).await }
            });
            for r in futures::future::join_all(kills).await {
                r?;
            }
        }
        for s in observed.sandboxes() {
            self.agent.runtime.stop_sandbox(&s.id).await.map_err(|e| e.full_message())?;
        }
        Ok(())
    }

    /// Hook, signal, grace, kill. `probe` is the one that condemned it; `grace` what is left of the pod's time.
    pub(super) async fn kill_container(
        &self,
        pod: &Pod,
        id: &ContainerId,
        name: &str,
        message: &str,
        probe: Option<ProbeKind>,
        grace: Option<Duration>,
    ) -> Result<(), String> {
        let container = view::find_container(pod, name).map(|(_, c)| c);
        self.agent.recorder.normal(&self.agent.about_container(pod, name), "Killing", message);
        let own = || {
            let pod_grace = view::spec(pod).termination_grace_period_seconds.unwrap_or(30);
            let seconds = grace_of(container.as_ref().zip(probe).and_then(|(c, kind)| kind.of(c)), pod_grace);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let mut left = grace.unwrap_or_else(own);
        let hook = container.as_ref().and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.clone());
        if let (Some(c), Some(h)) = (&container, hook.filter(|_| left > Duration::ZERO)) {
            let began = tokio::time::Instant::now();
            let ip: Option<IpAddr> = self.old.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
            match tokio::time::timeout(left, hook::run(&self.agent, c, id, ip, &h)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, container = name, error = e, "PreStop hook failed");
                    self.agent.recorder.warning(&self.agent.about_container(pod, name), "FailedPreStopHook", "PreStopHook failed");
                }
                Err(_) => {
                    tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, container = name, "PreStop hook took the whole grace period")
                }
            }
            left = left.saturating_sub(began.elapsed());
        }
        let forced = grace.is_some_and(|g| g <= Duration::from_secs(1));
        let wait = if forced { left } else { left.max(LEAST) };
        self.agent.runtime.stop_container(id, wait).await.map_err(|e| e.full_message())
    }
}
