//! What upstream declares at the fields of its types. It is told after the rules that it wrote by hand, in the order of
//! the fields, and of everything that is there: also of both sides of a choice that allows only one.
use super::{ALTERNATIVES, BINDINGS, CONFIGS, CONSTRAINTS, EFFECTS, POOL_NAME, REQUESTS, RESERVED_FOR, RESULTS, SELECTORS, device_key, full_name, lower_uuid};
use crate::{field::Field, names};
use std::collections::BTreeSet;

const INTERFACE: usize = 256;
const HARDWARE: usize = 128;
const ADDRESSES: usize = 16;
const DRIVER: usize = 63;
const MODES: [&str; 2] = ["All", "ExactCount"];

/// Whether the list is short enough to be looked into.
fn fits(list: &Field<'_>, max: usize) -> bool {
    if list.len() > max {
        list.too_many(list.len(), max);
    }
    list.len() <= max
}

/// Tells the items whose key an earlier one has.
pub(super) fn unique(list: &Field<'_>, key: impl Fn(&Field<'_>) -> String) {
    let mut seen = BTreeSet::new();
    for item in list.items() {
        if !seen.insert(key(&item)) {
            item.duplicate(item.value());
        }
    }
}

fn name(f: &Field<'_>) -> String {
    f.at("name").str().to_owned()
}

fn references(list: &Field<'_>) {
    if fits(list, REQUESTS) {
        unique(list, |f| f.str().to_owned());
    }
}

pub(super) fn claim(devices: &Field<'_>) {
    let (requests, constraints, config) = (devices.at("requests"), devices.at("constraints"), devices.at("config"));
    if fits(&requests, REQUESTS) {
        unique(&requests, name);
        requests.items().for_each(|r| request(&r));
    }
    if fits(&constraints, CONSTRAINTS) {
        for c in constraints.items() {
            references(&c.at("requests"));
            for attribute in [c.at("matchAttribute"), c.at("distinctAttribute")] {
                if attribute.exists() {
                    full_name(&attribute);
                }
            }
        }
    }
    if fits(&config, CONFIGS) {
        for c in config.items() {
            references(&c.at("requests"));
            driver_of(&c);
        }
    }
}

fn request(r: &Field<'_>) {
    if r.at("exactly").exists() {
        one(&r.at("exactly"));
    }
    let several = r.at("firstAvailable");
    if fits(&several, ALTERNATIVES) {
        unique(&several, name);
        for s in several.items() {
            let class = s.at("deviceClassName");
            if class.str().is_empty() {
                class.required("");
            } else {
                class.check(names::long_name);
            }
            one(&s);
        }
    }
}

fn one(r: &Field<'_>) {
    fits(&r.at("selectors"), SELECTORS);
    if !r.at("allocationMode").is_empty() {
        r.at("allocationMode").if_any_of(&MODES);
    }
    r.at("tolerations").items().for_each(|t| toleration(&t));
}

fn toleration(t: &Field<'_>) {
    if !t.at("key").is_empty() {
        t.at("key").check(names::qualified_name);
    }
    t.at("operator").one_of(&["Equal", "Exists"]);
    if !t.at("effect").is_empty() {
        t.at("effect").if_any_of(&EFFECTS);
    }
}

pub(super) fn taint(t: &Field<'_>) {
    t.at("effect").one_of(&EFFECTS);
}

fn driver_of(config: &Field<'_>) {
    if config.at("opaque").exists() {
        driver(&config.at("opaque").at("driver"));
    }
}

fn driver(f: &Field<'_>) {
    if f.str().is_empty() {
        return f.required("");
    }
    f.check(names::long_name_caseless);
    if f.str().len() > DRIVER {
        f.too_long_characters(DRIVER);
    }
}

fn pool(f: &Field<'_>) {
    if f.str().is_empty() {
        return f.required("");
    }
    if f.str().len() > POOL_NAME {
        f.too_long(POOL_NAME);
    }
    f.str().split('/').for_each(|part| f.check_text(part, names::long_name));
}

fn share(f: &Field<'_>) {
    if f.exists() && !lower_uuid(f.str()) {
        f.invalid(f.str(), "must be a lowercase UUID in 8-4-4-4-12 format");
    }
}

/// At most as many conditions as a device may be bound by.
pub(super) fn bindings(f: &Field<'_>) {
    for list in ["bindingConditions", "bindingFailureConditions"] {
        fits(&f.at(list), BINDINGS);
    }
}

pub(super) fn class(spec: &Field<'_>) {
    fits(&spec.at("selectors"), SELECTORS);
    let config = spec.at("config");
    if fits(&config, CONFIGS) {
        config.items().for_each(|c| driver_of(&c));
    }
}

pub(super) fn status(status: &Field<'_>, before: &Field<'_>) {
    let (allocation, was) = (status.at("allocation"), before.inside("allocation"));
    match (allocation.exists(), was.exists()) {
        (true, true) if !crate::same::same(allocation.value(), was.value()) => {
            allocation.invalid(&skiff_json::Value::Null, "field cannot be modified once set")
        }
        (true, false) => result(&allocation.at("devices")),
        _ => {}
    }
    let reserved = status.at("reservedFor");
    if fits(&reserved, RESERVED_FOR) {
        unique(&reserved, |f| f.at("uid").str().to_owned());
    }
    let devices = status.at("devices");
    unique(&devices, device_key);
    for d in devices.items() {
        share(&d.at("shareID"));
        let data = d.at("networkData");
        if data.at("interfaceName").str().len() > INTERFACE {
            data.at("interfaceName").too_long(INTERFACE);
        }
        if fits(&data.at("ips"), ADDRESSES) {
            unique(&data.at("ips"), |f| f.str().to_owned());
        }
        if data.at("hardwareAddress").str().len() > HARDWARE {
            data.at("hardwareAddress").too_long(HARDWARE);
        }
    }
}

fn result(devices: &Field<'_>) {
    let (results, config) = (devices.at("results"), devices.at("config"));
    if fits(&results, RESULTS) {
        for r in results.items() {
            driver(&r.at("driver"));
            pool(&r.at("pool"));
            r.at("tolerations").items().for_each(|t| toleration(&t));
            bindings(&r);
            share(&r.at("shareID"));
        }
    }
    if fits(&config, 2 * CONFIGS) {
        for c in config.items() {
            c.at("source").one_of(&["FromClaim", "FromClass"]);
            references(&c.at("requests"));
            driver_of(&c);
        }
    }
}
