//! Jobs.
use super::indexes;
use crate::{
    certificates::domain_prefixed_path,
    field::{Errors, Field},
    labels::{self, Parsed},
    names,
    pod::{self, Options},
    same::same,
    show::{Json, Omitted, internal, own},
};
use skiff_json::Value;

const MAX_PARALLELISM: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const MAX_PARALLELISM_OF_MANY: i64 = 10_000;
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_MANAGER: usize = 63;

pub(crate) fn create(v: &Field<'_>) {
    generated_selector(v);
    whole(v, None);
    hostnames(v);
}

fn whole(v: &Field<'_>, old: Option<&Field<'_>>) {
    let f = v.at("spec");
    let options = super::options(old);
    spec(&f, &options);
    let selector = f.at("selector");
    if selector.exists() {
        labels::selector(&selector, false);
    } else {
        selector.required("");
    }
    let chosen = Parsed::of(&selector);
    if !matches!(chosen, Parsed::Broken) {
        labels::selects(&chosen, &f.at("template").at("metadata").at("labels"));
    }
}

/// Labels that the server puts on pods of a Job, and the selector that it makes of them.
fn generated_selector(v: &Field<'_>) {
    let spec = v.at("spec");
    if spec.at("manualSelector").flag() || !spec.at("selector").exists() {
        return;
    }
    let (uid, name) = (v.at("metadata.uid").str(), v.at("metadata.name").str());
    if uid.is_empty() {
        v.at("metadata").at("uid").required("");
    }
    let expected = [("controller-uid", uid), ("job-name", name), ("batch.kubernetes.io/controller-uid", uid), ("batch.kubernetes.io/job-name", name)];
    let labels = spec.at("template").at("metadata").at("labels");
    for (key, value) in expected {
        let label = labels.key(key);
        if !label.exists() {
            label.required(&format!("must be '{value}'"));
        } else if !label.is(value) {
            label.invalid(own(labels.value()), &format!("must be '{value}'"));
        }
    }
    let set: Value = expected.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect::<skiff_json::Map>().into();
    let chosen = Parsed::of(&spec.at("selector"));
    if !matches!(chosen, Parsed::Broken) && !chosen.matches(&Field::root(&set, &Errors::default())) {
        spec.at("selector").invalid(crate::show::selector(spec.at("selector").value()), "`selector` not auto-generated");
    }
}

/// Pods of indexed Jobs get hostnames with the index behind the Job's name.
fn hostnames(v: &Field<'_>) {
    let completions = v.at("spec.completions").int();
    let name = v.at("metadata").at("name");
    if v.at("spec.completionMode").is("Indexed") && completions > 0 {
        let longest = format!("{}-{}", name.str(), completions - 1);
        if !names::dns1123_label(&longest).is_empty() {
            name.invalid(name.str(), &format!("will not able to create pod with invalid DNS label: {longest}"));
        }
    }
}

/// A JobSpec without its selector.
pub(super) fn spec(f: &Field<'_>, options: &Options) {
    super::counts(
        f,
        &["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"],
    );
    if f.at("maxFailedIndexes").exists() && !f.at("backoffLimitPerIndex").exists() {
        f.at("backoffLimitPerIndex").required("when maxFailedIndexes is specified");
    }
    let manager = f.at("managedBy");
    if manager.exists() {
        domain_prefixed_path(&manager);
        if manager.str().len() > MAX_MANAGER {
            manager.too_long(MAX_MANAGER);
        }
    }
    f.at("completionMode").optional_of(&["NonIndexed", "Indexed"]);
    match f.at("completionMode").text() {
        Some("Indexed") => indexed(f),
        None | Some("NonIndexed") => {
            for part in ["backoffLimitPerIndex", "maxFailedIndexes"].into_iter().map(|p| f.at(p)).filter(Field::exists) {
                part.invalid(part.int(), "requires indexed completion mode");
            }
        }
        Some(_) => {}
    }
    if f.at("podFailurePolicy").exists() {
        failure_policy(f);
    }
    success_policy(f);
    let replacement = f.at("podReplacementPolicy");
    if f.at("podFailurePolicy").exists() {
        replacement.optional_of(&["Failed"]);
    } else {
        replacement.optional_of(&["Failed", "TerminatingOrFailed"]);
    }
    pod::template(&f.at("template"), options);
    let restart = f.at("template").at("spec").at("restartPolicy");
    match restart.str() {
        "" | "Always" => restart.required("valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if f.at("podFailurePolicy").exists() => restart.invalid("OnFailure", "only \"Never\" is supported when podFailurePolicy is specified"),
        "OnFailure" | "Never" => {}
        r => restart.unsupported(r, &["OnFailure", "Never"]),
    }
}

