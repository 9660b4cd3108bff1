//! Whether pods are driven away from nodes that are not ready.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>
//!
//! One node of many is probably dead. When all are, probably the server is cut off, and pods stay. When many of a zone
//! are, the zone's network is in doubt: only large zones go on, slowly.

use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two nodes of a zone.
const PAUSE: Duration = Duration::from_secs(10);
/// The same in a large zone that is in doubt.
const LONG_PAUSE: Duration = Duration::from_secs(100);
/// A zone of more nodes is large.
const LARGE: usize = 50;
/// Percent of a zone's nodes that put it in doubt.
const DOUBT: usize = 55;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evict {
    Yes,
    /// Those that are tainted already stay so.
    Later,
    No,
}

/// How many nodes are ready, zone by zone.
#[derive(Default)]
pub(crate) struct Zones {
    nodes: BTreeMap<String, (String, bool)>,
    zones: BTreeMap<String, Zone>,
}

#[derive(Default)]
struct Zone {
    ready: usize,
    unready: usize,
    /// Before this, no further node.
    next: Option<Instant>,
    /// The nodes that are driven empty.
    chosen: Vec<String>,
}

impl Zone {
    fn all(&self) -> usize {
        self.ready + self.unready
    }
    /// None: not at all.
    fn pause(&self) -> Option<Duration> {
        let doubt = self.ready > 0 && self.unready > 2 && self.unready * 100 >= self.all() * DOUBT;
        match (doubt, self.all() > LARGE) {
            (false, _) => Some(PAUSE),
            (true, true) => Some(LONG_PAUSE),
            (true, false) => None,
        }
    }
}

fn zone_of(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).map_or("", String::as_str);
    format!("{}:{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

impl Zones {
    /// Counts a node as it is now.
    pub fn note(&mut self, name: &str, node: &Node, ready: bool) {
        let now = (zone_of(node), ready);
        if self.nodes.get(name) == Some(&now) {
            return;
        }
        self.forget(name);
        let zone = self.zones.entry(now.0.clone()).or_default();
        *if ready { &mut zone.ready } else { &mut zone.unready } += 1;
        self.nodes.insert(name.to_owned(), now);
    }
    pub fn forget(&mut self, name: &str) {
        let Some((zone, ready)) = self.nodes.remove(name) else { return };
        if let Some(z) = self.zones.get_mut(&zone) {
            *if ready { &mut z.ready } else { &mut z.unready } -= 1;
            z.chosen.retain(|n| n != name);
            if z.all() == 0 {
                self.zones.remove(&zone);
            }
        }
    }
    /// Whether pods of this node, which is not ready, are to be driven away now.
    pub fn evict(&mut self, name: &str, now: Instant) -> Evict {
        if self.zones.values().all(|z| z.ready == 0) {
            self.zones.values_mut().for_each(|z| z.chosen.clear());
            return Evict::No;
        }
        let Some((zone, ready)) = self.nodes.get(name) else { return Evict::Later };
        let Some(zone) = self.zones.get_mut(zone).filter(|_| !ready) else { return Evict::Later };
        if zone.chosen.iter().any(|n| n == name) {
            return Evict::Yes;
        }
        let Some(pause) = zone.pause() else { return Evict::Later };
        if zone.next.is_some_and(|at| at > now) {
            return Evict::Later;
        }
        zone.next = Some(now + pause);
        zone.chosen.push(name.to_owned());
        Evict::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(ready: usize, unready: usize) -> Zones {
        let mut zones = Zones::default();
        for i in 0..ready + unready {
            zones.note(&format!("n{i}"), &Node::default(), i >= unready);
        }
        zones
    }

    #[test]
    fn one_after_the_other() {
        let start = Instant::now();
        let mut z = zones(3, 2);
        assert_eq!(z.evict("n0", start), Evict::Yes);
        assert_eq!(z.evict("n1", start), Evict::Later);
        assert_eq!(z.evict("n0", start), Evict::Yes);
        assert_eq!(z.evict("n1", start + PAUSE), Evict::Yes);
        assert_eq!(z.evict("n2", start + PAUSE), Evict::Later);
    }

    #[test]
    fn when_all_are_gone_pods_stay() {
        let now = Instant::now();
        let mut z = zones(0, 2);
        assert_eq!(z.evict("n0", now), Evict::No);
        z.note("n1", &Node::default(), true);
        assert_eq!(z.evict("n0", now), Evict::Yes);
        z.forget("n1");
        assert_eq!(z.evict("n0", now), Evict::No);
    }

    #[test]
    fn a_zone_in_doubt_is_left_alone_unless_it_is_large() {
        let now = Instant::now();
        assert_eq!(zones(3, 3).evict("n0", now), Evict::Yes);
        assert_eq!(zones(2, 3).evict("n0", now), Evict::Later);
        let mut large = zones(20, 40);
        assert_eq!(large.evict("n0", now), Evict::Yes);
        assert_eq!(large.evict("n1", now + PAUSE), Evict::Later);
        assert_eq!(large.evict("n1", now + LONG_PAUSE), Evict::Yes);
    }

    #[test]
    fn a_node_that_moves_is_counted_once() {
        let mut z = zones(1, 1);
        let moved: Node = skiff_json::from_value(skiff_json::json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "b"}}})).unwrap();
        z.note("n1", &moved, true);
        assert_eq!(z.zones.values().map(Zone::all).collect::<Vec<_>>(), [1, 1]);
        // Its own zone has none that is ready, but the cluster has.
        assert_eq!(z.evict("n0", Instant::now()), Evict::Yes);
    }
}
