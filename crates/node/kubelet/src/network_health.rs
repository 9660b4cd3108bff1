//! Whether the parts of this node's network work, as its NetworkUnavailable condition tells it.
//!
//! Who runs a part (ways to other nodes, rules of Services, DNS) reports each try. One failure is a hiccup that the next try
//! mends; two in a row are a problem. Before anything was reported there is no condition. It decides nothing else: the
//! Ready condition is the runtime's, and taints follow from the condition in the node controller, as upstream.
use k8s_openapi::api::core::v1::NodeCondition;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As many failures in a row are told.
const PATIENCE: u32 = 2;

/// Shared by those who report and the node agent; cheap to clone.
#[derive(Clone, Default)]
pub struct NetworkHealth(Arc<Mutex<BTreeMap<&'static str, Part>>>);

#[derive(Default)]
struct Part {
    failures: u32,
    message: String,
}

impl NetworkHealth {
    /// A try of the part that the reason names, such as `DNSNotServed`; a failure with its text.
    pub fn report(&self, reason: &'static str, outcome: Result<(), String>) {
        let mut parts = self.0.lock();
        let part = parts.entry(reason).or_default();
        match outcome {
            Ok(()) => *part = Part::default(),
            Err(message) => (part.failures, part.message) = (part.failures.saturating_add(1), message),
        }
    }

    /// Without its times.
    pub(crate) fn condition(&self) -> Option<NodeCondition> {
        let parts = self.0.lock();
        if parts.is_empty() {
            return None;
        }
        let bad: Vec<_> = parts.iter().filter(|(_, part)| part.failures >= PATIENCE).collect();
        let (status, reason, message) = match bad.first() {
            None => ("False", "NetworkIsUp", "the pod network, the rules of Services and DNS are in place".to_owned()),
            Some((reason, _)) => ("True", **reason, bad.iter().map(|(_, part)| part.message.as_str()).collect::<Vec<_>>().join("; ")),
        };
        let (reason, message) = (Some(reason.to_owned()), Some(message));
        Some(NodeCondition { type_: "NetworkUnavailable".into(), status: status.into(), reason, message, ..NodeCondition::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(health: &NetworkHealth) -> Option<(String, String, String)> {
        health.condition().map(|c| (c.status, c.reason.unwrap_or_default(), c.message.unwrap_or_default()))
    }

    #[test]
    fn what_fails_twice_is_told_until_it_works() {
        let health = NetworkHealth::default();
        assert_eq!(told(&health), None);
        health.report("DNSNotServed", Err("port 53 is taken".into()));
        assert_eq!(told(&health).expect("a condition").0, "False");
        health.report("DNSNotServed", Err("port 53 is taken".into()));
        assert_eq!(told(&health), Some(("True".into(), "DNSNotServed".into(), "port 53 is taken".into())));
        health.report("ServiceRulesNotApplied", Err("no memory".into()));
        health.report("ServiceRulesNotApplied", Err("no memory".into()));
        assert_eq!(told(&health).expect("a condition").2, "port 53 is taken; no memory");
        health.report("DNSNotServed", Ok(()));
        assert_eq!(told(&health), Some(("True".into(), "ServiceRulesNotApplied".into(), "no memory".into())));
        health.report("ServiceRulesNotApplied", Ok(()));
        assert_eq!(told(&health).expect("a condition").1, "NetworkIsUp");
    }
}
