//! Expressions and what comes of them.
use crate::{Budget, EvalError, Program, Variables, from_json, to_json};
use skiff_json::{Value, json};

fn scope() -> Variables {
    let object = json!({"spec": {"replicas": 3, "names": ["a", "b"], "labels": {"x": "1", "y": "2"}}, "ratio": 1.5});
    Variables([("object".to_owned(), from_json(&object)), ("oldObject".to_owned(), from_json(&Value::Null))].into())
}

fn run(source: &str) -> Result<Value, EvalError> {
    let program = Program::compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
    to_json(&program.evaluate(&scope(), &mut Budget::new(Budget::CALL))?)
}

#[test]
fn values() {
    let cases = [
        ("object.spec.replicas > 1", json!(true)),
        ("object.spec.replicas == 3.0 && object.ratio > 1", json!(true)),
        ("has(object.spec.nothing) || has(object.spec.names)", json!(true)),
        ("object.spec.nothing == 1 || true", json!(true)),
        ("true || object.spec.nothing == 1", json!(true)),
        ("oldObject == null", json!(true)),
        ("object.spec.names.all(n, n.size() == 1)", json!(true)),
        ("object.spec.names.exists(n, n == 'b') && !object.spec.names.exists_one(n, n == 'c')", json!(true)),
        ("object.spec.names.map(n, n + '!')", json!(["a!", "b!"])),
        ("object.spec.names.filter(n, n != 'a')", json!(["b"])),
        ("object.spec.labels.map(k, k)", json!(["x", "y"])),
        ("object.spec.labels.all(k, v, k != v)", json!(true)),
        ("object.spec.names.transformList(i, v, v + string(i))", json!(["a0", "b1"])),
        ("object.?spec.?nothing.orValue('none')", json!("none")),
        ("object.?spec.?replicas.optMap(r, r * 2).value()", json!(6)),
        ("object.spec.labels[?'z'].hasValue()", json!(false)),
        ("{'a': 1, ?'b': optional.none()}", json!({"a": 1})),
        ("Object{spec: Object.spec{replicas: 2 + 1, ?paused: optional.of(true)}}", json!({"spec": {"paused": true, "replicas": 3}})),
        ("[JSONPatch{op: 'add', path: '/x/' + jsonpatch.escapeKey('a/b'), value: 1}]", json!([{"op": "add", "path": "/x/a~1b", "value": 1}])),
        ("'a' in object.spec.names && 'x' in object.spec.labels", json!(true)),
        ("'%s has %d'.format(['it', object.spec.replicas])", json!("it has 3")),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", json!(true)),
        ("duration('1h') < duration('90m')", json!(true)),
        ("timestamp('2026-01-01T00:00:00Z') + duration('1h') > timestamp('2026-01-01T00:30:00Z')", json!(true)),
        ("type(object.spec.replicas) == int", json!(true)),
        ("dyn(1) == 1 ? 'yes' : 'no'", json!("yes")),
        ("'hello'.matches('^h.*o$') && 'a,b'.split(',').size() == 2", json!(true)),
        ("sets.contains(object.spec.names, ['a'])", json!(true)),
        ("7 / 2 + 7 % 2", json!(4)),
    ];
    for (source, want) in cases {
        assert_eq!(run(source), Ok(want), "{source}");
    }
}

#[test]
fn errors() {
    let cases = [
        ("object.spec.nothing > 1", "no such key: nothing"),
        ("object.spec.replicas + 'x'", "no such overload"),
        ("object.spec.names[7]", "index out of bounds: 7"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("unknown == 1", "undeclared reference to 'unknown'"),
        ("optional.none().value()", "optional.none() dereference"),
    ];
    for (source, want) in cases {
        assert_eq!(run(source).unwrap_err().to_string(), want, "{source}");
    }
}

#[test]
fn every_loop_is_paid_for() {
    let numbers = "[1,2,3,4,5,6,7,8,9,10]";
    let nested = format!("{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, {numbers}.all(d, {numbers}.all(e, {numbers}.all(f, true))))))");
    assert_eq!(run(&nested), Err(EvalError::OutOfBudget));
    let doubled = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    let grown = format!("{doubled}.map(x, {doubled}.map(y, {doubled}.map(z, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'))).size() > 0 && {nested}");
    assert_eq!(run(&grown), Err(EvalError::OutOfBudget));
}

#[test]
fn what_is_no_expression() {
    for source in ["... [] bad expression", "a +", "(((", "'open", ""] {
        let e = Program::compile(source).unwrap_err();
        assert!(e.to_string().starts_with("ERROR: <input>:"), "{source}: {e}");
    }
    assert!(Program::compile(&"(".repeat(20_000)).is_err());
    assert!(Program::compile("1 + ".repeat(5_000).trim_end_matches(" + ")).is_err());
    let e = Program::compile_with("object.spec && foo == 1", &["object"]).unwrap_err();
    assert_eq!(e.to_string(), "ERROR: <input>:1:16: undeclared reference to 'foo' (in container '')\n | object.spec && foo == 1\n | ...............^");
    assert!(Program::compile_with("object.all(x, sets.contains([x], [1])) && object.?a.optMap(v, v).hasValue()", &["object"]).is_ok());
}
