//! Topology spread constraints.
use super::Options;
use crate::{field::Field, labels, names};

pub(super) fn constraints(list: &Field<'_>, options: &Options) {
    let all: Vec<Field<'_>> = list.items().collect();
    for (i, c) in all.iter().enumerate() {
        c.at("maxSkew").positive();
        let (key, action) = (c.at("topologyKey"), c.at("whenUnsatisfiable"));
        if key.str().is_empty() {
            key.required("can not be empty");
        }
        action.if_any_of(&["DoNotSchedule", "ScheduleAnyway"]);
        if all.iter().skip(i + 1).any(|o| o.at("topologyKey").is(key.str()) && o.at("whenUnsatisfiable").is(action.str())) {
            let pair = c.under("-", "{topologyKey, whenUnsatisfiable}");
            pair.duplicate(&format!("{{{}, {}}}", key.str(), action.str()));
        }
        let domains = c.at("minDomains");
        if domains.exists() {
            domains.positive();
            if !action.is("DoNotSchedule") {
                domains.invalid(domains.int(), &format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.str()));
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            c.at(policy).optional_of(&["Honor", "Ignore"]);
        }
        keys(c, options.spread_keys_in_selector);
        if !options.any_spread_selector {
            labels::selector(&c.at("labelSelector"), false);
        }
    }
}

/// `matchLabelKeys` beside the selector. `merged`: the server has merged the keys into the old selector already.
pub(super) fn keys(c: &Field<'_>, merged: bool) {
    if merged {
        keys_apart(&c.at("matchLabelKeys"), &c.at("labelSelector"));
    } else {
        match_label_keys(c, &c.at("labelSelector"));
    }
}

fn keys_apart(keys: &Field<'_>, selector: &Field<'_>) {
    if keys.list().is_empty() {
        return;
    }
    if !selector.exists() {
        keys.forbidden("must not be specified when labelSelector is not set");
    }
    for k in keys.items() {
        k.check(names::qualified_name);
        if selector.at("matchLabels").key(k.str()).exists() || selector.at("matchExpressions").items().any(|e| e.at("key").is(k.str())) {
            k.invalid(k.str(), "exists in both matchLabelKeys and labelSelector");
        }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` of `f` beside its selector.
pub(super) fn match_label_keys(f: &Field<'_>, selector: &Field<'_>) {
    let (matching, other) = (f.at("matchLabelKeys"), f.at("mismatchLabelKeys"));
    for keys in [&matching, &other] {
        if keys.list().is_empty() {
            continue;
        }
        if !selector.exists() {
            keys.forbidden("must not be specified when labelSelector is not set");
            continue;
        }
        for k in keys.items() {
            k.check(names::qualified_name);
        }
    }
    let keys = matching.strs();
    let mut selected: Vec<&str> = selector.at("matchLabels").entries().map(|(k, _)| k).collect();
    for e in selector.at("matchExpressions").items() {
        let key = e.at("key").str();
        if let Some(i) = keys.iter().rposition(|k| *k == key)
            && selected.contains(&key)
        {
            f.index(i).invalid(key, "exists in both matchLabelKeys and labelSelector");
        }
        selected.push(key);
    }
    for k in matching.items().filter(|k| other.strs().contains(&k.str())) {
        k.invalid(k.str(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}
