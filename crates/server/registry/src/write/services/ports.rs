//! Node ports.
use super::{Allocator, Reserved, Taken, invalid, protocol};
use crate::value;
use serde_json::Value;
use skiff_meta::Cause;
use std::collections::{HashMap, HashSet};

impl Allocator {
    pub(super) fn ports(&self, v: &mut Value, old: Option<&Value>, held: &HashSet<(String, u16)>, taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<(), Cause> {
        let kind = value::text(v, "spec.type").to_owned();
        let balancer = kind == "LoadBalancer";
        let wants = kind == "NodePort" || (balancer && value::at(v, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false));
        let mut before: HashMap<(String, i64), i64> = HashMap::new();
        for p in old.map(|o| value::list(o, "spec.ports")).unwrap_or_default() {
            before.insert((protocol(p), value::int(p, "port")), value::int(p, "nodePort"));
        }
        let was_same = old.is_some_and(|o| value::text(o, "spec.type") != "NodePort" && value::text(o, "spec.type") != "LoadBalancer");
        let mut shared: HashMap<i64, u16> = HashMap::new();
        for p in v.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if kind == "ClusterIP" || kind.is_empty() || kind == "ExternalName" {
                // Going back to a ClusterIP gives the ports back.
                if old.is_some() && !was_same {
                    value::remove(p, "nodePort");
                }
                continue;
            }
            let (proto, number) = (protocol(p), value::int(p, "port"));
            let mut asked = value::int(p, "nodePort");
            if asked == 0 {
                asked = before.get(&(proto.clone(), number)).copied().unwrap_or(0);
            }
            if asked == 0 && !wants {
                continue;
            }
            let port = match (asked, shared.get(&number)) {
                // One port number for TCP and UDP of the same service port.
                (0, Some(&n)) if taken.ports.insert((proto.clone(), n)) => {
                    reserved.ports.push((proto, n));
                    n
                }
                (0, _) => self.pick_port(&proto, taken, reserved, random)?,
                (n, _) => self.take_port(n, &proto, held, taken, reserved)?,
            };
            shared.insert(number, port);
            p["nodePort"] = port.into();
        }
        if balancer && value::text(v, "spec.externalTrafficPolicy") == "Local" && value::int(v, "spec.healthCheckNodePort") == 0 {
            let n = self.pick_port("TCP", taken, reserved, random)?;
            value::set(v, "spec.healthCheckNodePort", n);
        }
        Ok(())
    }

    fn take_port(&self, n: i64, protocol: &str, held: &HashSet<(String, u16)>, taken: &mut Taken, reserved: &mut Reserved) -> Result<u16, Cause> {
        let (low, high) = self.ranges.ports;
        let outside = || invalid("spec.ports[0].nodePort", &n.into(), &format!("provided port is not in the valid range. The range of valid ports is {low}-{high}"));
        let port = u16::try_from(n).map_err(|_| outside())?;
        let key = (protocol.to_owned(), port);
        if held.contains(&key) {
            return Ok(port);
        }
        if port < low || port > high {
            return Err(outside());
        }
        if !taken.ports.insert(key.clone()) {
            return Err(invalid("spec.ports[0].nodePort", &n.into(), "provided port is already allocated"));
        }
        reserved.ports.push(key);
        Ok(port)
    }

    fn pick_port(&self, protocol: &str, taken: &mut Taken, reserved: &mut Reserved, random: &dyn Fn() -> u32) -> Result<u16, Cause> {
        let (low, high) = self.ranges.ports;
        let span = u32::from(high.saturating_sub(low)) + 1;
        // The first ports of the range are left for people to choose.
        let kept = (span / 32).clamp(16.min(span / 2), 128);
        let rest = span - kept;
        let start = random() % rest.max(1);
        for i in (0..rest).map(|i| kept + (start + i) % rest).chain(0..kept) {
            let port = low + i as u16;
            let key = (protocol.to_owned(), port);
            if taken.ports.insert(key.clone()) {
                reserved.ports.push(key);
                return Ok(port);
            }
        }
        Err(invalid("spec.ports[0].nodePort", &Value::Null, "failed to allocate a nodePort: range is full"))
    }
}
