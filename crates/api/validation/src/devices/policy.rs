//! Which amounts of a capacity may be asked for (KEP-5075): out of a list or out of a range, with one for who asks for none.
use crate::field::Field;
use skiff_meta::Quantity;

const OPTIONS: usize = 10;

/// The rules of a new or changed `requestPolicy` of a capacity.
pub(super) fn policy(capacity: &Field<'_>) {
    let p = capacity.at("requestPolicy");
    let (values, range) = (p.at("validValues"), p.at("validRange"));
    let (some, whole) = (!values.is_empty(), amount(&capacity.at("value")).unwrap_or(Quantity::ZERO));
    match (some, range.exists(), amount(&p.at("default"))) {
        (true, true, _) => p.forbidden("exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time"),
        (true, _, None) => p.at("default").required("required when validValues is defined"),
        (_, true, None) => p.at("default").required("required when validRange is defined"),
        (true, _, Some(default)) => options(&values, default, whole),
        (_, true, Some(default)) => bounds(&range, default, whole),
        _ => {}
    }
}

fn amount(f: &Field<'_>) -> Option<Quantity> {
    f.str().parse().ok()
}

fn told(q: Quantity) -> String {
    q.to_string()
}

fn options(list: &Field<'_>, default: Quantity, whole: Quantity) {
    let all: Vec<(Field<'_>, Quantity)> = list.items().map(|f| (f.clone(), amount(&f).unwrap_or(Quantity::ZERO))).collect();
    for pair in all.windows(2) {
        if let [(_, before), (f, q)] = pair
            && before > q
        {
            f.invalid(&told(*q), "values must be sorted in ascending order");
        }
    }
    if all.len() > OPTIONS {
        list.too_many(all.len(), OPTIONS);
    } else {
        for (f, q) in all.iter().filter(|(_, q)| *q > whole) {
            f.invalid(&told(*q), &format!("option is larger than capacity value: {whole}"));
        }
        for (i, (f, q)) in all.iter().enumerate() {
            if all.iter().take(i).any(|(_, before)| before == q) {
                f.duplicate(&decimal(*q));
            }
        }
    }
    if all.len() > OPTIONS || !all.iter().any(|(_, q)| *q == default) {
        list.invalid(&told(default), "default value is not valid according to the requestPolicy");
    }
}

/// As a plain number.
fn decimal(q: Quantity) -> String {
    if q.is_integer() { q.value().to_string() } else { q.as_f64().to_string() }
}

fn bounds(range: &Field<'_>, default: Quantity, whole: Quantity) {
    let of = |part: &'static str| amount(&range.at(part));
    let Some(min) = of("min") else { return range.at("min").required("required when validRange is defined") };
    let (max, step) = (of("max"), of("step"));
    let larger = |part: &'static str, shown: Quantity, than: &str, limit: Quantity| range.at(part).invalid(&told(shown), &format!("{than}: {limit}"));
    if min > whole {
        larger("min", min, "min is larger than capacity value", whole);
    }
    if default < min {
        larger("default", default, "default is less than min", min);
    }
    if let Some(max) = max {
        if min > max {
            larger("max", min, "min is larger than max", max);
        }
        if max > whole {
            larger("max", max, "max is larger than capacity value", whole);
        }
        if default > max {
            larger("default", default, "default is more than max", max);
        }
    }
    let all = [("default", Some(default)), ("min", Some(min)), ("max", max), ("step", step)];
    let parts = || all.into_iter().filter_map(|(part, q)| Some((part, q?)));
    let fractional = parts().any(|(_, q)| !q.is_integer());
    let mark = range.mark();
    for (part, q) in parts().filter(|(_, q)| fractional && Quantity::milli(q.milli_value()) != *q) {
        range.at(part).invalid(&told(q), "value cannot be represented as a milli value");
    }
    let Some(step) = step.filter(|_| range.clean_since(mark)) else { return };
    let f = range.at("step");
    if step.sign() <= 0 {
        return f.invalid(&told(step), "must be greater than zero");
    }
    if min + step > whole {
        f.invalid(&told(step), &format!("one step {} is larger than capacity value: {whole}", min + step));
    }
    let mark = range.mark();
    for (part, q) in parts().filter(|_| !fractional) {
        if q.sign() < 0 {
            range.at(part).invalid(&told(q), "must be greater than or equal to 0");
        } else if q > Quantity::units(i64::MAX) {
            range.at(part).invalid(&told(q), "must not be larger than 9223372036854775807");
        }
    }
    for q in Some(default).into_iter().chain(max).filter(|q| range.clean_since(mark) && !(*q - min).is_multiple_of(&step)) {
        f.invalid(&told(q), &format!("value is not a multiple of a given step ({step}) from ({min})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errors;
    use skiff_json::{Value, json};

    #[test]
    fn amounts_fit_the_capacity_and_each_other() {
        for (policy, want) in [
            (json!({"default": "2", "validValues": ["1", "2", "4"]}), vec![]),
            (json!({"default": "2"}), vec![]),
            (json!({"validValues": ["1"]}), vec!["default: Required value: required when validValues is defined"]),
            (
                json!({"default": "3", "validValues": ["2", "1", "20"]}),
                vec![
                    "validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                    "validValues[2]: Invalid value: \"20\": option is larger than capacity value: 10",
                    "validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
                ],
            ),
            (
                json!({"default": "1k", "validValues": ["1k", "1000"]}),
                vec![
                    "validValues[0]: Invalid value: \"1k\": option is larger than capacity value: 10",
                    "validValues[1]: Invalid value: \"1k\": option is larger than capacity value: 10",
                    "validValues[1]: Duplicate value: \"1000\"",
                ],
            ),
            (json!({"default": "2", "validRange": {"min": "1", "max": "9", "step": "1"}}), vec![]),
            (json!({"default": "1500m", "validRange": {"min": "1", "max": "2", "step": "500m"}}), vec![]),
            (json!({"default": "1", "validRange": {}}), vec!["validRange.min: Required value: required when validRange is defined"]),
            (
                json!({"default": "0", "validRange": {"min": "11", "max": "12"}}),
                vec![
                    "validRange.min: Invalid value: \"11\": min is larger than capacity value: 10",
                    "validRange.default: Invalid value: \"0\": default is less than min: 11",
                    "validRange.max: Invalid value: \"12\": max is larger than capacity value: 10",
                ],
            ),
            (json!({"default": "4", "validRange": {"min": "1", "max": "3"}}), vec!["validRange.default: Invalid value: \"4\": default is more than max: 3"]),
            (
                json!({"default": "4", "validRange": {"min": "1", "max": "9", "step": "2"}}),
                vec!["validRange.step: Invalid value: \"4\": value is not a multiple of a given step (2) from (1)"],
            ),
            (json!({"default": "1", "validRange": {"min": "1", "step": "0"}}), vec!["validRange.step: Invalid value: \"0\": must be greater than zero"]),
            (
                json!({"default": "1", "validRange": {"min": "1", "step": "10"}}),
                vec!["validRange.step: Invalid value: \"10\": one step 11 is larger than capacity value: 10"],
            ),
            (
                json!({"default": "1u", "validRange": {"min": "0", "step": "1"}}),
                vec!["validRange.default: Invalid value: \"1u\": value cannot be represented as a milli value"],
            ),
        ] {
            assert_eq!(refusals("10", policy.clone()), want, "{policy}");
        }
        let policy = json!({"default": "0", "validRange": {"min": "0", "max": "100E", "step": "9223372036854775808"}});
        let want = ["max: Invalid value: \"100E\"", "step: Invalid value: \"9223372036854775808\""]
            .map(|w| format!("validRange.{w}: must not be larger than 9223372036854775807"));
        assert_eq!(refusals("1000E", policy), want);
    }

    fn refusals(capacity: &str, policy: Value) -> Vec<String> {
        let (errors, v) = (Errors::default(), json!({"value": capacity, "requestPolicy": policy}));
        super::policy(&Field::root(&v, &errors));
        let told = |c: skiff_meta::Cause| format!("{}: {}", c.field, c.message);
        errors.into_causes().into_iter().map(|c| told(c).trim_start_matches("requestPolicy.").to_owned()).collect()
    }
}
