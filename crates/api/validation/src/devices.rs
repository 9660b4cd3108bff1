//! Devices (resource.k8s.io): classes, claims and their templates, slices, taint rules.
//!
//! CEL expressions that select devices are checked by [`selector`].
use crate::{
    field::Field,
    names,
    pod::affinity,
    show::{Json, internal, json},
    storage::driver_name,
};
use std::collections::{BTreeMap, BTreeSet};

mod declared;
mod policy;
mod selector;
mod slice;

pub(crate) use slice::{slice, slice_update, taint_rule, taint_rule_status};

const REQUESTS: usize = 32;
const CONSTRAINTS: usize = 32;
const CONFIGS: usize = 32;
const SELECTORS: usize = 32;
const ALTERNATIVES: usize = 8;
const RESULTS: usize = 32;
const RESERVED_FOR: usize = 256;
const CONDITIONS: usize = 8;
const POOL_NAME: usize = 253;
const BINDINGS: usize = 4;
const ADDRESSES: usize = 16;
const OPAQUE: usize = 10 * 1024;
const DOMAIN: usize = 63;
const ID: usize = 32;

const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

pub(crate) fn class(v: &Field<'_>) {
    let spec = v.at("spec");
    each(&spec.at("selectors"), SELECTORS, selector);
    each(&spec.at("config"), CONFIGS, configuration);
    declared::class(&spec);
    let name = spec.at("extendedResourceName");
    if name.exists() && !extended(name.str()) {
        name.invalid(
            name.str(),
            if name.str().contains('/') {
                "must be a valid extended resource name"
            } else {
                "a name must be a domain-prefixed path, such as 'example.com/my-prop'"
            },
        );
    }
}

/// A name with a domain that is not Kubernetes' own, and that a quota may count.
fn extended(name: &str) -> bool {
    name.contains('/')
        && !name.starts_with("requests.")
        && !name.split('/').next().is_some_and(|d| d == "kubernetes.io" || d.ends_with(".kubernetes.io"))
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(crate) fn claim(v: &Field<'_>) {
    let all = v.at("spec").at("devices");
    devices(&all);
    declared::claim(&all);
}

pub(crate) fn claim_update(new: &Field<'_>, old: &Field<'_>) {
    unchanged(&new.at("spec"), &old.at("spec"));
}

pub(crate) fn template(v: &Field<'_>) {
    written(v);
    declared::claim(&v.at("spec").at("spec").at("devices"));
}

fn written(template: &Field<'_>) {
    let spec = template.at("spec");
    template_metadata(&spec.at("metadata"));
    devices(&spec.at("spec").at("devices"));
}

/// Labels and annotations, and nothing else. Upstream goes through the fields of its type, and makes names of Go's.
fn template_metadata(meta: &Field<'_>) {
    const OTHERS: [(&str, &str); 13] = [
        ("name", "name"),
        ("generateName", "generateName"),
        ("namespace", "namespace"),
        ("selfLink", "selfLink"),
        ("uid", "uID"),
        ("resourceVersion", "resourceVersion"),
        ("generation", "generation"),
        ("creationTimestamp", "creationTimestamp"),
        ("deletionTimestamp", "deletionTimestamp"),
        ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
        ("ownerReferences", "ownerReferences"),
        ("finalizers", "finalizers"),
        ("managedFields", "managedFields"),
    ];
    crate::labels::annotations(&meta.at("annotations"));
    crate::labels::labels(&meta.at("labels"));
    for (field, shown) in OTHERS {
        let f = meta.under(field, shown);
        if f.exists() && f.text() != Some("") && f.number() != Some(0) && f.value().as_array().is_none_or(|a| !a.is_empty()) {
            f.forbidden("cannot be set");
        }
    }
}

/// A template is looked into although nothing of it may change.
pub(crate) fn template_update(new: &Field<'_>, old: &Field<'_>) {
    written(new);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if !crate::same::same(spec.value(), before.value()) {
        spec.invalid(internal("io.k8s.api.resource.v1.ResourceClaimTemplateSpec", spec.value()), "field is immutable");
        declared::claim(&spec.at("spec").at("devices"));
    }
}

/// Upstream shows nothing of what was changed.
fn unchanged(new: &Field<'_>, old: &Field<'_>) {
    if !crate::same::same(new.value(), old.value()) {
        new.invalid(&skiff_json::Value::Null, "field is immutable");
    }
}

/// Each item by its rule, unless there are more than `max`: [`declared`] tells that.
fn each(list: &Field<'_>, max: usize, rule: impl Fn(&Field<'_>)) {
    if list.len() <= max {
        list.items().for_each(|i| rule(&i));
    }
}

