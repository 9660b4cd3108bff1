//! CEL expressions that select devices: their types, and what they may cost at the most.
use crate::field::Field;
use skiff_cel::{
    Program,
    check::{Checked, Kind, Object, Type},
};
use std::sync::Arc;

const LONGEST: usize = 10 * 1024;
/// What one selector may cost.
const COST: u64 = 1_000_000;
/// Attributes and capacities of a device.
const PARTS: u64 = 32;
/// Bytes of an attribute's text, and of a driver's name.
const TEXT: u64 = 64;
const DRIVER: u64 = 63;

fn by_domain(part: Type) -> Type {
    Type::map(Type::map(part, PARTS), PARTS)
}

/// What `device` is.
fn device() -> Type {
    let fields = [
        ("driver", Type::sized(Kind::String, DRIVER)),
        ("allowMultipleAllocations", Type::new(Kind::Bool)),
        ("attributes", by_domain(Type::sized(Kind::Dyn, TEXT))),
        ("capacity", by_domain(Type::new(Kind::Opaque("kubernetes.Quantity")))),
    ];
    let fields = fields.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
    Type::new(Kind::Object(Arc::new(Object { name: "kubernetes.DRADevice".into(), fields })))
}

/// The error is upstream's.
fn checked(expression: &str) -> Result<Checked, String> {
    let failed = |why: String| format!("compilation failed: {why}");
    let program = Program::compile_with(expression, &["cel", "device"]).map_err(|e| failed(e.0))?;
    let found = program.check(expression, &[("cel", Type::new(Kind::Dyn)), ("device", device())]).map_err(|e| failed(e.0))?;
    match found.ty.kind {
        Kind::Bool | Kind::Dyn => Ok(found),
        _ => Err(format!("must evaluate to bool or the unknown type, not {}", found.ty)),
    }
}

pub(super) fn check(expression: &Field<'_>) {
    let text = expression.str();
    if text.len() > LONGEST {
        return expression.too_long(LONGEST);
    }
    match checked(text) {
        Err(why) => expression.invalid(text, &why),
        Ok(found) if found.cost > COST => expression.forbidden("too complex, exceeds cost limit"),
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_typed_and_weighed() {
        let told = |text: &str| match checked(text) {
            Err(why) => why,
            Ok(c) if c.cost > COST => "too complex".into(),
            Ok(_) => String::new(),
        };
        for text in [
            "true",
            "device.driver == 'dra.example.com'",
            "device.attributes['dra.example.com'].model == 'A100' && device.capacity['dra.example.com'].memory.compareTo(quantity('1Gi')) >= 0",
            "device.attributes['dra.example.com'].version.isGreaterThan(semver('0.0.1'))",
            "cel.bind(dra, device.attributes['dra.example.com'], dra.oneBool && dra.anotherBool)",
            "device.allowMultipleAllocations",
            "device.attributes['dra.example.com'].name",
            "'dra.example.com' in device.attributes && device.attributes.all(d, d.startsWith('x'))",
        ] {
            assert_eq!(told(text), "", "{text}");
        }
        for (text, want) in [
            ("1", "must evaluate to bool or the unknown type, not int"),
            ("device.nothing == 1", "undefined field 'nothing'"),
            ("device.driver == 1", "no matching overload"),
            (
                "device.attributes['a'].all(x, device.attributes['b'].all(y, device.attributes['c'].all(z, device.attributes['d'].all(w, w == x && y == z))))",
                "too complex",
            ),
        ] {
            assert!(told(text).contains(want), "{text}: {}", told(text));
        }
    }

    /// The costs that upstream's own tests expect.
    #[test]
    fn costs_are_upstreams() {
        for (text, cost) in [
            (r#""dra.example.com" in device.attributes"#, 3),
            (r#"device.driver == """#, 2),
            (r#"device.driver == "dra.example.com""#, 4),
            (r#"device.attributes["dra.example.com"].name"#, 4),
            (r#"device.attributes["dra.example.com"]["name"]"#, 4),
            (r#"cel.bind(dra, device.attributes["dra.example.com"], dra.name)"#, 15),
            (r#"device.attributes["dra.example.com"].name > 0"#, 5),
            (r#"device.attributes["dra.example.com"].name == "fish""#, 5),
            (r#"device.attributes["no-such-domain"].noSuchAttr.isGreaterThan(quantity("0"))"#, 6),
        ] {
            assert_eq!(checked(text).map(|c| c.cost), Ok(cost), "{text}");
        }
    }
}