fn indexed(f: &Field<'_>) {
    let (completions, parallelism, failed) = (f.at("completions"), f.at("parallelism"), f.at("maxFailedIndexes"));
    if !completions.exists() {
        completions.required("when completion mode is Indexed");
    }
    if parallelism.int() > MAX_PARALLELISM {
        parallelism.invalid(parallelism.int(), &format!("must be less than or equal to {MAX_PARALLELISM} when completion mode is Indexed"));
    }
    if completions.exists() && failed.int() > completions.int() {
        failed.invalid(failed.int(), "must be less than or equal to completions");
    }
    if failed.int() > MANY_COMPLETIONS {
        failed.invalid(failed.int(), &format!("must be less than or equal to {MANY_COMPLETIONS}"));
    }
    if completions.int() <= MANY_COMPLETIONS || !f.at("backoffLimitPerIndex").exists() {
        return;
    }
    if !failed.exists() {
        failed.required(&format!("must be specified when completions is above {MANY_COMPLETIONS}"));
    }
    for part in [&parallelism, &failed] {
        if part.int() > MAX_PARALLELISM_OF_MANY {
            part.invalid(part.int(), &format!("must be less than or equal to {MAX_PARALLELISM_OF_MANY} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"));
        }
    }
}

/// A value that is needed, out of a set; the message lists the set as Go prints lists.
fn needed(f: &Field<'_>, supported: &[&str]) {
    if f.str().is_empty() {
        f.required(&format!("valid values: [{}]", pod::quoted(supported)));
    } else {
        f.if_any_of(supported);
    }
}

fn failure_policy(f: &Field<'_>) {
    let rules = f.at("podFailurePolicy").at("rules");
    if rules.len() > MAX_RULES {
        rules.too_many(rules.len(), MAX_RULES);
    }
    let containers: Vec<&str> =
        ["containers", "initContainers"].into_iter().flat_map(|l| f.at("template.spec").at(l).items()).map(|c| c.at("name").str()).collect();
    for r in rules.items() {
        let (action, codes, conditions) = (r.at("action"), r.at("onExitCodes"), r.at("onPodConditions"));
        if action.is("FailIndex") {
            if !f.at("backoffLimitPerIndex").exists() {
                action.invalid(action.str(), "requires the backoffLimitPerIndex to be set");
            }
        } else {
            needed(&action, &["Count", "FailIndex", "FailJob", "Ignore"]);
        }
        if codes.exists() {
            exit_codes(&codes, &containers);
        }
        if conditions.len() > MAX_RULES {
            conditions.too_many(conditions.len(), MAX_RULES);
        }
        for c in conditions.items() {
            c.at("type").check(names::qualified_name);
            needed(&c.at("status"), &["False", "True", "Unknown"]);
        }
        match (codes.exists(), !conditions.list().is_empty()) {
            (true, true) => r.invalid(Omitted, "specifying both OnExitCodes and OnPodConditions is not supported"),
            (false, false) => r.invalid(Omitted, "specifying one of OnExitCodes and OnPodConditions is required"),
            _ => {}
        }
    }
}

fn exit_codes(f: &Field<'_>, containers: &[&str]) {
    needed(&f.at("operator"), &["In", "NotIn"]);
    let (name, values) = (f.at("containerName"), f.at("values"));
    if name.text().is_some_and(|n| !containers.contains(&n)) {
        name.invalid(name.str(), "must be one of the container or initContainer names in the pod template");
    }
    if values.list().is_empty() {
        values.invalid(own(values.value()), "at least one value is required");
    } else if values.len() > MAX_EXIT_CODES {
        values.too_many(values.len(), MAX_EXIT_CODES);
    }
    let mut seen = std::collections::HashSet::new();
    for v in values.items() {
        if f.at("operator").is("In") && v.int() == 0 {
            v.invalid(0, "must not be 0 for the In operator");
        }
        if !seen.insert(v.int()) {
            v.duplicate(v.int());
        }
    }
    if values.list().windows(2).any(|w| w[0].as_i64() > w[1].as_i64()) {
        values.invalid(own(values.value()), "must be ordered");
    }
}

