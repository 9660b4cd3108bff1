//! Nodes, namespaces, configuration, events, quotas, devices.
use super::{Columns, cells::*};
use crate::value::{at, flag, int, list, map, text};
use skiff_json::{Key, Value};
use skiff_meta::Timestamp;

pub fn node() -> Columns {
    Columns::of("Name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*", |v, now| {
        let address = |kind: &str| list(v, "status.addresses").iter().find(|a| a["type"] == kind).map_or("<none>", |a| text(a, "address")).to_owned();
        let info = |key: &str| text_or(&v["status"]["nodeInfo"], key, "<unknown>").to_owned();
        let arch = text(v, "status.nodeInfo.architecture");
        let kernel = if arch.is_empty() { info("kernelVersion") } else { format!("{} ({arch})", info("kernelVersion")) };
        vec![
            name(v),
            node_status(v).into(),
            roles(v).into(),
            age(v, now).into(),
            text(v, "status.nodeInfo.kubeletVersion").into(),
            address("InternalIP").into(),
            address("ExternalIP").into(),
            info("osImage").into(),
            kernel.into(),
            info("containerRuntimeVersion").into(),
        ]
    })
}
fn node_status(v: &Value) -> String {
    let ready = match condition(v, "Ready") {
        None => "Unknown",
        Some(c) if c["status"] == "True" => "Ready",
        Some(_) => "NotReady",
    };
    if flag(v, "spec.unschedulable") { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}
fn roles(v: &Value) -> String {
    let role = |(k, x): (&Key, &Value)| match k.strip_prefix("node-role.kubernetes.io/") {
        Some(r) if !r.is_empty() => Some(r.to_owned()),
        None if k == "kubernetes.io/role" => x.as_str().filter(|s| !s.is_empty()).map(str::to_owned),
        _ => None,
    };
    let mut all: Vec<String> = map(v, "metadata.labels").into_iter().flatten().filter_map(role).collect();
    all.sort();
    all.dedup();
    or(&all.join(","), "<none>").to_owned()
}

pub fn namespace() -> Columns {
    Columns::of("Name|Status|Age", |v, now| vec![name(v), text(v, "status.phase").into(), age(v, now).into()])
}

fn entries(v: &Value, path: &str) -> usize {
    map(v, path).map_or(0, skiff_json::Map::len)
}
pub fn config_map() -> Columns {
    Columns::of("Name|Data|Age", |v, now| vec![name(v), (entries(v, "data") + entries(v, "binaryData")).into(), age(v, now).into()])
}
pub fn secret() -> Columns {
    Columns::of("Name|Type|Data|Age", |v, now| vec![name(v), text(v, "type").into(), entries(v, "data").into(), age(v, now).into()])
}
pub fn limit_range() -> Columns {
    Columns::name_and_creation()
}
pub fn lease() -> Columns {
    Columns::of("Name|Holder|Age", |v, now| vec![name(v), text(v, "spec.holderIdentity").into(), age(v, now).into()])
}
pub fn runtime_class() -> Columns {
    Columns::of("Name|Handler|Age", |v, now| vec![name(v), text(v, "handler").into(), age(v, now).into()])
}

pub fn component_status() -> Columns {
    Columns::of("Name|Status|Message|Error", |v, _| {
        let healthy = list(v, "conditions").iter().find(|c| c["type"] == "Healthy");
        let status = match healthy {
            None => "Unknown",
            Some(c) if c["status"] == "True" => "Healthy",
            Some(_) => "Unhealthy",
        };
        let of = |key| healthy.map_or("", |c| text(c, key)).to_owned();
        vec![name(v), status.into(), of("message").into(), of("error").into()]
    })
}

pub fn resource_quota() -> Columns {
    Columns::of("Name|Request|Limit|Age", |v, now| {
        let mut names: Vec<&Key> = map(v, "status.hard").into_iter().flatten().map(|(k, _)| k).collect();
        names.sort();
        let show = |k: &&Key| {
            let of = |side: &str| map(v, &format!("status.{side}")).and_then(|m| m.get(k)?.as_str()).unwrap_or("0").to_owned();
            format!("{k}: {}/{}", of("used"), of("hard"))
        };
        let (limits, requests): (Vec<_>, Vec<_>) = names.into_iter().partition(|k| k.starts_with("limits."));
        let join = |all: Vec<&Key>| all.iter().map(show).collect::<Vec<_>>().join(", ");
        vec![name(v), join(requests).into(), join(limits).into(), age(v, now).into()]
    })
}

/// Events of both groups: each is looked at through the names that it has.
pub fn event() -> Columns {
    Columns::of("Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*", |v, now| {
        let old = |core: &str, new: &str| if at(v, core).is_some() { core.to_owned() } else { new.to_owned() };
        let first = seen(v, &old("firstTimestamp", "deprecatedFirstTimestamp"), now).unwrap_or_else(|| since(v, "eventTime", now));
        let last = match at(v, "series") {
            Some(_) => since(v, "series.lastObservedTime", now),
            None => seen(v, &old("lastTimestamp", "deprecatedLastTimestamp"), now).unwrap_or_else(|| first.clone()),
        };
        let count = match at(v, "series") {
            Some(s) => int(s, "count"),
            None => int(v, &old("count", "deprecatedCount")).max(1),
        };
        let object = &v[old("involvedObject", "regarding")];
        let kind = text(object, "kind").to_lowercase();
        let target = if text(object, "name").is_empty() { kind } else { format!("{kind}/{}", text(object, "name")) };
        let source = &v[old("source", "deprecatedSource")];
        let component = or(text(source, "component"), text(v, &old("reportingComponent", "reportingController"))).to_owned();
        let host = or(text(source, "host"), text(v, "reportingInstance")).to_owned();
        let source = if host.is_empty() { component } else { format!("{component}, {host}") };
        vec![
            last.into(),
            text(v, "type").into(),
            text(v, "reason").into(),
            target.into(),
            text(object, "fieldPath").into(),
            source.into(),
            text(v, &old("message", "note")).trim().into(),
            first.into(),
            count.into(),
            name(v),
        ]
    })
}
fn seen(v: &Value, path: &str, now: Timestamp) -> Option<String> {
    at(v, path).map(|_| since(v, path, now))
}

pub fn resource_claim() -> Columns {
    Columns::of("Name|State|Age", |v, now| {
        let deleted = at(v, "metadata.deletionTimestamp").is_some();
        let allocated = at(v, "status.allocation").is_some();
        let states = [
            (deleted, "deleted"),
            (!allocated && !deleted, "pending"),
            (allocated, "allocated"),
            (allocated && !list(v, "status.reservedFor").is_empty(), "reserved"),
        ];
        vec![name(v), joined(states.iter().filter(|(is, _)| *is).map(|(_, s)| *s)).into(), age(v, now).into()]
    })
}
pub fn resource_slice() -> Columns {
    Columns::of("Name|Node|Driver|Pool|Age", |v, now| {
        vec![name(v), text(v, "spec.nodeName").into(), text(v, "spec.driver").into(), text(v, "spec.pool.name").into(), age(v, now).into()]
    })
}
pub fn device_taint_rule() -> Columns {
    Columns::of("Name|Key|Value|Effect|TimeAdded|Age", |v, now| {
        let taint = &v["spec"]["taint"];
        let added = if at(taint, "timeAdded").is_some() { since(taint, "timeAdded", now) } else { String::new() };
        vec![name(v), text(taint, "key").into(), text(taint, "value").into(), text(taint, "effect").into(), added.into(), age(v, now).into()]
    })
}
