//! Labels, annotations and the selectors over labels.
use crate::{field::Field, names, show::own};
use std::collections::BTreeMap;

/// Keys and values of a map of labels.
pub(crate) fn labels(f: &Field<'_>) {
    for (k, v) in f.entries() {
        f.check_text(k, names::qualified_name);
        f.check_text(v.str(), names::label_value);
    }
}

/// Bytes that all annotations of an object may have.
const TOTAL_ANNOTATIONS: usize = 256 * 1024;

pub(crate) fn annotations(f: &Field<'_>) {
    let mut size = 0;
    for (k, v) in f.entries() {
        for message in names::qualified_name(&k.to_lowercase()) {
            f.invalid(k, &message);
        }
        size += k.len() + v.str().len();
    }
    if size > TOTAL_ANNOTATIONS {
        f.too_long(TOTAL_ANNOTATIONS);
    }
}

/// A LabelSelector; `any_value` lets values pass that are no label values, since the old object has some.
pub(crate) fn selector(f: &Field<'_>, any_value: bool) {
    labels(&f.at("matchLabels"));
    for e in f.at("matchExpressions").items() {
        requirement(&e, any_value);
    }
}

fn requirement(e: &Field<'_>, any_value: bool) {
    let (operator, values) = (e.at("operator"), e.at("values"));
    match operator.str() {
        "In" | "NotIn" if values.list().is_empty() => values.required("must be specified when `operator` is 'In' or 'NotIn'"),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.list().is_empty() => values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        "Exists" | "DoesNotExist" => {}
        o => operator.invalid(o, "not a valid selector operator"),
    }
    e.at("key").check(names::qualified_name);
    if !any_value {
        for v in values.items() {
            v.check(names::label_value);
        }
    }
}

/// What a selector makes of itself: upstream's LabelSelectorAsSelector.
pub(crate) enum Parsed {
    /// It has errors that were told already.
    Broken,
    Nothing,
    Everything,
    Some(Vec<(String, String, Vec<String>)>),
}

impl Parsed {
    pub fn of(f: &Field<'_>) -> Self {
        if !f.exists() {
            return Parsed::Nothing;
        }
        if f.at("matchLabels").len() + f.at("matchExpressions").len() == 0 {
            return Parsed::Everything;
        }
        if !crate::field::passes(f.value(), |f| selector(f, false)) {
            return Parsed::Broken;
        }
        let mut all: Vec<_> = f.at("matchLabels").entries().map(|(k, v)| (k.to_owned(), "In".to_owned(), vec![v.str().to_owned()])).collect();
        all.extend(f.at("matchExpressions").items().map(|e| {
            let values = e.at("values").strs().into_iter().map(str::to_owned).collect();
            (e.at("key").str().to_owned(), e.at("operator").str().to_owned(), values)
        }));
        Parsed::Some(all)
    }
    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: &Field<'_>) -> bool {
        let have: BTreeMap<&str, &str> = labels.entries().map(|(k, v)| (k, v.str())).collect();
        match self {
            Parsed::Broken | Parsed::Nothing => false,
            Parsed::Everything => true,
            Parsed::Some(all) => all.iter().all(|(key, operator, values)| {
                let value = have.get(key.as_str());
                match operator.as_str() {
                    "In" => value.is_some_and(|v| values.iter().any(|x| x == v)),
                    "NotIn" => !value.is_some_and(|v| values.iter().any(|x| x == v)),
                    "Exists" => value.is_some(),
                    _ => value.is_none(),
                }
            }),
        }
    }
}

/// The labels of a template must be what the workload selects.
pub(crate) fn selects(selector: &Parsed, labels: &Field<'_>) {
    if !selector.matches(labels) {
        labels.invalid(own(labels.value()), "`selector` does not match template `labels`");
    }
}
