//! Devices (resource.k8s.io): classes, claims and their templates, slices, taint rules.
//!
//! CEL expressions that select devices are checked by [`selector`].
use crate::{
    field::Field,
    names,
    pod::affinity,
    show::{Json, internal, json, quote},
    storage::driver_name,
};
use std::collections::{BTreeMap, BTreeSet};

mod selector;
mod slice;

pub(crate) use slice::{slice, slice_update, taint_rule};

const REQUESTS: usize = 32;
const CONSTRAINTS: usize = 32;
const CONFIGS: usize = 32;
const SELECTORS: usize = 32;
const ALTERNATIVES: usize = 8;
const RESULTS: usize = 32;
const RESERVED_FOR: usize = 256;
const CONDITIONS: usize = 8;
const POOL_NAME: usize = 253;
const OPAQUE: usize = 10 * 1024;
const DOMAIN: usize = 63;
const ID: usize = 32;

const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const NO_REQUEST: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

pub(crate) fn class(v: &Field<'_>) {
    let spec = v.at("spec");
    each(&spec.at("selectors"), SELECTORS, selector);
    each(&spec.at("config"), CONFIGS, configuration);
    let name = spec.at("extendedResourceName");
    if name.exists() && !extended(name.str()) {
        name.invalid(name.str(), if name.str().contains('/') { "must be a valid extended resource name" } else { "a name must be a domain-prefixed path, such as 'example.com/my-prop'" });
    }
}

/// A name with a domain that is not Kubernetes' own, and that a quota may count.
fn extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with("requests.") && !name.split('/').next().is_some_and(|d| d == "kubernetes.io" || d.ends_with(".kubernetes.io")) && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(crate) fn claim(v: &Field<'_>) {
    devices(&v.at("spec").at("devices"));
}

pub(crate) fn claim_update(new: &Field<'_>, old: &Field<'_>) {
    unchanged(&new.at("spec"), &old.at("spec"));
}

pub(crate) fn template(v: &Field<'_>) {
    let spec = v.at("spec");
    template_metadata(&spec.at("metadata"));
    devices(&spec.at("spec").at("devices"));
}

/// Labels and annotations, and nothing else. Upstream goes through the fields of its type, and makes names of Go's.
fn template_metadata(meta: &Field<'_>) {
    const OTHERS: [(&str, &str); 13] = [
        ("name", "name"), ("generateName", "generateName"), ("namespace", "namespace"), ("selfLink", "selfLink"), ("uid", "uID"), ("resourceVersion", "resourceVersion"), ("generation", "generation"),
        ("creationTimestamp", "creationTimestamp"), ("deletionTimestamp", "deletionTimestamp"), ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"), ("ownerReferences", "ownerReferences"), ("finalizers", "finalizers"), ("managedFields", "managedFields"),
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

pub(crate) fn template_update(new: &Field<'_>, old: &Field<'_>) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if !crate::same::same(spec.value(), before.value()) {
        spec.invalid(internal("io.k8s.api.resource.v1.ResourceClaimTemplateSpec", spec.value()), "field is immutable");
    }
}

/// Upstream shows nothing of what was changed.
fn unchanged(new: &Field<'_>, old: &Field<'_>) {
    if !crate::same::same(new.value(), old.value()) {
        new.invalid(&serde_json::Value::Null, "field is immutable");
    }
}

/// At most `max` items, each by its rule.
fn each(list: &Field<'_>, max: usize, rule: impl Fn(&Field<'_>)) {
    if list.len() > max {
        list.too_many(list.len(), max);
        return;
    }
    list.items().for_each(|i| rule(&i));
}

/// Like [`each`], and no two items have one key.
fn set(list: &Field<'_>, max: usize, key: impl Fn(&Field<'_>) -> String, rule: impl Fn(&Field<'_>)) {
    if list.len() > max {
        list.too_many(list.len(), max);
        return;
    }
    let mut seen = BTreeSet::new();
    for item in list.items() {
        rule(&item);
        if !seen.insert(key(&item)) {
            item.duplicate(item.value());
        }
    }
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
    let name = |f: &Field<'_>| f.at("name").str().to_owned();
    set(&v.at("requests"), REQUESTS, name, request);
    each(&v.at("constraints"), CONSTRAINTS, |c| {
        set(&c.at("requests"), REQUESTS, |f| f.str().to_owned(), |f| names.check(f));
        match (c.at("matchAttribute").exists(), c.at("distinctAttribute").exists()) {
            (true, _) => full_name(&c.at("matchAttribute")),
            (_, true) => full_name(&c.at("distinctAttribute")),
            _ => c.required("exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set"),
        }
    });
    each(&v.at("config"), CONFIGS, |c| {
        set(&c.at("requests"), REQUESTS, |f| f.str().to_owned(), |f| names.check(f));
        configuration(c);
    });
}