fn success_policy(f: &Field<'_>) {
    let policy = f.at("successPolicy");
    if !policy.exists() {
        return;
    }
    if !f.at("completionMode").is("Indexed") {
        return policy.invalid(internal("io.k8s.api.batch.v1.SuccessPolicy", policy.value()), "requires indexed completion mode");
    }
    let (rules, completions) = (policy.at("rules"), f.at("completions").int());
    if rules.list().is_empty() {
        rules.required("at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MAX_RULES {
        rules.too_many(rules.len(), MAX_RULES);
    }
    for r in rules.items() {
        let (count, list) = (r.at("succeededCount"), r.at("succeededIndexes"));
        if !count.exists() && !list.exists() {
            r.required("at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = 0;
        if let Some(text) = list.text() {
            if text.len() > 64 * 1024 {
                list.too_long(64 * 1024);
            }
            match indexes::count(text, completions) {
                Ok(n) => total = n,
                Err(e) => list.invalid(text, &format!("error parsing succeededIndexes: {e}")),
            }
        }
        if count.exists() {
            count.non_negative();
            if count.int() > completions {
                count.invalid(count.int(), &format!("must be less than or equal to {completions} (the number of specified completions)"));
            }
            if list.exists() && count.int() > total {
                count.invalid(count.int(), &format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"));
            }
        }
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    whole(new, Some(old));
    let (f, before) = (new.at("spec"), old.at("spec"));
    let (completions, was) = (f.at("completions"), before.at("completions"));
    if !f.at("completionMode").is("Indexed") {
        completions.immutable(&was);
    } else if completions.exists() && completions.number() != was.number() && completions.int() != f.at("parallelism").int() {
        completions.invalid(completions.int(), "can only be modified in tandem with spec.parallelism");
    }
    f.at("selector").immutable_selector(&before.at("selector"));
    template_update(&f, &before, old);
    for (part, ty) in
        [("completionMode", ""), ("podFailurePolicy", "PodFailurePolicy"), ("backoffLimitPerIndex", ""), ("managedBy", ""), ("successPolicy", "SuccessPolicy")]
    {
        let (now, was) = (f.at(part), before.at(part));
        if !same(now.value(), was.value()) {
            let shown = if ty.is_empty() || !now.exists() { own(now.value()) } else { internal(&format!("io.k8s.api.batch.v1.{ty}"), now.value()) };
            now.invalid(shown, "field is immutable");
        }
    }
    hostnames(new);
}

/// While a Job is suspended and has no pods, its pods' resources and scheduling may change.
fn template_update(f: &Field<'_>, before: &Field<'_>, old: &Field<'_>) {
    let suspended = before.at("suspend").flag();
    let held = old.at("status.conditions").items().any(|c| c.at("type").is("Suspended") && c.at("status").is("True"));
    let fresh = !old.at("status.startTime").exists();
    let template = f.at("template");
    let mut was = before.at("template").value().clone();
    if suspended && (held || fresh) && old.at("status.active").int() == 0 {
        // Their labels may not lead them away from the Job, which its selector sees to.
        loosen(&mut was, template.value());
        resources(&mut was, template.value());
        if !same(template.at("spec").value(), was.get("spec").unwrap_or(&Value::Null)) {
            let spec = f.under("template.spec", "template.spec");
            spec.invalid(internal("io.k8s.api.core.v1.PodSpec", spec.value()), "field is immutable");
        }
    } else if !same(template.value(), &was) {
        template.invalid(shown_template(template.value()), "field is immutable");
    }
}

fn shown_template(v: &Value) -> Json {
    internal("io.k8s.api.core.v1.PodTemplateSpec", v)
}

fn put(v: &mut Value, from: &Value, path: &[&str]) {
    let [parents @ .., key] = path else { return };
    let given = path.iter().try_fold(from, |v, k| v.get(*k));
    let mut at = v;
    for p in parents {
        let Some(m) = at.as_object_mut() else { return };
        if !m.contains_key(p) && given.is_none() {
            return;
        }
        at = m.entry(*p).or_insert_with(|| Value::Object(Default::default()));
    }
    let Some(m) = at.as_object_mut() else { return };
    match given {
        Some(x) => drop(m.insert(*key, x.clone())),
        None => drop(m.shift_remove(key)),
    }
}

fn loosen(was: &mut Value, new: &Value) {
    for path in [
        &["spec", "affinity", "nodeAffinity"][..],
        &["spec", "nodeSelector"],
        &["spec", "tolerations"],
        &["metadata", "annotations"],
        &["metadata", "labels"],
        &["spec", "schedulingGates"],
    ] {
        put(was, new, path);
    }
    if new.pointer("/spec/affinity").is_none()
        && was.pointer("/spec/affinity").and_then(Value::as_object).is_some_and(|m| m.is_empty())
        && let Some(m) = was.get_mut("spec").and_then(Value::as_object_mut)
    {
        m.shift_remove("affinity");
    }
}

fn resources(was: &mut Value, new: &Value) {
    for list in ["containers", "initContainers"] {
        let now = new.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let Some(old) = was.get_mut("spec").and_then(|s| s.get_mut(list)).and_then(Value::as_array_mut) else { continue };
        if old.len() != now.len() {
            continue;
        }
        for (o, n) in old.iter_mut().zip(now).filter(|(o, n)| o.get("name") == n.get("name")) {
            put(o, n, &["resources"]);
        }
    }
}
