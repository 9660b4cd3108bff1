//! The requests of one object's life, in their order: made, read, patched, applied by two managers, updated, scaled,
//! watched, deleted. Pure.

use super::fields;
use super::kinds::Kind;
use super::request::{APPLY, Body, Edit, JSON, JSON_PATCH, MERGE, Request, STRATEGIC};
use skiff_json::{Value, json};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

/// Paths of one object.
struct Paths {
    collection: String,
    item: String,
    name: String,
}

/// Everything that is asked about a kind with seeds.
pub fn requests(kind: &Kind) -> Vec<Request> {
    let mut all = fields::creates(kind);
    let Some(seed) = kind.seeds.first() else { return all };
    if !kind.allows("get") {
        all.push(Request::new("create", "POST", kind.collection()).json(seed.object.clone()));
        return all;
    }
    let name = seed.object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let p = Paths { item: format!("{}/{name}", kind.collection()), collection: kind.collection(), name };
    all.extend(create(kind, &p, &seed.object));
    all.extend(read(&p));
    all.extend(list(kind, &p));
    all.extend(patch(kind, &p));
    all.extend(apply(kind, &p, &seed.object));
    all.extend(update(&p));
    all.extend(fields::updates(kind, seed, &p.item));
    if kind.sub("status") {
        all.extend(status(&p, seed.status.as_ref()));
        all.extend(fields::statuses(kind, &p.item));
    }
    if kind.sub("scale") {
        all.extend(scale(&p));
    }
    all.extend(delete(&p));
    all.extend(kind.seeds.iter().skip(1).flat_map(|s| other(kind, &p, s)));
    all.extend(watch(kind, &p));
    if kind.allows("deletecollection") {
        all.push(Request::new("deletecollection, dry run", "DELETE", format!("{}?labelSelector=app%3Dx&dryRun=All", p.collection)));
        all.push(Request::new("deletecollection", "DELETE", format!("{}?labelSelector=app%3Dx", p.collection)));
        all.push(Request::new("deletecollection, bad selector", "DELETE", format!("{}?labelSelector=%3D%3D", p.collection)));
    }
    all.push(Request::get("list at the end", format!("{}?labelSelector=app%3Dx", p.collection)));
    all
}

fn with(object: &Value, edits: &[Edit]) -> Value {
    let mut object = object.clone();
    edits.iter().for_each(|e| e.apply(&mut object));
    object
}

