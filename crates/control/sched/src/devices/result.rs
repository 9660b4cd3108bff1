//! The allocation as the claim's status tells it.
use super::search::Pick;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceClass, DeviceRequestAllocationResult, ResourceClaim,
};
use std::collections::BTreeMap;

pub(super) fn allocation(claim: &ResourceClaim, classes: &BTreeMap<String, DeviceClass>, picks: &[Pick<'_, '_>], node: &str) -> AllocationResult {
    let results = picks.iter().map(|p| DeviceRequestAllocationResult {
        request: p.way.name.clone(),
        driver: p.candidate.id.0.clone(),
        pool: p.candidate.id.1.clone(),
        device: p.candidate.id.2.clone(),
        admin_access: p.way.admin.then_some(true),
        tolerations: (!p.way.tolerations.is_empty()).then(|| p.way.tolerations.iter().map(|t| (*t).clone()).collect()),
        ..Default::default()
    });
    let devices = DeviceAllocationResult { results: Some(results.collect()), config: Some(configs(claim, classes, picks)).filter(|c| !c.is_empty()) };
    AllocationResult { devices: Some(devices), node_selector: reached(picks, node), ..Default::default() }
}

/// The settings of the classes that were used, and then the claim's own, which go before them.
fn configs(claim: &ResourceClaim, classes: &BTreeMap<String, DeviceClass>, picks: &[Pick<'_, '_>]) -> Vec<DeviceAllocationConfiguration> {
    let mut ways: Vec<(&str, &str)> = picks.iter().map(|p| (p.way.name.as_str(), p.way.class)).collect();
    ways.dedup();
    let mut out = Vec::new();
    for (request, class) in &ways {
        for c in classes.get(*class).iter().filter_map(|c| c.spec.as_ref()).flat_map(|s| s.config.iter().flatten()) {
            out.push(DeviceAllocationConfiguration { source: "FromClass".into(), requests: Some(vec![(*request).to_owned()]), opaque: c.opaque.clone() });
        }
    }
    let used = |r: &String| ways.iter().any(|(way, _)| way == r || way.split('/').next() == Some(r.as_str()));
    for c in claim.spec.iter().filter_map(|s| s.devices.as_ref()).flat_map(|d| d.config.iter().flatten()) {
        let all: Vec<&String> = c.requests.iter().flatten().collect();
        if all.is_empty() || all.iter().any(|r| used(r)) {
            out.push(DeviceAllocationConfiguration { source: "FromClaim".into(), requests: c.requests.clone(), opaque: c.opaque.clone() });
        }
    }
    out
}

/// From where all of the devices are reached; None: from everywhere.
fn reached(picks: &[Pick<'_, '_>], node: &str) -> Option<NodeSelector> {
    if picks.iter().any(|p| p.candidate.local) {
        let name = NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.to_owned()]) };
        return Some(NodeSelector { node_selector_terms: vec![NodeSelectorTerm { match_fields: Some(vec![name]), match_expressions: None }] });
    }
    let mut term = NodeSelectorTerm::default();
    for t in picks.iter().filter_map(|p| p.candidate.selector).filter_map(|s| s.node_selector_terms.first()) {
        for (own, more) in [(&mut term.match_expressions, &t.match_expressions), (&mut term.match_fields, &t.match_fields)] {
            for r in more.iter().flatten() {
                let all = own.get_or_insert_default();
                if !all.contains(r) {
                    all.push(r.clone());
                }
            }
        }
    }
    (term != NodeSelectorTerm::default()).then(|| NodeSelector { node_selector_terms: vec![term] })
}
