//! What mutating policies make of an object.
use super::*;

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}
fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}
async fn data(w: &World) -> Result<Value, String> {
    let (v, _) = create().twice().admit(&MutatingPolicies::new(Arc::new(Nobody)), w).await.map_err(|s| s.message)?;
    Ok(v["data"].clone())
}
fn one(mutations: Value, more: Value) -> World {
    let mut spec = json!({"mutations": mutations, "reinvocationPolicy": "Never"});
    overwrite(&mut spec, &more);
    declared("MutatingAdmissionPolicy", &[("p", spec, json!({}))])
}
const DENIED: &str = "policy 'p' with binding 'p-b' denied request: ";

#[tokio::test]
async fn patches_and_configurations() {
    let cases = [
        (json!([patch("[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a/b'), value: object.data.k + '!'}]")]), Ok(json!({"k": "v", "a/b": "v!"}))),
        (json!([patch("[JSONPatch{op: 'test', path: '/data/k', value: 'other'}, JSONPatch{op: 'remove', path: '/data/k'}]")]), Ok(json!({"k": "v"}))),
        (json!([patch("object.data.k == 'w' ? [JSONPatch{op: 'remove', path: '/data/k'}] : []")]), Ok(json!({"k": "v"}))),
        (json!([apply("Object{data: {'new': '1'}}")]), Ok(json!({"k": "v", "new": "1"}))),
        // Each sees what the one before made.
        (
            json!([
                apply("Object{data: {'a': '1'}}"),
                patch("[JSONPatch{op: 'copy', from: '/data/a', path: '/data/b'}]"),
                apply("Object{data: {'c': object.data.b}}")
            ]),
            Ok(json!({"k": "v", "a": "1", "b": "1", "c": "1"})),
        ),
        (
            json!([apply("Object{metadata: Object.spec{}}")]),
            Err(format!(
                "{DENIED}type mismatch: unexpected type name \"Object.spec\", expected \"Object.metadata\", which matches field name path from root Object type"
            )),
        ),
        (
            json!([apply("Object{data: {'new': object.nothing}}")]),
            Err(format!("{DENIED}expression 'Object{{data: {{'new': object.nothing}}}}' resulted in error: no such key: nothing")),
        ),
        (
            json!([apply("nobody")]),
            Err(format!("{DENIED}compilation failed: ERROR: <input>:1:1: undeclared reference to 'nobody' (in container '')\n | nobody\n | ^")),
        ),
    ];
    for (mutations, want) in cases {
        assert_eq!(data(&one(mutations.clone(), json!({}))).await, want, "{mutations}");
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_is_refused_or_ignored() {
    let misfit = json!([patch("[JSONPatch{op: 'remove', path: '/data/absent'}]")]);
    let s = create().admit(&MutatingPolicies::new(Arc::new(Nobody)), &one(misfit.clone(), json!({}))).await.unwrap_err();
    assert!(s.message.starts_with(&format!("{DENIED}JSON Patch: ")), "{}", s.message);
    assert_eq!((s.code, s.reason, s.details.unwrap().causes.len()), (403, skiff_meta::Reason::Invalid, 1));
    assert_eq!(data(&one(misfit, json!({"failurePolicy": "Ignore"}))).await, Ok(json!({"k": "v"})));
}

#[tokio::test]
async fn parameters_conditions_and_variables() {
    let spec = |condition: &str| {
        json!({"reinvocationPolicy": "Never", "paramKind": {"apiVersion": "x.io/v1", "kind": "Limit"},
        "variables": [{"name": "max", "expression": "params.max"}],
        "matchConditions": [{"name": "c", "expression": condition}],
        "mutations": [apply("Object{data: {'max': variables.max}}")]})
    };
    for (condition, want) in [("params.max == 'z'", json!({"k": "v", "max": "z"})), ("variables.max == 'a'", json!({"k": "v"}))] {
        let w = declared("MutatingAdmissionPolicy", &[("p", spec(condition), json!({"paramRef": {"name": "high", "parameterNotFoundAction": "Deny"}}))]);
        w.put("limits.x.io", &params("z", "high", "ns"));
        assert_eq!(data(&w).await, Ok(want), "{condition}");
    }
}

#[tokio::test]
async fn a_change_makes_the_earlier_ones_look_again() {
    let first = |policy: &str| json!({"reinvocationPolicy": policy, "mutations": [apply("Object{data: {'first': object.data.?first.orValue('') + 'x'}}")]});
    let second = json!({"reinvocationPolicy": "Never", "mutations": [apply("Object{data: {'second': 'y'}}")]});
    for (policy, times) in [("IfNeeded", "xx"), ("Never", "x")] {
        let w = declared("MutatingAdmissionPolicy", &[("a", first(policy), json!({})), ("b", second.clone(), json!({}))]);
        assert_eq!(data(&w).await, Ok(json!({"k": "v", "first": times, "second": "y"})), "{policy}");
    }
}
