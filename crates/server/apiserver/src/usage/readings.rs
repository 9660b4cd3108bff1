//! What kubelets read off their control groups, and what was used between two readings. Pure.
use skiff_meta::Timestamp;
use skiff_registry::{Amounts, Usage};
use std::collections::BTreeMap;

/// A reading: CPU time since the start, and memory at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    pub cpu_seconds: f64,
    /// Milliseconds since 1970.
    pub at: i64,
    pub bytes: u64,
}

/// The readings of one node at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    pub node: Option<Reading>,
    /// By namespace and pod, then by container.
    pub pods: BTreeMap<(String, String), BTreeMap<String, Reading>>,
}

/// So many pods of a node are read at the most.
const MOST: usize = 10_000;

impl Readings {
    /// Reads a kubelet's `/metrics/resource`; what it doesn't know it passes over.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let Some((name, labels, value, at)) = sample(line) else { continue };
            let reading = match name {
                "node_cpu_usage_seconds_total" | "node_memory_working_set_bytes" => out.node.get_or_insert_default(),
                "container_cpu_usage_seconds_total" | "container_memory_working_set_bytes" => {
                    let label = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned()).unwrap_or_default();
                    let key = (label("namespace"), label("pod"));
                    if out.pods.len() >= MOST && !out.pods.contains_key(&key) {
                        continue;
                    }
                    out.pods.entry(key).or_default().entry(label("container")).or_default()
                }
                _ => continue,
            };
            if name.contains("_cpu_") {
                (reading.cpu_seconds, reading.at) = (value, at);
            } else {
                reading.bytes = value.max(0.0) as u64;
            }
        }
        out
    }
}

type Sample<'a> = (&'a str, Vec<(&'a str, &'a str)>, f64, i64);

/// A line of Prometheus' text form with its time. Labels are names of objects: nothing in them is escaped.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (head, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            ((name, labels), rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            ((name, ""), rest)
        }
    };
    let labels = head.1.split(',').filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.trim(), v.trim_matches('"')))).collect();
    let mut numbers = rest.split_whitespace();
    Some((head.0.trim(), labels, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What was used between two readings; None when the second is no later, or began anew.
fn between(before: &Reading, after: &Reading) -> Option<(Amounts, u64)> {
    let millis = u64::try_from(after.at - before.at).ok().filter(|m| *m > 0)?;
    let seconds = after.cpu_seconds - before.cpu_seconds;
    (seconds >= 0.0).then(|| (Amounts { nanocores: (seconds * 1e12 / millis as f64) as u64, bytes: after.bytes }, millis))
}

pub fn of_node(before: &Readings, after: &Readings) -> Option<Usage> {
    let (b, a) = (before.node.as_ref()?, after.node.as_ref()?);
    let (amounts, window_millis) = between(b, a)?;
    Some(Usage { at: Timestamp(a.at / 1000), window_millis, parts: vec![(String::new(), amounts)] })
}

/// Pods all of whose containers were there both times.
pub fn of_pods(before: &Readings, after: &Readings) -> BTreeMap<(String, String), Usage> {
    let usage = |key: &(String, String), containers: &BTreeMap<String, Reading>| {
        let old = before.pods.get(key)?;
        let (mut u, mut parts) = (Usage::default(), Vec::new());
        for (name, a) in containers {
            let (amounts, millis) = between(old.get(name)?, a)?;
            u.at = u.at.max(Timestamp(a.at / 1000));
            u.window_millis = u.window_millis.max(millis);
            parts.push((name.clone(), amounts));
        }
        Some(Usage { parts, ..u })
    };
    after.pods.iter().filter_map(|(key, containers)| Some((key.clone(), usage(key, containers)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(seconds: f64, at: i64) -> Readings {
        Readings::parse(&format!(
            "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {seconds} {at}\nnode_memory_working_set_bytes 1048576 {at}\n\
             container_cpu_usage_seconds_total{{container=\"c\",namespace=\"n\",pod=\"p\"}} {seconds} {at}\ncontainer_memory_working_set_bytes{{container=\"c\",namespace=\"n\",pod=\"p\"}} 4096 {at}\n\
             pod_cpu_usage_seconds_total{{namespace=\"n\",pod=\"p\"}} 1 {at}\nbroken{{\n"
        ))
    }

    #[test]
    fn rates_between_two_readings() {
        let (before, after) = (readings(10.0, 1000), readings(10.5, 3000));
        let node = of_node(&before, &after).unwrap();
        assert_eq!((node.parts[0].1, node.window_millis), (Amounts { nanocores: 250_000_000, bytes: 1 << 20 }, 2000));
        let pods = of_pods(&before, &after);
        assert_eq!(pods[&("n".into(), "p".into())].parts, [("c".to_owned(), Amounts { nanocores: 250_000_000, bytes: 4096 })]);
    }

    #[test]
    fn what_began_anew_is_left_out() {
        let (before, after) = (readings(10.0, 1000), readings(0.1, 3000));
        assert!(of_node(&before, &after).is_none() && of_pods(&before, &after).is_empty());
        assert!(of_pods(&Readings::default(), &after).is_empty());
        assert!(of_pods(&before, &before).is_empty());
    }
}
