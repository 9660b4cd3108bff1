//! The order in which a pod's containers end.
//!
//! Regular, ephemeral and unfinished init containers go first, all at once; when they are gone the sidecars, the last
//! started first, one after the other: <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
use crate::{Observed, view};
use k8s_openapi::api::core::v1::Pod;
use skiff_cri::{ContainerId, ContainerState};

/// Containers that end together; the next step begins when all have ended or the grace period is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminationStep(pub Vec<(ContainerId, String)>);

pub fn termination_order(pod: &Pod, observed: &Observed) -> Vec<TerminationStep> {
    let alive = |s: ContainerState| matches!(s, ContainerState::Running | ContainerState::Unknown);
    let sidecars: Vec<&str> = view::init_containers(pod).iter().filter(|c| view::is_sidecar(c)).map(|c| c.name.as_str()).collect();
    let running: Vec<_> = observed.containers().iter().filter(|c| alive(c.state)).collect();
    let named = |c: &skiff_cri::ContainerStatus| (c.id.clone(), c.metadata.name.clone());
    let first: Vec<_> = running.iter().filter(|c| !sidecars.contains(&c.metadata.name.as_str())).map(|c| named(c)).collect();
    let mut steps = Vec::new();
    if !first.is_empty() {
        steps.push(TerminationStep(first));
    }
    for name in sidecars.iter().rev() {
        let step: Vec<_> = running.iter().filter(|c| c.metadata.name == *name).map(|c| named(c)).collect();
        if !step.is_empty() {
            steps.push(TerminationStep(step));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::{observed, pod};
    use ContainerState::*;
    #[test]
    fn sidecars_last_in_reverse() {
        let p = pod(
            r#"{"initContainers":[{"name":"once"},{"name":"s1","restartPolicy":"Always"},{"name":"s2","restartPolicy":"Always"}],"containers":[{"name":"a"},{"name":"b"}]}"#,
        );
        let o = observed(&[("once", Exited, 0), ("s1", Running, 0), ("s2", Running, 0), ("a", Running, 0), ("b", Running, 0)]);
        let names: Vec<Vec<String>> = termination_order(&p, &o).into_iter().map(|s| s.0.into_iter().map(|(_, n)| n).collect()).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["s2"], vec!["s1"]]);
    }
}
