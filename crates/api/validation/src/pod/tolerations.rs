//! Tolerations, and the taints that they answer.
use super::Options;
use crate::{field::Field, names, show::internal};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(crate) fn tolerations(list: &Field<'_>, _options: &Options) {
    for t in list.items() {
        let (key, operator, value, effect) = (t.at("key"), t.at("operator"), t.at("value").str(), t.at("effect"));
        if !key.str().is_empty() {
            key.check(names::qualified_name);
        } else if !operator.is("Exists") {
            operator.invalid(operator.str(), "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if t.at("tolerationSeconds").exists() && !effect.is("NoExecute") {
            effect.invalid(effect.str(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.str() {
            "" | "Equal" => {
                let messages = names::label_value(value);
                if !messages.is_empty() {
                    operator.invalid(value, &messages.join(";"));
                }
            }
            "Exists" if !value.is_empty() => operator.invalid(value, "value must be empty when `operator` is 'Exists'"),
            "Exists" => {}
            // Comparisons belong to a feature that is off, but are named among what is possible.
            o @ ("Lt" | "Gt") => operator.unsupported(o, &["Equal", "Exists", "Lt", "Gt"]),
            o => operator.unsupported(o, &["Equal", "Exists"]),
        }
        if !effect.str().is_empty() {
            effect.if_any_of(&EFFECTS);
        }
    }
}

/// Taints of a node: one of each key and effect.
pub(crate) fn taints(list: &Field<'_>) {
    let mut seen = Vec::new();
    for t in list.items() {
        t.at("key").check(names::qualified_name);
        let messages = names::label_value(t.at("value").str());
        if !messages.is_empty() {
            t.at("value").invalid(t.at("value").str(), &messages.join(";"));
        }
        t.at("effect").one_of(&EFFECTS);
        let id = (t.at("effect").str(), t.at("key").str());
        if seen.contains(&id) {
            t.duplicate_for(internal("io.k8s.api.core.v1.Taint", t.value()), "taints must be unique by key and effect pair");
            continue;
        }
        seen.push(id);
    }
}
