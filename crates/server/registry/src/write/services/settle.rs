//! What a Service is meant to say when a client leaves out what it was given, or names its address once where two fields
//! tell it. Pure.
use crate::value::{at, copy, int, list, set, text};
use skiff_json::{Value, json};
use std::collections::{HashMap, HashSet};

const ADDRESS: &str = "spec.clusterIP";
const ADDRESSES: &str = "spec.clusterIPs";
const HEALTH: &str = "spec.healthCheckNodePort";

pub(super) fn settle(v: &mut Value, old: Option<&Value>) {
    let Some(old) = old else {
        let one = text(v, ADDRESS).to_owned();
        if !one.is_empty() && list(v, ADDRESSES).is_empty() {
            set(v, ADDRESSES, json!([one]));
        }
        return;
    };
    keep_given(v, old);
    follow_single(v, old);
}

pub(super) fn has_address(v: &Value) -> bool {
    text(v, "spec.type") != "ExternalName"
}
pub(super) fn checks_health(v: &Value) -> bool {
    text(v, "spec.type") == "LoadBalancer" && text(v, "spec.externalTrafficPolicy") == "Local"
}
/// Whether its ports get node ports that nobody names.
pub(super) fn gets_ports(v: &Value) -> bool {
    match text(v, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => at(v, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false),
        _ => false,
    }
}

/// What the same Service was given before, it keeps.
fn keep_given(v: &mut Value, old: &Value) {
    if has_address(old) && has_address(v) {
        if text(v, ADDRESS).is_empty() {
            copy(v, old, ADDRESS);
        }
        if list(v, ADDRESSES).is_empty() && !list(old, ADDRESSES).is_empty() {
            copy(v, old, ADDRESSES);
        }
    }
    if gets_ports(old) && gets_ports(v) {
        let numbers = |v: &Value| list(v, "spec.ports").iter().map(|p| int(p, "nodePort")).filter(|n| *n != 0).collect::<HashSet<_>>();
        let in_both: HashSet<i64> = numbers(old).intersection(&numbers(v)).copied().collect();
        let before: HashMap<&str, i64> = list(old, "spec.ports").iter().map(|p| (text(p, "name"), int(p, "nodePort"))).collect();
        for p in v.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten().filter(|p| int(p, "nodePort") == 0) {
            if let Some(n) = before.get(text(p, "name")).copied().filter(|n| *n != 0 && !in_both.contains(n)) {
                set(p, "nodePort", n);
            }
        }
    }
    if checks_health(old) && checks_health(v) && int(v, HEALTH) == 0 {
        copy(v, old, HEALTH);
    }
}

/// A client that knows the single address only changes both by it.
fn follow_single(v: &mut Value, old: &Value) {
    let (one, was) = (text(v, ADDRESS).to_owned(), text(old, ADDRESS));
    let same = list(v, ADDRESSES) == list(old, ADDRESSES);
    if one == was && list(v, ADDRESSES).is_empty() && !list(old, ADDRESSES).is_empty() {
        copy(v, old, ADDRESSES);
    } else if one != was && same {
        if one.is_empty() {
            crate::value::remove(v, ADDRESSES);
        } else {
            set(v, ADDRESSES, json!([one]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn what_was_given_stays() {
        let old = service(
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009,
            "ports": [{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]}),
        );
        let mut v = service(
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"name": "b", "port": 7}, {"name": "a", "port": 1}, {"name": "c", "port": 9, "nodePort": 30001}]}),
        );
        settle(&mut v, Some(&old));
        assert_eq!(
            (&v["spec"]["clusterIP"], &v["spec"]["clusterIPs"], &v["spec"]["healthCheckNodePort"]),
            (&json!("10.0.0.1"), &json!(["10.0.0.1"]), &json!(30009))
        );
        let ports: Vec<i64> = list(&v, "spec.ports").iter().map(|p| int(p, "nodePort")).collect();
        assert_eq!(ports, [30002, 0, 30001]);
    }

    #[test]
    fn the_single_address_speaks_for_the_list() {
        let old = service(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}));
        for (sent, want) in [
            (json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}), json!(["10.0.0.2"])),
            (json!({"clusterIP": "10.0.0.1"}), json!(["10.0.0.1"])),
            (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["x"]}), json!(["x"])),
            (json!({"clusterIP": "10.0.0.2", "clusterIPs": ["x"]}), json!(["x"])),
        ] {
            let mut v = service(sent);
            settle(&mut v, Some(&old));
            assert_eq!(v["spec"]["clusterIPs"], want);
        }
        let mut fresh = service(json!({"clusterIP": "None"}));
        settle(&mut fresh, None);
        assert_eq!(fresh["spec"]["clusterIPs"], json!(["None"]));
    }
}