fn create(kind: &Kind, p: &Paths, seed: &Value) -> Vec<Request> {
    let post = |name: &str, query: &str, edits: &[Edit]| Request::new(name, "POST", format!("{}{query}", p.collection)).json(with(seed, edits));
    let raw = |name: &str, text: &str| Request::new(name, "POST", p.collection.clone()).text(JSON, text);
    let twice = seed.to_string().replacen("{\"name\":", "{\"name\":\"first\",\"name\":", 1);
    let mut all = vec![
        Request::get("since", format!("{}?limit=1", p.collection)),
        post("create, strict, unknown field", "?fieldValidation=Strict", &[Edit::set("/bogus", 1), Edit::set("/metadata/bogus", 1)]),
        post("create, warn, unknown field", "?fieldValidation=Warn&dryRun=All", &[Edit::set("/bogus", 1), Edit::set("/metadata/bogus", 1)]),
        post("create, ignore, unknown field", "?fieldValidation=Ignore&dryRun=All", &[Edit::set("/bogus", 1)]),
        post("create, bad fieldValidation", "?fieldValidation=Perhaps", &[]),
        post("create, bad dryRun", "?dryRun=Some", &[]),
        Request::new("create, strict, duplicate field", "POST", format!("{}?fieldValidation=Strict", p.collection)).text(JSON, twice.clone()),
        Request::new("create, warn, duplicate field", "POST", format!("{}?dryRun=All&fieldValidation=Warn", p.collection)).text(JSON, twice),
        post("create without a name", "", &[Edit::remove("/metadata/name")]),
        post("create without metadata", "", &[Edit::remove("/metadata")]),
        post("create, name of capitals", "", &[Edit::set("/metadata/name", "Not_A.Name")]),
        post("create, name too long", "", &[Edit::set("/metadata/name", "a".repeat(260))]),
        post("create, generateName", "?dryRun=All", &[Edit::remove("/metadata/name"), Edit::set("/metadata/generateName", "base-")]),
        post("create, another namespace", "", &[Edit::set("/metadata/namespace", "elsewhere")]),
        post("create, another kind", "", &[Edit::set("/kind", "Other")]),
        post("create, another version", "", &[Edit::set("/apiVersion", "example.com/v9")]),
        post("create without kind", "?dryRun=All", &[Edit::remove("/kind")]),
        post("create without apiVersion", "?dryRun=All", &[Edit::remove("/apiVersion")]),
        post("create without both", "?dryRun=All", &[Edit::remove("/kind"), Edit::remove("/apiVersion")]),
        post("create with a revision", "", &[Edit::set("/metadata/resourceVersion", "5")]),
        post(
            "create with uid",
            "?dryRun=All",
            &[
                Edit::set("/metadata/uid", "x"),
                Edit::set("/metadata/generation", 9),
                Edit::set("/metadata/selfLink", "x"),
                Edit::set("/metadata/creationTimestamp", "2020-01-01T00:00:00Z"),
                Edit::set("/metadata/deletionTimestamp", "2020-01-01T00:00:00Z"),
                Edit::set("/metadata/deletionGracePeriodSeconds", 3),
            ],
        ),
        post(
            "create with managedFields",
            "?dryRun=All",
            &[Edit::set(
                "/metadata/managedFields",
                json!([{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:x": {}}}]),
            )],
        ),
        post("create with bad managedFields", "?dryRun=All", &[Edit::set("/metadata/managedFields", json!([{"manager": "m", "operation": "No"}]))]),
        post("create, manager too long", &format!("?fieldManager={}", "m".repeat(129)), &[]),
        post("create, manager unprintable", "?fieldManager=a%01b", &[]),
        post("create with finalizers", "?dryRun=All", &[Edit::set("/metadata/finalizers", json!(["bad", "example.com/good", "orphan", "foregroundDeletion"]))]),
        post(
            "create with owners",
            "?dryRun=All",
            &[Edit::set(
                "/metadata/ownerReferences",
                json!([{"apiVersion": "", "kind": "", "name": "", "uid": ""}, {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u", "controller": true}, {"apiVersion": "v1", "kind": "B", "name": "b", "uid": "v", "controller": true}]),
            )],
        ),
        post("create with bad labels", "?dryRun=All", &[Edit::set("/metadata/labels/a b", "c"), Edit::set("/metadata/annotations", json!({"X/y/z": "1"}))]),
        post("create with a bad label's value", "?dryRun=All", &[Edit::set("/metadata/labels/d", "e f")]),
        post("create, labels of numbers", "?dryRun=All", &[Edit::set("/metadata/labels/a", 5)]),
        post("create, labels of null", "?dryRun=All", &[Edit::set("/metadata/labels/a", Value::Null), Edit::set("/metadata/annotations", Value::Null)]),
        raw("create, no JSON", "{\"kind\": "),
        raw("create, a list", "[]"),
        raw("create, a text", "\"x\""),
        raw("create, null", "null"),
        raw("create, an empty object", "{}"),
        Request::new("create, nothing", "POST", p.collection.clone()),
        raw("create, two objects", &format!("{seed}{seed}")),
        Request::new("create, unknown media type", "POST", p.collection.clone()).text("text/weird", seed.to_string()),
        Request::new("create as YAML", "POST", format!("{}?dryRun=All", p.collection)).text("application/yaml", seed.to_string()),
        post("create", "?fieldManager=maker", &[]),
        post("create again", "", &[]),
        post("create again, dry run", "?dryRun=All", &[]),
    ];
    if kind.namespaced {
        let nowhere = p.collection.replace(&kind.namespace(), "nowhere");
        all.push(Request::new("create, no such namespace", "POST", nowhere.clone()).json(with(seed, &[])));
        all.push(Request::get("list, no such namespace", nowhere.clone()));
        all.push(Request::get("get, no such namespace", format!("{nowhere}/base")));
    }
    all
}

fn read(p: &Paths) -> Vec<Request> {
    let get = |name: &str, query: &str| Request::get(name, format!("{}{query}", p.item));
    vec![
        get("get", ""),
        get("get pretty", "?pretty=true"),
        get("get as YAML", "").accept("application/yaml"),
        get("get as Table", "").accept(TABLE),
        get("get as Table with objects", "?includeObject=Object").accept(TABLE),
        get("get as Table without objects", "?includeObject=None").accept(TABLE),
        get("get as Table, bad includeObject", "?includeObject=Some").accept(TABLE),
        get("get as metadata", "").accept(METADATA),
        get("get as an unknown kind", "").accept("application/json;as=Other;v=v1;g=meta.k8s.io"),
        get("get as text", "").accept("text/plain"),
        get("get as one of several", "").accept("text/plain;q=0.9, application/json;q=0.5, */*;q=0.1"),
        get("get as anything", "").accept("*/*"),
        get("get at 0", "?resourceVersion=0"),
        get("get at a bad revision", "?resourceVersion=x"),
        get("get from the future", "?resourceVersion=99999999999"),
        Request::get("get nothing", format!("{}/nothing", p.collection)),
        Request::get("get a bad name", format!("{}/Not_A.Name", p.collection)),
        Request::get("get an unknown subresource", format!("{}/nothing", p.item)),
        Request::new("POST to the object", "POST", p.item.clone()).json(json!({})),
        Request::new("PUT to the collection", "PUT", p.collection.clone()).json(json!({})),
    ]
}

fn list(kind: &Kind, p: &Paths) -> Vec<Request> {
    let list = |name: &str, query: &str| Request::get(name, format!("{}?labelSelector=app%3Dx{query}", p.collection));
    let bare = |name: &str, query: &str| Request::get(name, format!("{}?{query}", p.collection));
    if !kind.allows("list") {
        return Vec::new();
    }
    vec![
        list("list", ""),
        list("list as Table", "").accept(TABLE),
        list("list as metadata", "").accept(METADATA_LIST),
        list("list as metadata of one", "").accept(METADATA),
        list("list as YAML", "").accept("application/yaml"),
        list("list, limit", "&limit=1"),
        list("list, bad limit", "&limit=x"),
        list("list, negative limit", "&limit=-1"),
        list("list, bad continue", "&continue=x"),
        list("list at 0", "&resourceVersion=0"),
        list("list at a bad revision", "&resourceVersion=x"),
        list("list from the future", "&resourceVersion=99999999999&timeoutSeconds=1"),
        list("list, match without revision", "&resourceVersionMatch=Exact"),
        list("list, exact 0", "&resourceVersion=0&resourceVersionMatch=Exact"),
        list("list, unknown match", "&resourceVersion=1&resourceVersionMatch=Perhaps"),
        list("list, not older", "&resourceVersion=1&resourceVersionMatch=NotOlderThan"),
        list("list, continue with match", "&continue=x&resourceVersionMatch=Exact&resourceVersion=1"),
        list("list with initial events", "&sendInitialEvents=true"),
        bare("list by name", &format!("fieldSelector=metadata.name%3D{}", p.name)),
        bare("list by other names", "labelSelector=app%3Dx&fieldSelector=metadata.name!%3Dother"),
        bare("list by namespace", "labelSelector=app%3Dx&fieldSelector=metadata.namespace%3Dother"),
        bare("list by an unknown field", "fieldSelector=bogus%3D1"),
        bare("list by a bad field selector", "fieldSelector=bogus"),
        bare("list by a bad label selector", "labelSelector=a%20b%20c"),
        bare("list by a set", "labelSelector=app%20in%20(x%2Cy)%2C!nothing"),
        bare("list by a bad label value", "labelSelector=app%3D%22x%22"),
        bare("list, bad boolean", "labelSelector=app%3Dx&watch=perhaps&timeoutSeconds=1"),
    ]
}

fn patch(kind: &Kind, p: &Paths) -> Vec<Request> {
    if !kind.allows("patch") {
        return Vec::new();
    }
    let patch = |name: &str, query: &str, media: &str, text: &str| Request::new(name, "PATCH", format!("{}{query}", p.item)).text(media, text);
    vec![
        patch("merge patch", "?fieldManager=patcher", MERGE, r#"{"metadata":{"labels":{"m":"1"}}}"#),
        patch("merge patch of nothing", "", MERGE, "{}"),
        patch("merge patch of null", "?fieldManager=patcher", MERGE, r#"{"metadata":{"labels":{"m":null}}}"#),
        patch("merge patch, unknown field", "?fieldValidation=Strict", MERGE, r#"{"bogus":1}"#),
        patch("merge patch, unknown field, warn", "?dryRun=All", MERGE, r#"{"bogus":1}"#),
        patch("merge patch, bad type", "", MERGE, r#"{"metadata":{"labels":[1]}}"#),
        patch("merge patch, a list", "", MERGE, "[]"),
        patch("merge patch, no JSON", "", MERGE, "{"),
        patch("merge patch of the name", "", MERGE, r#"{"metadata":{"name":"other"}}"#),
        patch("merge patch of the uid", "", MERGE, r#"{"metadata":{"uid":"other"}}"#),
        patch("merge patch of the kind", "", MERGE, r#"{"kind":"Other"}"#),
        patch("merge patch with an old revision", "", MERGE, r#"{"metadata":{"resourceVersion":"1","labels":{"m":"2"}}}"#),
        patch("merge patch with force", "?force=true", MERGE, "{}"),
        patch(
            "JSON patch",
            "?fieldManager=patcher",
            JSON_PATCH,
            r#"[{"op":"add","path":"/metadata/labels/j","value":"1"},{"op":"test","path":"/metadata/labels/j","value":"1"},{"op":"copy","from":"/metadata/labels/j","path":"/metadata/labels/k"},{"op":"move","from":"/metadata/labels/k","path":"/metadata/labels/l"},{"op":"replace","path":"/metadata/labels/l","value":"2"}]"#,
        ),
        patch("JSON patch, test fails", "", JSON_PATCH, r#"[{"op":"test","path":"/metadata/labels/j","value":"2"}]"#),
        patch("JSON patch, missing path", "", JSON_PATCH, r#"[{"op":"remove","path":"/metadata/labels/zz"}]"#),
        patch("JSON patch, missing parent", "", JSON_PATCH, r#"[{"op":"add","path":"/nothing/here","value":1}]"#),
        patch("JSON patch, unknown operation", "", JSON_PATCH, r#"[{"op":"jump","path":"/metadata"}]"#),
        patch("JSON patch, no list", "", JSON_PATCH, "{}"),
        patch("JSON patch, bad value", "", JSON_PATCH, r#"[{"op":"replace","path":"/metadata/labels","value":7}]"#),
        patch("JSON patch, unknown field", "?fieldValidation=Strict", JSON_PATCH, r#"[{"op":"add","path":"/bogus","value":7}]"#),
        patch("strategic patch", "?fieldManager=patcher", STRATEGIC, r#"{"metadata":{"annotations":{"s":"1"},"finalizers":["example.com/a"]}}"#),
        patch("strategic patch, a second element", "?fieldManager=patcher", STRATEGIC, r#"{"metadata":{"finalizers":["example.com/b"]}}"#),
        patch(
            "strategic patch, delete from a list",
            "?fieldManager=patcher",
            STRATEGIC,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a","example.com/b"]}}"#,
        ),
        patch("strategic patch, replace", "?fieldManager=patcher", STRATEGIC, r#"{"metadata":{"annotations":{"$patch":"replace","t":"2"}}}"#),
        patch("strategic patch, delete", "?dryRun=All", STRATEGIC, r#"{"metadata":{"annotations":{"$patch":"delete"}}}"#),
        patch("strategic patch, unknown directive", "", STRATEGIC, r#"{"metadata":{"annotations":{"$patch":"paint"}}}"#),
        patch("strategic patch, unknown field", "?fieldValidation=Strict", STRATEGIC, r#"{"bogus":1}"#),
        patch("strategic patch, bad type", "", STRATEGIC, r#"{"metadata":{"labels":"x"}}"#),
        patch("strategic patch, no JSON", "", STRATEGIC, "x"),
        patch("patch of an unknown media type", "", "text/plain", "{}"),
        patch("patch as JSON", "", JSON, "{}"),
        Request::new("merge patch of nothing there", "PATCH", format!("{}/nothing", p.collection)).text(MERGE, "{}"),
        Request::get("get after patches", p.item.clone()),
    ]
}

fn apply(kind: &Kind, p: &Paths, seed: &Value) -> Vec<Request> {
    if !kind.allows("patch") {
        return Vec::new();
    }
    let head = with(&json!({"apiVersion": seed["apiVersion"], "kind": seed["kind"]}), &[Edit::set("/metadata/name", p.name.clone())]);
    let apply = |name: &str, query: &str, object: Value| Request::new(name, "PATCH", format!("{}?{query}", p.item)).content(APPLY, Body::Json(object));
    let label = |v: &str| with(&head, &[Edit::set("/metadata/labels/applied", v)]);
    let top = |v: &Value| -> Vec<String> {
        v.as_object()
            .into_iter()
            .flat_map(|m| m.keys())
            .filter(|k| !["apiVersion", "kind", "metadata"].contains(&k.as_str()))
            .map(ToString::to_string)
            .collect()
    };
    let first = top(seed).into_iter().next().unwrap_or_default();
    vec![
        apply("apply without a manager", "", label("1")),
        apply("apply", "fieldManager=one", label("1")),
        apply("apply again", "fieldManager=one", label("1")),
        apply("apply, conflict", "fieldManager=two", label("2")),
        apply("apply, force", "fieldManager=two&force=true", label("2")),
        apply(
            "apply, conflict with all",
            "fieldManager=one",
            with(seed, &[Edit::set("/metadata/labels/applied", "3"), Edit::set("/metadata/labels/app", "x"), Edit::remove("/metadata/namespace")]),
        ),
        apply("apply all, force", "fieldManager=one&force=true", with(seed, &[Edit::set("/metadata/labels/applied", "3")])),
        apply("apply all as two", "fieldManager=two&dryRun=All", with(seed, &[])),
        apply("apply less", "fieldManager=one&dryRun=All", with(seed, &[Edit::remove(format!("/{first}"))])),
        apply("apply less, force", "fieldManager=one&dryRun=All&force=true", head.clone()),
        apply("apply a bad type", "fieldManager=one", with(&head, &[Edit::set(format!("/{first}"), json!([[7]]))])),
        apply("apply an unknown field", "fieldManager=one", with(&head, &[Edit::set("/bogus", 7)])),
        apply("apply an unknown field, ignored", "fieldManager=one&fieldValidation=Ignore&dryRun=All", with(&head, &[Edit::set("/bogus", 7)])),
        apply("apply managedFields", "fieldManager=one", with(&head, &[Edit::set("/metadata/managedFields", json!([{"manager": "x", "operation": "Apply"}]))])),
        apply("apply an old revision", "fieldManager=one", with(&label("9"), &[Edit::set("/metadata/resourceVersion", "1")])),
        apply("apply another name", "fieldManager=one", with(&head, &[Edit::set("/metadata/name", "other")])),
        apply("apply another kind", "fieldManager=one", with(&head, &[Edit::set("/kind", "Other")])),
        apply("apply without a kind", "fieldManager=one", with(&head, &[Edit::remove("/kind")])),
        apply("apply without a name", "fieldManager=one&dryRun=All", with(&head, &[Edit::remove("/metadata")])),
        Request::new("apply, no YAML", "PATCH", format!("{}?fieldManager=one", p.item)).text(APPLY, "a: b: c"),
        Request::new("apply, twice a key", "PATCH", format!("{}?fieldManager=one", p.item)).text(
            APPLY,
            format!("{{\"apiVersion\": {}, \"kind\": {}, \"metadata\": {{\"labels\": {{\"a\": \"1\", \"a\": \"2\"}}}}}}", seed["apiVersion"], seed["kind"]),
        ),
        apply("apply, bad force", "fieldManager=one&force=maybe", label("1")),
        Request::new("apply a new object", "PATCH", format!("{}/applied?fieldManager=one&dryRun=All", p.collection))
            .content(APPLY, Body::Json(with(seed, &[Edit::set("/metadata/name", "applied")]))),
        Request::new("apply a new object with a revision", "PATCH", format!("{}/applied?fieldManager=one", p.collection))
            .content(APPLY, Body::Json(with(seed, &[Edit::set("/metadata/name", "applied"), Edit::set("/metadata/resourceVersion", "1")]))),
        Request::get("get after applies", p.item.clone()),
    ]
}

fn update(p: &Paths) -> Vec<Request> {
    let put = |name: &str, query: &str, edits: &[Edit]| Request::new(name, "PUT", format!("{}{query}", p.item)).stored(edits);
    vec![
        put("update of nothing", "", &[]),
        put("update", "?fieldManager=updater", &[Edit::set("/metadata/labels/u", "1")]),
        put("update without a revision", "?dryRun=All", &[Edit::remove("/metadata/resourceVersion")]),
        put("update of an old revision", "", &[Edit::set("/metadata/resourceVersion", "1")]),
        put("update of a bad revision", "", &[Edit::set("/metadata/resourceVersion", "x")]),
        put("update of another uid", "", &[Edit::set("/metadata/uid", "x")]),
        put("update of another name", "", &[Edit::set("/metadata/name", "other")]),
        put("update of another namespace", "", &[Edit::set("/metadata/namespace", "other")]),
        put("update without a name", "", &[Edit::remove("/metadata/name")]),
        put(
            "update of the creation time",
            "?dryRun=All",
            &[Edit::set("/metadata/creationTimestamp", "2020-01-01T00:00:00Z"), Edit::set("/metadata/generation", 77)],
        ),
        put("update of the deletion time", "?dryRun=All", &[Edit::set("/metadata/deletionTimestamp", "2020-01-01T00:00:00Z")]),
        put("update without managedFields", "?dryRun=All", &[Edit::remove("/metadata/managedFields")]),
        put("update with empty managedFields", "?dryRun=All", &[Edit::set("/metadata/managedFields", json!([{}]))]),
        put("update with a bad label", "", &[Edit::set("/metadata/labels/u", "a b")]),
        put("update, unknown field", "?fieldValidation=Strict", &[Edit::set("/bogus", "a b")]),
        Request::new("update of nothing there", "PUT", format!("{}/nothing", p.collection)).stored([
            Edit::set("/metadata/name", "nothing"),
            Edit::remove("/metadata/resourceVersion"),
            Edit::remove("/metadata/uid"),
        ]),
        Request::new("update with nothing", "PUT", p.item.clone()).text(JSON, ""),
        Request::get("get after updates", p.item.clone()),
    ]
}

fn status(p: &Paths, status: Option<&Value>) -> Vec<Request> {
    let path = format!("{}/status", p.item);
    let mut all = vec![
        Request::get("get status", path.clone()),
        Request::get("get status as Table", path.clone()).accept(TABLE),
        Request::new("delete status", "DELETE", path.clone()),
    ];
    if let Some(s) = status {
        all.push(Request::new("status by the object", "PUT", format!("{}?dryRun=All", p.item)).stored([Edit::set("/status", s.clone())]));
        all.push(
            Request::new("status", "PUT", format!("{path}?fieldManager=status"))
                .stored([Edit::set("/status", s.clone()), Edit::set("/metadata/labels/by-status", "1")]),
        );
        all.push(
            Request::new("status by a merge patch", "PATCH", format!("{path}?dryRun=All")).content(MERGE, Body::Json(json!({"status": s, "spec": {"x": 1}}))),
        );
    }
    all.push(
        Request::new("status, spec is left alone", "PUT", format!("{path}?dryRun=All"))
            .stored([Edit::set("/spec", json!({})), Edit::set("/metadata/annotations/by-status", "1")]),
    );
    all.push(
        Request::new("apply status", "PATCH", format!("{path}?fieldManager=s&dryRun=All"))
            .content(APPLY, Body::Stored(vec![Edit::remove("/metadata/managedFields"), Edit::remove("/spec")])),
    );
    all.push(Request::get("get after status", p.item.clone()));
    all
}

fn scale(p: &Paths) -> Vec<Request> {
    let path = format!("{}/scale", p.item);
    let patch = |name: &str, query: &str, media: &str, text: &str| Request::new(name, "PATCH", format!("{path}{query}")).text(media, text);
    let put = |name: &str, object: Value| Request::new(name, "PUT", path.clone()).json(object);
    let scale =
        |replicas: Value, name: &str| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": {"replicas": replicas}});
    vec![
        Request::get("get scale", path.clone()),
        put("scale", scale(json!(0), &p.name)),
        put("scale below nothing", scale(json!(-1), &p.name)),
        put("scale by a text", scale(json!("1"), &p.name)),
        put("scale of another name", scale(json!(1), "other")),
        put("scale of an old revision", with(&scale(json!(1), &p.name), &[Edit::set("/metadata/resourceVersion", "1")])),
        put("scale by another kind", with(&scale(json!(1), &p.name), &[Edit::set("/kind", "Other")])),
        put("scale without replicas", with(&scale(json!(1), &p.name), &[Edit::remove("/spec")])),
        patch("scale by a merge patch", "?fieldManager=scaler", MERGE, r#"{"spec":{"replicas":2}}"#),
        patch("scale by a strategic patch", "", STRATEGIC, r#"{"spec":{"replicas":3}}"#),
        patch("scale by a JSON patch", "", JSON_PATCH, r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#),
        patch("scale by an apply", "?fieldManager=applier&force=true", APPLY, &scale(json!(1), &p.name).to_string()),
        patch("scale by an apply, conflict", "?fieldManager=another", APPLY, &scale(json!(4), &p.name).to_string()),
        Request::get("get after scale", p.item.clone()),
    ]
}

fn delete(p: &Paths) -> Vec<Request> {
    let delete = |name: &str, query: &str, options: Option<Value>| {
        let request = Request::new(name, "DELETE", format!("{}{query}", p.item));
        match options {
            Some(o) => request.json(with(
                &json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
                &o.as_object().into_iter().flatten().map(|(k, v)| Edit::set(format!("/{k}"), v.clone())).collect::<Vec<_>>(),
            )),
            None => request,
        }
    };
    vec![
        delete("delete, dry run", "?dryRun=All", None),
        delete("delete, another uid", "", Some(json!({"preconditions": {"uid": "x"}}))),
        delete("delete, an old revision", "", Some(json!({"preconditions": {"resourceVersion": "1"}}))),
        delete("delete, unknown policy", "?propagationPolicy=Sideways", None),
        delete("delete, policy and orphans", "", Some(json!({"propagationPolicy": "Background", "orphanDependents": true}))),
        delete("delete, bad grace", "?gracePeriodSeconds=x", None),
        delete("delete, negative grace", "", Some(json!({"gracePeriodSeconds": -5, "dryRun": ["All"]}))),
        delete("delete, options in the body void the query's", "?dryRun=Some", Some(json!({"dryRun": ["All"]}))),
        delete("delete, options of another kind", "", Some(json!({"kind": "Other"}))),
        delete("delete, unknown option", "", Some(json!({"bogus": 1, "dryRun": ["All"]}))),
        Request::new("delete, no JSON", "DELETE", p.item.clone()).text(JSON, "{"),
        Request::new("delete nothing there", "DELETE", format!("{}/nothing", p.collection)),
        Request::new("hold by a finalizer", "PATCH", p.item.clone()).text(MERGE, r#"{"metadata":{"finalizers":["example.com/hold"]}}"#),
        delete("delete, held", "", Some(json!({"gracePeriodSeconds": 0}))),
        delete("delete, held, again", "", None),
        Request::get("get, held", p.item.clone()),
        Request::new("another finalizer while held", "PATCH", p.item.clone())
            .text(MERGE, r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#),
        Request::new("let go", "PUT", p.item.clone()).stored([Edit::set("/metadata/finalizers", json!([]))]),
        Request::get("get, gone", p.item.clone()),
        delete("delete, gone", "?gracePeriodSeconds=0", None),
    ]
}

/// The life of a further seed, short.
fn other(kind: &Kind, p: &Paths, seed: &super::kinds::Seed) -> Vec<Request> {
    let tag = &seed.tag;
    let mut all = vec![
        Request::new(format!("create {tag}"), "POST", p.collection.clone()).json(seed.object.clone()),
        Request::get(format!("get {tag}"), p.item.clone()),
        Request::get(format!("get {tag} as Table"), p.item.clone()).accept(TABLE),
    ];
    all.extend(fields::updates(kind, seed, &p.item));
    if let Some(s) = &seed.status {
        all.push(Request::new(format!("status {tag}"), "PUT", format!("{}/status", p.item)).stored([Edit::set("/status", s.clone())]));
    }
    all.push(Request::new(format!("delete {tag}"), "DELETE", format!("{}?gracePeriodSeconds=0", p.item)));
    all
}

/// All events since the beginning, until the server ends the watch after a second.
fn watch(kind: &Kind, p: &Paths) -> Vec<Request> {
    if !kind.allows("watch") {
        return Vec::new();
    }
    let watch = |name: &str, query: &str| Request::get(name, format!("{}?watch=1&timeoutSeconds=1&{query}", p.collection));
    let named = format!("fieldSelector=metadata.name%3D{}", p.name);
    vec![
        watch("watch", &format!("resourceVersion={{since}}&{named}")),
        watch("watch as Table", &format!("resourceVersion={{since}}&{named}")).accept(TABLE),
        watch("watch as metadata", &format!("resourceVersion={{since}}&{named}")).accept(METADATA),
        watch("watch labels come and go", "resourceVersion={since}&labelSelector=u%3D1"),
        watch("watch initial events", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=app%3Dx"),
        watch("watch initial events without match", "sendInitialEvents=true&allowWatchBookmarks=true"),
        watch("watch with match", "resourceVersionMatch=NotOlderThan&resourceVersion=1"),
        watch("watch from a bad revision", "resourceVersion=x"),
        watch("watch from the future", "resourceVersion=99999999999"),
        watch("watch with a limit", &format!("limit=1&continue=x&{named}")),
        watch("watch, unknown field", "fieldSelector=bogus%3D1"),
        watch("watch as text", &named).accept("text/plain"),
    ]
}