/// At most `max` items, each by its rule.
fn at_most(list: &Field<'_>, max: usize, rule: impl Fn(&Field<'_>)) {
    if list.len() > max {
        list.too_many(list.len(), max);
    }
    each(list, max, rule);
}

/// Names of requests, and of the alternatives of each.
struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    fn of(devices: &Field<'a>) -> Self {
        Self(devices.at("requests").items().map(|r| (r.at("name").str(), r.at("firstAvailable").items().map(|s| s.at("name").str()).collect())).collect())
    }
    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((request, alternative)) => self.0.get(request).is_some_and(|all| all.contains(alternative)),
        }
    }
    /// A reference to one of them.
    fn check(&self, f: &Field<'_>) {
        let name = f.str();
        if name.split('/').count() > 2 {
            return f.invalid(name, NO_REQUEST);
        }
        name.split('/').for_each(|part| f.check_text(part, names::dns1123_label));
        if !self.has(name) {
            f.invalid(name, NO_REQUEST);
        }
    }
}

fn devices(v: &Field<'_>) {
    let names = Requests::of(v);
    each(&v.at("requests"), REQUESTS, request);
    each(&v.at("constraints"), CONSTRAINTS, |c| {
        each(&c.at("requests"), REQUESTS, |f| names.check(f));
        if !c.at("matchAttribute").exists() && !c.at("distinctAttribute").exists() {
            c.required("exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
        }
    });
    each(&v.at("config"), CONFIGS, |c| {
        each(&c.at("requests"), REQUESTS, |f| names.check(f));
        configuration(c);
    });
}

fn request(r: &Field<'_>) {
    r.at("name").check(names::dns1123_label);
    let (exactly, several) = (r.at("exactly"), r.at("firstAvailable"));
    match (exactly.exists(), !several.is_empty()) {
        (false, false) => r.required("exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => r.invalid(&skiff_json::Value::Null, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"),
        (true, false) => {
            let class = exactly.at("deviceClassName");
            if class.str().is_empty() {
                class.required("");
            } else {
                class.check(names::dns1123_subdomain);
            }
            one(&exactly);
        }
        (false, true) => each(&several, ALTERNATIVES, |s| {
            s.at("name").check(names::dns1123_label);
            one(s);
        }),
    }
}

fn one(r: &Field<'_>) {
    each(&r.at("selectors"), SELECTORS, selector);
    let count = r.at("count");
    match r.at("allocationMode").str() {
        "All" if count.int() != 0 => count.invalid(count.int(), "must not be specified when allocationMode is 'All'"),
        "ExactCount" => count.positive(),
        _ => {}
    }
    r.at("tolerations").items().for_each(|t| toleration(&t));
}

fn selector(s: &Field<'_>) {
    let cel = s.at("cel");
    if !cel.exists() {
        return cel.required("");
    }
    selector::check(&cel.at("expression"));
}

fn toleration(t: &Field<'_>) {
    let value = t.at("value");
    match t.at("operator").str() {
        "Exists" if !value.str().is_empty() => value.invalid(value.str(), "must be empty for operator `Exists`"),
        "Equal" => value.check(names::label_value),
        _ => {}
    }
}

fn taint(t: &Field<'_>) {
    t.at("key").check(names::qualified_name);
    if !t.at("value").str().is_empty() {
        t.at("value").check(names::label_value);
    }
}

fn configuration(c: &Field<'_>) {
    let opaque = c.at("opaque");
    if !opaque.exists() {
        return opaque.required("");
    }
    let parameters = opaque.at("parameters");
    match parameters.value() {
        skiff_json::Value::Null => parameters.required(""),
        _ => json_object(&parameters),
    }
}

/// An object of a driver's own, not too long.
fn json_object(f: &Field<'_>) {
    if f.value().to_string().len() > OPAQUE {
        f.too_long(OPAQUE);
    } else if !f.value().is_object() {
        f.invalid("<value omitted>", "must be a valid JSON object");
    }
}

/// Labels, none twice, and none both good and bad; of good ones there must be some if there are bad ones, and the reverse.
fn bindings(f: &Field<'_>) {
    let (good, bad) = (f.at("bindingConditions"), f.at("bindingFailureConditions"));
    for list in [&good, &bad] {
        each(list, BINDINGS, |c| c.check(names::qualified_name));
    }
    declared::unique(&good, |c| c.str().to_owned());
    let (goods, mut seen) = (good.strs(), BTreeSet::new());
    for c in bad.items() {
        if !seen.insert(c.str()) {
            c.duplicate(c.str());
        }
        if goods.contains(&c.str()) {
            c.invalid(c.str(), "bindingFailureConditions must not overlap with bindingConditions");
        }
    }
    match (good.is_empty(), bad.is_empty()) {
        (true, false) => good.invalid(&skiff_json::Value::Null, "bindingConditions are required to use bindingFailureConditions"),
        (false, true) => bad.invalid(&skiff_json::Value::Null, "bindingFailureConditions are required to use bindingConditions"),
        _ => {}
    }
}

/// `domain/identifier`.
fn full_name(f: &Field<'_>) {
    match f.str() {
        "" => f.required(""),
        s => {
            qualified(f, s);
            if !s.contains('/') {
                f.invalid(s, "a fully qualified name must be a domain and a name separated by a slash");
            }
        }
    }
}

/// An attribute's or a capacity's key: an identifier, with a domain or without.
fn qualified(f: &Field<'_>, name: &str) {
    let (domain, id) = name.split_once('/').map_or((None, name), |(d, i)| (Some(d), i));
    match domain {
        Some("") => f.required("the domain must not be empty"),
        Some(d) => {
            if d.len() > DOMAIN {
                f.too_long(DOMAIN);
            }
            f.check_text(d, names::dns1123_subdomain);
        }
        None => {}
    }
    match id {
        "" => f.required("the name must not be empty"),
        id => {
            if id.len() > ID {
                f.too_long(ID);
            }
            f.check_text(id, names::c_identifier);
        }
    }
}

fn pool_name(f: &Field<'_>) {
    let name = f.str();
    if name.is_empty() {
        return f.required("");
    }
    if name.len() > POOL_NAME {
        f.too_long(POOL_NAME);
    }
    name.split('/').for_each(|part| f.check_text(part, names::dns1123_subdomain));
}

pub(crate) fn claim_status(new: &Field<'_>, old: &Field<'_>) {
    let (status, before) = (new.at("status"), old.inside("status"));
    let (reserved, allocation) = (status.at("reservedFor"), status.at("allocation"));
    each(&reserved, RESERVED_FOR, |f| {
        for key in ["resource", "name", "uid"] {
            if f.at(key).str().is_empty() {
                f.at(key).required("");
            }
        }
    });
    let allocated: BTreeSet<String> = allocation.at("devices").at("results").items().map(|r| device_key(&r)).collect();
    status.at("devices").items().for_each(|f| device_status(&f, allocated.contains(&device_key(&f))));
    if !reserved.is_empty() && !allocation.exists() {
        reserved.forbidden("may not be specified when `allocated` is not set");
    } else if new.inside("metadata.deletionTimestamp").exists() && reserved.list().iter().any(|r| !before.inside("reservedFor").list().contains(r)) {
        reserved.forbidden("new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
    }
    if allocation.exists() && !before.inside("allocation").exists() {
        allocation_result(&allocation, &Requests::of(&new.at("spec").at("devices")));
    }
    declared::status(&status, &before);
}

/// What tells a device, or a share of it, from others.
fn device_key(f: &Field<'_>) -> String {
    ["driver", "pool", "device", "shareID"].map(|k| f.inside(k).str()).join("/")
}

fn device_status(f: &Field<'_>, allocated: bool) {
    driver_name(&f.at("driver"));
    pool_name(&f.at("pool"));
    f.at("device").check(names::dns1123_label);
    if !allocated {
        f.invalid(device_id(f), "must be an allocated device in the claim");
    }
    let conditions = f.at("conditions");
    if conditions.len() > CONDITIONS {
        conditions.too_many(conditions.len(), CONDITIONS);
    }
    crate::small::conditions(&conditions);
    if f.at("data").exists() {
        json_object(&f.at("data"));
    }
    each(&f.at("networkData").at("ips"), ADDRESSES, |ip| crate::ip::interface(ip, ip.str()));
}

/// A device as upstream shows it: as its struct.
fn device_id(f: &Field<'_>) -> Json {
    let [driver, pool, device, share] = ["driver", "pool", "device", "shareID"].map(|k| json(&f.inside(k).str().into()));
    Json(format!("{{\"Driver\":{driver},\"Pool\":{pool},\"Device\":{device},\"ShareID\":{share}}}"))
}

fn lower_uuid(s: &str) -> bool {
    s.len() == 36 && s.char_indices().all(|(i, c)| if matches!(i, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_digit() || ('a'..='f').contains(&c) })
}

fn allocation_result(a: &Field<'_>, requests: &Requests<'_>) {
    let devices = a.at("devices");
    each(&devices.at("results"), RESULTS, |r| {
        requests.check(&r.at("request"));
        r.at("device").check(names::dns1123_label);
        bindings(r);
        r.at("tolerations").items().for_each(|t| toleration(&t));
    });
    each(&devices.at("config"), 2 * CONFIGS, |c| {
        each(&c.at("requests"), REQUESTS, |f| requests.check(f));
        configuration(c);
    });
    if a.at("nodeSelector").exists() {
        affinity::node_selector(&a.at("nodeSelector"), false);
    }
}

#[cfg(test)]
mod tests {
    use crate::{validate_create, validate_update};
    use skiff_json::json;

    fn fields(kind: &str, v: skiff_json::Value) -> Vec<String> {
        validate_create("resource.k8s.io", kind, &v).into_iter().map(|c| c.field).collect()
    }
    #[test]
    fn uuids_are_lowercase() {
        for (text, fits) in [("11111111-1111-4111-8111-11111111111f", true), ("11111111-1111-4111-8111-11111111111F", false), ("x", false)] {
            assert_eq!(super::lower_uuid(text), fits, "{text}");
        }
    }

    #[test]
    fn claims_refer_to_their_requests() {
        let exactly = json!({"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1});
        let claim = |requests: skiff_json::Value, refers: &str| json!({"spec": {"devices": {"requests": requests, "constraints": [{"requests": [refers], "matchAttribute": "d.example/x"}]}}});
        let requests =
            json!([{"name": "r", "exactly": exactly}, {"name": "f", "firstAvailable": [{"name": "a", "deviceClassName": "c", "allocationMode": "All"}]}]);
        for (refers, wrong) in [("r", 0), ("f/a", 0), ("f/b", 1), ("x", 1)] {
            assert_eq!(fields("ResourceClaim", claim(requests.clone(), refers)).len(), wrong, "{refers}");
        }
        assert_eq!(fields("ResourceClaim", claim(json!([{"name": "r"}]), "r")), ["spec.devices.requests[0]"]);
        let changed = validate_update("resource.k8s.io", "ResourceClaim", &claim(requests.clone(), "f"), &claim(requests, "r"));
        assert_eq!(changed[0].message, "Invalid value: null: field is immutable");
    }
    #[test]
    fn declared_rules_come_last_and_see_both_sides_of_a_choice() {
        let exactly = json!({"deviceClassName": "c", "allocationMode": "Some", "tolerations": [{"operator": "Like", "effect": "Odd"}]});
        let mut several = exactly.clone();
        several["name"] = json!("a");
        several["deviceClassName"] = json!("C");
        let claim = json!({"spec": {"devices": {
            "requests": [{"name": "r", "exactly": exactly, "firstAvailable": [several]}],
            "constraints": [{"matchAttribute": "m", "distinctAttribute": "d"}],
            "config": [{"requests": ["x"], "opaque": {"driver": "d.example", "parameters": {}}}],
        }}});
        let request = |rest: &str| format!("spec.devices.requests[0]{rest}");
        let constraint = |rest: &str| format!("spec.devices.constraints[0].{rest}");
        assert_eq!(
            fields("ResourceClaim", claim),
            [
                request(""),
                "spec.devices.config[0].requests[0]".into(),
                request(".exactly.allocationMode"),
                request(".exactly.tolerations[0].operator"),
                request(".exactly.tolerations[0].effect"),
                request(".firstAvailable[0].deviceClassName"),
                request(".firstAvailable[0].allocationMode"),
                request(".firstAvailable[0].tolerations[0].operator"),
                request(".firstAvailable[0].tolerations[0].effect"),
                constraint("matchAttribute"),
                constraint("distinctAttribute"),
            ]
        );
    }
    #[test]
    fn statuses_tell_the_allocation_before_shares() {
        let status = |device: skiff_json::Value, pool: &str| json!({"status": {"allocation": {"devices": {"results": [{"driver": "d.example", "pool": pool, "device": "x", "shareID": "S"}]}}, "devices": [device]}});
        let device = json!({"driver": "d.example", "pool": "p", "device": "x", "shareID": "S", "networkData": {"ips": ["x", "10.0.0.1/24"]}});
        let told: Vec<String> = crate::validate_status_update("resource.k8s.io", "ResourceClaim", &status(device.clone(), "p"), &status(device, "q"))
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(told, ["status.devices[0].networkData.ips[0]", "status.allocation", "status.devices[0].shareID"]);
    }
    #[test]
    fn slices_say_once_which_nodes() {
        let slice = |more: skiff_json::Value| {
            let mut v = json!({"spec": {"driver": "d.example", "pool": {"name": "p", "resourceSliceCount": 1}}});
            v["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            v
        };
        assert_eq!(fields("ResourceSlice", slice(json!({"nodeName": "n"}))), [""; 0]);
        assert_eq!(fields("ResourceSlice", slice(json!({}))), ["spec"]);
        assert_eq!(fields("ResourceSlice", slice(json!({"nodeName": "n", "allNodes": true}))), ["spec"]);
    }
}
