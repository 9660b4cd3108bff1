use super::*;
use std::{collections::BTreeMap, sync::Arc};

fn object(fields: &[(&str, Type)]) -> Type {
    let fields: BTreeMap<String, Type> = fields.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
    Type::new(Kind::Object(Arc::new(Object { name: "object".into(), fields })))
}
fn own() -> Type {
    object(&[
        ("x", Type::new(Kind::Int)),
        ("s", Type::sized(Kind::String, 10)),
        ("f", Type::new(Kind::Double)),
        ("list", Type::list(Type::new(Kind::Int), 725)),
        ("map", Type::map(Type::sized(Kind::String, 5), 4)),
        ("either", Type::sized(Kind::Dyn, 10)),
        ("when", Type::new(Kind::Timestamp)),
    ])
}
fn check(source: &str) -> Result<Checked> {
    Program::compile(source)?.check(source, &[("self", own()), ("oldSelf", own())])
}

#[test]
fn sound_expressions_have_types() {
    for (source, ty) in [
        ("self.x > 1 && self.s.startsWith('a')", "bool"),
        ("self.list.all(i, i > 0)", "bool"),
        ("self.list.map(i, i + 1)", "list(int)"),
        ("self.list.filter(i, i > 1).size() == 2", "bool"),
        ("self.map.all(k, self.map[k].size() > 1)", "bool"),
        ("self.map.exists(k, k == 'a')", "bool"),
        ("self.s + 'x'", "string"),
        ("self.x < self.f", "bool"),
        ("type(self.either) == int ? self.either < 5 : self.either.matches('a')", "bool"),
        ("has(self.s) ? self.s : ''", "string"),
        ("self.list.sum() + self.x", "int"),
        ("quantity(self.s).isGreaterThan(quantity('1'))", "bool"),
        ("self.?s.orValue('')", "string"),
        ("self.when < timestamp('2024-01-01T00:00:00Z')", "bool"),
        ("'%s is %d'.format([self.s, self.x])", "string"),
        ("self == oldSelf", "bool"),
        ("self.s in ['a', 'b']", "bool"),
        ("self.list.exists_one(i, i == 1)", "bool"),
        ("isIP(self.s) && ip(self.s).family() == 4", "bool"),
        ("self.list[0] == 1", "bool"),
    ] {
        assert_eq!(check(source).unwrap_or_else(|e| panic!("{source}: {e}")).ty.to_string(), ty, "{source}");
    }
}

#[test]
fn mistakes_have_cel_gos_words() {
    for (source, want) in [
        ("self.z == 100", "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 100\n | ....^"),
        ("self.x == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.x + self.s", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("bogus(self)", "undeclared reference to 'bogus' (in container '')"),
        ("other.x", "undeclared reference to 'other' (in container '')"),
        ("self.x.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("self.x.y", "type 'int' does not support field selection"),
        ("has(self.z)", "ERROR: <input>:1:4: undefined field 'z'"),
        ("self.?z.hasValue()", "ERROR: <input>:1:5: undefined field 'z'"),
        ("self.x.?y", "ERROR: <input>:1:7: type 'int' does not support field selection"),
        ("self.s.foo()", "ERROR: <input>:1:11: undeclared reference to 'foo' (in container '')"),
        (
            "base64.encode(b'a')",
            "ERROR: <input>:1:1: undeclared reference to 'base64' (in container '')\n | base64.encode(b'a')\n | ^\nERROR: <input>:1:14: undeclared reference to 'encode'",
        ),
        ("self.s.startsWith(1)", "ERROR: <input>:1:18: found no matching overload"),
        ("self.s ? true : false", "ERROR: <input>:1:8: found no matching overload for '_?_:_' applied to '(string, bool, bool)'"),
        ("self.x > 1 || self.s", "ERROR: <input>:1:19: expected type 'bool' but found 'string'"),
        ("self.s.matches('[')", "ERROR: <input>:1:16: invalid matches argument"),
        ("duration('bogus') > duration('1h')", "ERROR: <input>:1:10: invalid duration argument"),
        ("timestamp(\"bogus\") == self.when", "ERROR: <input>:1:11: invalid timestamp argument"),
        ("[1, 'a'].size() == 2", "ERROR: <input>:1:5: expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 'x'}.size() == 2", "ERROR: <input>:1:15: expected type 'int' but found 'string'"),
        ("self.s.all(c, true)", "cannot be range of a comprehension (must be list, map, or dynamic)"),
    ] {
        let found = check(source).unwrap_err().0;
        assert!(found.contains(want), "{source}: {found}");
    }
    assert!(check("self = 42").unwrap_err().0.contains("Syntax error"));
}

#[test]
fn costs_grow_with_what_may_be_there() {
    let cost = |source: &str| check(source).unwrap().cost;
    assert!(cost("self.x > 1") < 10);
    let nested = cost("self.list.all(x, self.list.all(y, y == x))");
    assert!((500_000..10_000_000).contains(&nested), "{nested}");
    let unbounded = Type::list(Type::sized(Kind::String, 3_000_000), 1_000_000);
    let p = Program::compile("self.all(s, s == 'string constant')").unwrap();
    let c = p.check("self.all(s, s == 'string constant')", &[("self", unbounded)]).unwrap();
    assert!((4_000_000..20_000_000).contains(&c.cost), "{}", c.cost);
}
