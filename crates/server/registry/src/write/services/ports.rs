//! Node ports, and the port where load balancers ask for health. A number is one Service's, whatever its protocols.
use super::{
    Refused, invalid,
    settle::{checks_health, gets_ports},
};
use crate::value::{int, list, set, text};
use skiff_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

const HEALTH: &str = "spec.healthCheckNodePort";
/// What a dry run calls a port that it would have been given: behind all that there are.
const STAND_IN: i64 = 32768;
/// Below this a dry run looks whether the next number is free.
const LOW: i64 = 100;

/// Ports on their way from the range to one Service.
pub(super) struct Ports<'a> {
    pub range: (u16, u16),
    pub taken: &'a mut HashSet<u16>,
    pub reserved: &'a mut Vec<u16>,
    pub random: &'a dyn Fn() -> u32,
    pub dry_run: bool,
    /// What a dry run was given.
    pub tried: BTreeSet<i64>,
}

const ALLOCATED: &str = "provided port is already allocated";

impl Ports<'_> {
    pub(super) fn give(&mut self, v: &mut Value, old: Option<&Value>) -> Result<(), Refused> {
        let mut ports = list(v, "spec.ports").to_vec();
        if has_ports(v) {
            match old {
                None => self.first(v, &mut ports)?,
                Some(old) => self.changed(v, old, &mut ports)?,
            }
            if !ports.is_empty() {
                set(v, "spec.ports", ports);
            }
        }
        if checks_health(v) && !old.is_some_and(checks_health) {
            self.health(v)?;
        }
        Ok(())
    }

    /// Ports of one number share a node port.
    fn first(&mut self, v: &Value, ports: &mut [Value]) -> Result<(), Refused> {
        let mut by_number: HashMap<i64, i64> = HashMap::new();
        let mut asked: HashMap<i64, i64> = HashMap::new();
        for p in ports.iter().filter(|p| int(p, "nodePort") != 0) {
            asked.entry(int(p, "port")).or_insert_with(|| int(p, "nodePort"));
        }
        for (i, p) in ports.iter_mut().enumerate() {
            let (number, own) = (int(p, "port"), int(p, "nodePort"));
            if own == 0 && !gets_ports(v) {
                continue;
            }
            match by_number.get(&number) {
                None => {
                    let given = match asked.get(&number).copied() {
                        Some(n) => self.take(n).map_err(|why| refused(i, n, &why)).map(|()| n)?,
                        None => self.pick()?,
                    };
                    by_number.insert(number, given);
                    set(p, "nodePort", given);
                }
                Some(given) if own == 0 => set(p, "nodePort", *given),
                Some(given) if own != *given => self.take(own).map_err(|why| refused(i, own, &why))?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn changed(&mut self, v: &Value, old: &Value, ports: &mut [Value]) -> Result<(), Refused> {
        let held = numbers(old);
        let (mut mine, mut seen) = (HashSet::new(), HashSet::new());
        for (i, p) in ports.iter_mut().enumerate() {
            let own = int(p, "nodePort");
            if own == 0 && !gets_ports(v) {
                continue;
            }
            let now = if own == 0 {
                let given = self.pick()?;
                set(p, "nodePort", given);
                given
            } else {
                if !held.contains(&own) && mine.insert(own) {
                    self.take(own).map_err(|why| refused(i, own, &why))?;
                }
                own
            };
            let protocol = super::protocol(p);
            if !seen.insert((protocol.clone(), now)) {
                return Err(Refused::Failed(format!("duplicate nodePort: {{{protocol} {now}}}")));
            }
        }
        Ok(())
    }

    fn health(&mut self, v: &mut Value) -> Result<(), Refused> {
        match int(v, HEALTH) {
            0 => {
                let given = self.pick().map_err(|_| Refused::Failed("failed to allocate a HealthCheck NodePort 0: range is full".into()))?;
                set(v, HEALTH, given);
            }
            n => self.take(n).map_err(|why| Refused::Failed(format!("failed to allocate requested HealthCheck NodePort {n}: {why}")))?,
        }
        Ok(())
    }

    /// A dry run takes what is free, in the range or not.
    fn take(&mut self, n: i64) -> Result<(), String> {
        let port = u16::try_from(n).ok();
        if self.dry_run {
            if port.is_some_and(|p| self.taken.contains(&p)) || self.tried.contains(&n) {
                return Err(ALLOCATED.into());
            }
            self.tried.insert(n);
            return Ok(());
        }
        let (low, high) = self.range;
        let Some(port) = port.filter(|p| (low..=high).contains(p)) else {
            return Err(format!("provided port is not in the valid range. The range of valid ports is {low}-{high}"));
        };
        if !self.taken.insert(port) {
            return Err(ALLOCATED.into());
        }
        self.reserved.push(port);
        Ok(())
    }

    fn pick(&mut self) -> Result<i64, Refused> {
        if self.dry_run {
            return Ok(self.stand_in());
        }
        let (low, high) = self.range;
        let span = u32::from(high.saturating_sub(low)) + 1;
        // The first ports of the range are left for people to choose.
        let kept = (span / 32).clamp(16.min(span / 2), 128);
        let rest = span - kept;
        let start = (self.random)() % rest.max(1);
        for i in (0..rest).map(|i| kept + (start + i) % rest).chain(0..kept) {
            let port = low + i as u16;
            if self.taken.insert(port) {
                self.reserved.push(port);
                return Ok(i64::from(port));
            }
        }
        Err(Refused::Failed("failed to allocate a nodePort: range is full".into()))
    }

    /// The next number that nobody has, in the range or not.
    fn stand_in(&mut self) -> i64 {
        let last = self.tried.last().copied().unwrap_or(STAND_IN);
        if let Some(free) = (last + 1..LOW).find(|n| self.take(*n).is_ok()) {
            return free;
        }
        self.tried.insert(last + 1);
        last + 1
    }
}

pub(super) fn has_ports(v: &Value) -> bool {
    matches!(text(v, "spec.type"), "NodePort" | "LoadBalancer")
}

fn numbers(v: &Value) -> HashSet<i64> {
    list(v, "spec.ports").iter().map(|p| int(p, "nodePort")).filter(|n| *n != 0).collect()
}

fn refused(i: usize, n: i64, why: &str) -> Refused {
    Refused::Invalid(vec![invalid(&format!("spec.ports[{i}].nodePort"), &n.into(), why)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn given(spec: Value, old: Option<Value>, taken: &[u16], dry_run: bool) -> Result<Value, String> {
        let (mut all, mut reserved) = (taken.iter().copied().collect(), Vec::new());
        let mut ports = Ports { range: (30000, 32767), taken: &mut all, reserved: &mut reserved, random: &|| 0, dry_run, tried: BTreeSet::new() };
        let mut v = json!({"spec": spec});
        let old = old.map(|spec| json!({"spec": spec}));
        match ports.give(&mut v, old.as_ref()) {
            Ok(()) => Ok(v["spec"].clone()),
            Err(Refused::Invalid(causes)) => Err(format!("{}: {}", causes[0].field, causes[0].message)),
            Err(Refused::Failed(why)) => Err(why),
        }
    }
    fn of(ports: &[(&str, i64, i64)]) -> Value {
        let ports: Vec<Value> = ports.iter().map(|(protocol, port, node)| json!({"protocol": protocol, "port": port, "nodePort": node})).collect();
        json!({"type": "NodePort", "ports": ports})
    }
    fn nodes(v: &Value) -> Vec<i64> {
        v["ports"].as_array().unwrap().iter().map(|p| p["nodePort"].as_i64().unwrap()).collect()
    }

    #[test]
    fn ports_of_a_new_service() {
        let made = |ports: &[(&str, i64, i64)], dry| given(of(ports), None, &[30124], dry).map(|v| nodes(&v));
        assert_eq!(made(&[("TCP", 53, 0), ("UDP", 53, 0)], false), Ok(vec![30086, 30086]));
        assert_eq!(made(&[("TCP", 53, 0), ("UDP", 53, 30007)], false), Ok(vec![30007, 30007]));
        assert_eq!(
            made(&[("TCP", 1, 30001), ("UDP", 2, 30124)], false),
            Err("spec.ports[1].nodePort: Invalid value: 30124: provided port is already allocated".into())
        );
        assert_eq!(
            made(&[("TCP", 1, 7)], false),
            Err("spec.ports[0].nodePort: Invalid value: 7: provided port is not in the valid range. The range of valid ports is 30000-32767".into())
        );
        // A dry run gives numbers that are nobody's.
        assert_eq!(made(&[("TCP", 1, 7)], true), Ok(vec![7]));
        assert_eq!(made(&[("TCP", 1, 0), ("TCP", 2, 0)], true), Ok(vec![32769, 32770]));
        assert_eq!(made(&[("TCP", 1, 7), ("TCP", 2, 0)], true), Ok(vec![7, 8]));
    }

    #[test]
    fn ports_of_a_changed_service() {
        let old = of(&[("TCP", 1, 30001)]);
        let now = |ports: &[(&str, i64, i64)]| given(of(ports), Some(old.clone()), &[30001, 30124], false).map(|v| nodes(&v));
        assert_eq!(now(&[("TCP", 1, 30001), ("UDP", 1, 30001)]), Ok(vec![30001, 30001]));
        assert_eq!(now(&[("TCP", 1, 30124)]), Err("spec.ports[0].nodePort: Invalid value: 30124: provided port is already allocated".into()));
        assert_eq!(now(&[("TCP", 1, 30001), ("TCP", 2, 30001)]), Err("duplicate nodePort: {TCP 30001}".into()));
    }

    #[test]
    fn the_port_that_tells_of_health() {
        let local = |n: i64| json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": n});
        assert_eq!(given(local(0), None, &[], false).unwrap()["healthCheckNodePort"], 30086);
        assert_eq!(
            given(local(30124), None, &[30124], false),
            Err("failed to allocate requested HealthCheck NodePort 30124: provided port is already allocated".into())
        );
        assert_eq!(given(local(30001), Some(local(30001)), &[30001], false).unwrap()["healthCheckNodePort"], 30001);
    }
}
