//! EndpointSlices and Endpoints of Services, out of the pods that they select.
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

mod legacy;
mod mirror;
mod plan;
mod slices;
mod trigger;

pub(crate) use legacy::start as start_endpoints;
pub(crate) use mirror::start as start_mirroring;
pub(crate) use slices::start as start_slices;

use crate::run::Deps;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use skiff_controller::Queue;
use skiff_informer::{Change, Row, Typed};
use skiff_meta::LabelSelector;
use std::sync::Arc;

/// What both controllers read.
struct Sources {
    services: Typed<Service>,
    pods: Typed<Pod>,
    nodes: Typed<Node>,
}

impl Sources {
    /// Informers whose changes fill the queue with the keys of services.
    fn start(deps: &Deps, queue: &Queue) -> Self {
        let s = Self { services: deps.informers.of(), pods: deps.informers.of(), nodes: deps.informers.of() };
        let q = queue.clone();
        s.services.subscribe(move |c| q.add(c.key()));
        let (q, services) = (queue.clone(), s.services.shared().clone());
        s.pods.subscribe(move |c| {
            let mut tell = |row: &Row| {
                for service in services.rows(row.namespace(), &LabelSelector::everything()) {
                    if selector(&service).is_some_and(|sel| row.selected_by(&sel)) {
                        q.add(service.key.clone());
                    }
                }
            };
            both(c, &mut tell);
        });
        s
    }
    /// The service's pods, when it selects any.
    fn selected(&self, service: &Service) -> Option<Vec<Pod>> {
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.as_ref().filter(|s| !s.is_empty())?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return None;
        }
        let selector = LabelSelector::from_map(selector.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        Some(self.pods.list(service.metadata.namespace.as_deref().unwrap_or_default(), &selector))
    }
    fn zone(&self, node: &str) -> Option<String> {
        self.nodes.row("", node)?.label("topology.kubernetes.io/zone").map(str::to_owned)
    }
}

/// The state after a change, and the one before when its labels were others.
fn both(c: &Change, tell: &mut impl FnMut(&Row)) {
    if let Some(new) = &c.new {
        tell(new);
    }
    if let Some(old) = c.old.as_ref().filter(|o| c.new.as_ref().is_none_or(|n| n.labels != o.labels)) {
        tell(old);
    }
}

fn selector(service: &Arc<Row>) -> Option<LabelSelector> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct View {
        spec: Spec,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Spec {
        selector: std::collections::BTreeMap<String, String>,
    }
    let map = skiff_json::from_slice::<View>(&service.bytes).ok()?.spec.selector;
    (!map.is_empty()).then(|| LabelSelector::from_map(map.iter().map(|(k, v)| (k.as_str(), v.as_str()))))
}
