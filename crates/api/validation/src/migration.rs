//! StorageVersionMigration.
use crate::{
    field::Field,
    names,
    show::{Json, own},
    small,
};
use skiff_json::json;

pub(crate) fn create(v: &Field<'_>) {
    let (resource, group) = (v.at("spec").at("resource").at("resource"), v.at("spec").at("resource").at("group"));
    let check = |f: &Field<'_>, found: names::Messages| {
        if !found.is_empty() {
            f.invalid(f.str(), &found.join(","));
        }
    };
    if resource.str().is_empty() {
        resource.required("resource is required to be set");
    } else {
        check(&resource, names::dns1035_label(resource.str()));
    }
    if !group.str().is_empty() {
        check(&group, names::dns1123_subdomain(group.str()));
    }
}

pub(crate) fn update(new: &Field<'_>, old: &Field<'_>) {
    create(new);
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if spec.value() != before.value() {
        let r = spec.at("resource");
        let shown = json!({"Resource": {"group": r.at("group").str(), "resource": r.at("resource").str()}});
        spec.invalid(Json(shown.to_string()), "field is immutable");
    }
}

pub(crate) fn status(new: &Field<'_>, old: &Field<'_>) {
    let (status, before) = (new.at("status"), old.at("status"));
    let (revision, pinned) = (status.at("resourceVersion"), before.at("resourceVersion").str());
    let text = revision.str();
    if !text.is_empty() && (text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit())) {
        revision.invalid(text, &format!("resource version is not well formed: {text}"));
    }
    let conditions = status.at("conditions");
    small::conditions(&conditions);
    if !pinned.is_empty() && pinned != text {
        revision.invalid(text, "field is immutable");
    }
    let holds = |f: &Field<'_>, kind: &str| f.at("conditions").items().any(|c| c.at("type").is(kind) && c.at("status").is("True"));
    let told = |why: &str| conditions.invalid(own(conditions.value()), why);
    if holds(&status, "Succeeded") && holds(&status, "Failed") {
        told("Both success and failed conditions cannot be true at the same time");
    }
    if holds(&before, "Succeeded") && !holds(&status, "Succeeded") {
        told("Success condition cannot be set to false once it is true");
    }
    if holds(&before, "Failed") && !holds(&status, "Failed") {
        told("Failed condition cannot be set to false once it is true");
    }
}

#[cfg(test)]
mod tests {
    use crate::{validate_create, validate_status_update, validate_update};
    use skiff_json::{Value, json};

    fn migration(group: &str, resource: &str, status: Value) -> Value {
        json!({"spec": {"resource": {"group": group, "resource": resource}}, "status": status})
    }
    fn told(causes: Vec<skiff_meta::Cause>) -> Vec<String> {
        causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
    }

    #[test]
    fn what_is_migrated_stays() {
        let (group, kind) = ("storagemigration.k8s.io", "StorageVersionMigration");
        let good = migration("g.io", "things", json!({}));
        assert_eq!(told(validate_create(group, kind, &good)), Vec::<String>::new());
        assert_eq!(
            told(validate_create(group, kind, &migration("", "", json!({})))),
            ["spec.resource.resource: Required value: resource is required to be set"]
        );
        let other = migration("g.io", "others", json!({}));
        assert_eq!(
            told(validate_update(group, kind, &other, &good)),
            ["spec: Invalid value: {\"Resource\":{\"group\":\"g.io\",\"resource\":\"others\"}}: field is immutable"]
        );
        let pinned = |rv: &str| migration("g.io", "things", json!({"resourceVersion": rv}));
        assert_eq!(told(validate_status_update(group, kind, &pinned("6"), &pinned("5"))), ["status.resourceVersion: Invalid value: \"6\": field is immutable"]);
    }
}