fn request(r: &Field<'_>) {
    r.at("name").check(names::dns1123_label);
    let (exactly, several) = (r.at("exactly"), r.at("firstAvailable"));
    match (exactly.exists(), !several.is_empty()) {
        (false, false) => r.required("exactly one of `exactly` or `firstAvailable` is required"),
        (true, true) => r.invalid(&serde_json::Value::Null, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"),
        (true, false) => one(&exactly),
        (false, true) => set(&several, ALTERNATIVES, |f| f.at("name").str().to_owned(), |s| {
            s.at("name").check(names::dns1123_label);
            one(s);
        }),
    }
}

fn one(r: &Field<'_>) {
    let class = r.at("deviceClassName");
    if class.str().is_empty() {
        class.required("");
    } else {
        class.check(names::dns1123_subdomain);
    }
    each(&r.at("selectors"), SELECTORS, selector);
    let (mode, count) = (r.at("allocationMode"), r.at("count"));
    match mode.str() {
        "All" if count.int() != 0 => count.invalid(count.int(), "must not be specified when allocationMode is 'All'"),
        "All" => {}
        "ExactCount" => count.positive(),
        _ => mode.if_any_of(&["All", "ExactCount"]),
    }
    each(&r.at("tolerations"), usize::MAX, toleration);
}

fn selector(s: &Field<'_>) {
    let cel = s.at("cel");
    if !cel.exists() {
        return cel.required("");
    }
    selector::check(&cel.at("expression"));
}

fn toleration(t: &Field<'_>) {
    if !t.at("key").str().is_empty() {
        t.at("key").check(names::qualified_name);
    }
    let (operator, value) = (t.at("operator"), t.at("value"));
    match operator.str() {
        "Exists" if !value.str().is_empty() => value.invalid(value.str(), "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.check(names::label_value),
        _ => operator.one_of(&["Equal", "Exists"]),
    }
    if !t.at("effect").str().is_empty() {
        t.at("effect").if_any_of(&EFFECTS);
    }
}

fn taint(t: &Field<'_>) {
    t.at("key").check(names::qualified_name);
    if !t.at("value").str().is_empty() {
        t.at("value").check(names::label_value);
    }
    t.at("effect").one_of(&EFFECTS);
}

fn configuration(c: &Field<'_>) {
    let opaque = c.at("opaque");
    if !opaque.exists() {
        return opaque.required("");
    }
    let parameters = opaque.at("parameters");
    // Declared rules are told first.
    if parameters.value().is_null() {
        parameters.required("");
    }
    driver_name(&opaque.at("driver"));
    match parameters.value() {
        serde_json::Value::Null => {}
        v @ serde_json::Value::Object(_) if v.to_string().len() > OPAQUE => parameters.too_long(OPAQUE),
        serde_json::Value::Object(_) => {}
        _ => parameters.invalid("<value omitted>", "must be a valid JSON object"),
    }
}

/// `domain/identifier`.
fn full_name(f: &Field<'_>) {
    match f.str() {
        "" => f.required(""),
        s if !s.contains('/') => f.invalid(s, "a fully qualified name must be a domain and a name separated by a slash"),
        _ => qualified(f, f.str()),
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
    let reserved = status.at("reservedFor");
    set(&reserved, RESERVED_FOR, |f| f.at("uid").str().to_owned(), |f| {
        for key in ["resource", "name", "uid"] {
            if f.at(key).str().is_empty() {
                f.at(key).required("");
            }
        }
    });
    let allocation = status.at("allocation");
    let id = |f: &Field<'_>| ["driver", "pool", "device", "shareID"].map(|k| f.inside(k).str().to_owned()).join("/");
    let allocated: BTreeSet<String> = allocation.at("devices").at("results").items().map(|r| id(&r)).collect();
    set(&status.at("devices"), usize::MAX, id, |f| device_status(f, allocated.contains(&id(f))));
    if !reserved.is_empty() && !allocation.exists() {
        reserved.forbidden("may not be specified when `allocated` is not set");
    }
    let was = before.inside("allocation");
    match (allocation.exists(), was.exists()) {
        (true, true) if !crate::same::same(allocation.value(), was.value()) => allocation.invalid(&serde_json::Value::Null, "field cannot be modified once set"),
        (true, false) => allocation_result(&allocation, &Requests::of(&new.at("spec").at("devices"))),
        _ => {}
    }
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
    let data = f.at("data");
    if data.exists() && !data.value().is_object() {
        data.invalid("<value omitted>", "must be a valid JSON object");
    } else if data.exists() && data.value().to_string().len() > OPAQUE {
        data.too_long(OPAQUE);
    }
    let share = f.at("shareID");
    if share.exists() && !lower_uuid(share.str()) {
        share.invalid(share.str(), "must be a lowercase UUID in 8-4-4-4-12 format");
    }
}

/// A device as upstream shows it: by a text, or, where it is shared, as a struct.
fn device_id(f: &Field<'_>) -> Json {
    let part = |k: &str| f.inside(k).str();
    match part("shareID") {
        "" => Json(quote(&[part("driver"), part("pool"), part("device")].join("/"))),
        share => {
            let [driver, pool, device, share] = [part("driver"), part("pool"), part("device"), share].map(|s| json(&s.into()));
            Json(format!("{{\"Driver\":{driver},\"Pool\":{pool},\"Device\":{device},\"ShareID\":{share}}}"))
        }
    }
}

fn lower_uuid(s: &str) -> bool {
    s.len() == 36 && s.char_indices().all(|(i, c)| if matches!(i, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_digit() || ('a'..='f').contains(&c) })
}

fn allocation_result(a: &Field<'_>, requests: &Requests<'_>) {
    let devices = a.at("devices");
    each(&devices.at("results"), RESULTS, |r| {
        requests.check(&r.at("request"));
        driver_name(&r.at("driver"));
        pool_name(&r.at("pool"));
        r.at("device").check(names::dns1123_label);
        each(&r.at("tolerations"), usize::MAX, toleration);
    });
    each(&devices.at("config"), 2 * CONFIGS, |c| {
        c.at("source").one_of(&["FromClaim", "FromClass"]);
        set(&c.at("requests"), REQUESTS, |f| f.str().to_owned(), |f| requests.check(f));
        configuration(c);
    });
    if a.at("nodeSelector").exists() {
        affinity::node_selector(&a.at("nodeSelector"), false);
    }
}

#[cfg(test)]
mod tests {
    use crate::{validate_create, validate_update};
    use serde_json::json;

    fn fields(kind: &str, v: serde_json::Value) -> Vec<String> {
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
        let claim = |requests: serde_json::Value, refers: &str| json!({"spec": {"devices": {"requests": requests, "constraints": [{"requests": [refers], "matchAttribute": "d.example/x"}]}}});
        let requests = json!([{"name": "r", "exactly": exactly}, {"name": "f", "firstAvailable": [{"name": "a", "deviceClassName": "c", "allocationMode": "All"}]}]);
        for (refers, wrong) in [("r", 0), ("f/a", 0), ("f/b", 1), ("x", 1)] {
            assert_eq!(fields("ResourceClaim", claim(requests.clone(), refers)).len(), wrong, "{refers}");
        }
        assert_eq!(fields("ResourceClaim", claim(json!([{"name": "r"}]), "r")), ["spec.devices.requests[0]"]);
        let changed = validate_update("resource.k8s.io", "ResourceClaim", &claim(requests.clone(), "f"), &claim(requests, "r"));
        assert_eq!(changed[0].message, "Invalid value: null: field is immutable");
    }
    #[test]
    fn slices_say_once_which_nodes() {
        let slice = |more: serde_json::Value| {
            let mut v = json!({"spec": {"driver": "d.example", "pool": {"name": "p", "resourceSliceCount": 1}}});
            v["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            v
        };
        assert_eq!(fields("ResourceSlice", slice(json!({"nodeName": "n"}))), [""; 0]);
        assert_eq!(fields("ResourceSlice", slice(json!({}))), ["spec"]);
        assert_eq!(fields("ResourceSlice", slice(json!({"nodeName": "n", "allNodes": true}))), ["spec"]);
    }
}
