//! CEL expressions of webhooks and policies: they must compile, and name nothing but what there is.
use crate::field::Field;
pub(crate) use skiff_cel::RequestNames as Names;
use skiff_cel::{
    Program,
    check::{Kind, Type},
};

/// What an expression must come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Bool,
    Text,
    TextOrNull,
    Any,
    /// `list(JSONPatch)`.
    Patches,
    /// `Object`.
    Configuration,
}

impl Wanted {
    fn accepts(self, kind: &Kind) -> bool {
        match (self, kind) {
            // Known only when it is evaluated.
            (Wanted::Any, _) | (_, Kind::Dyn) => true,
            (Wanted::Bool, k) => *k == Kind::Bool,
            (Wanted::Text, k) => *k == Kind::String,
            (Wanted::TextOrNull, k) => matches!(k, Kind::String | Kind::Null),
            // What `JSONPatch{…}` and `Object{…}` make has the type of a map here.
            (Wanted::Patches, Kind::List(item)) => matches!(item.kind, Kind::Dyn | Kind::Map(..) | Kind::Object(_)),
            (Wanted::Configuration, k) => matches!(k, Kind::Map(..) | Kind::Object(_)),
            (Wanted::Patches, _) => false,
        }
    }
    fn told(self) -> &'static str {
        match self {
            Wanted::Bool => "bool",
            Wanted::Text => "string",
            Wanted::TextOrNull => "one of [string null_type]",
            Wanted::Patches => "list(JSONPatch)",
            Wanted::Configuration => "Object",
            Wanted::Any => "any",
        }
    }
}

/// Refuses what does not compile, and what surely is of another type.
pub(crate) fn compiles(f: &Field<'_>, names: Names, wanted: Wanted) {
    match Program::compile_with(f.str(), &names.all()) {
        Err(why) => f.invalid(f.str(), &format!("compilation failed: {why}")),
        Ok(p) => comes_to(f, &p, names, wanted),
    }
}

fn comes_to(f: &Field<'_>, p: &Program, names: Names, wanted: Wanted) {
    let variables: Vec<(&str, Type)> = names.all().into_iter().map(|n| (n, Type::new(Kind::Dyn))).collect();
    // What the checker of schemas' rules does not know is not judged here.
    let Ok(found) = p.check(f.str(), &variables) else { return };
    if !wanted.accepts(&found.ty.kind) {
        f.invalid(f.str(), &format!("must evaluate to {} but got {}", wanted.told(), found.ty));
    }
}

/// The same where only `declared` members of `variables` may be named.
pub(crate) fn compiles_with(f: &Field<'_>, names: Names, declared: &[&str], wanted: Wanted) {
    let found = Program::compile_with(f.str(), &names.all()).and_then(|p| p.check_members(f.str(), "variables", declared).map(|()| p));
    match found {
        Err(why) => f.invalid(f.str(), &format!("compilation failed: {why}")),
        Ok(p) => comes_to(f, &p, names, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Errors, Field};

    #[test]
    fn expressions_come_to_what_is_wanted() {
        for (text, wanted, why) in [
            ("object.spec.replicas > 1", Wanted::Bool, ""),
            ("variables.x", Wanted::Bool, ""),
            ("1 + 1", Wanted::Bool, "must evaluate to bool but got int"),
            ("'a'", Wanted::Bool, "must evaluate to bool but got string"),
            ("'a' + string(object.x)", Wanted::Text, ""),
            ("true", Wanted::Text, "must evaluate to string but got bool"),
            ("1", Wanted::TextOrNull, "must evaluate to one of [string null_type] but got int"),
            ("[JSONPatch{op: 'add', path: '/a', value: 1}]", Wanted::Patches, ""),
            ("'a'", Wanted::Patches, "must evaluate to list(JSONPatch) but got string"),
            ("Object{spec: Object.spec{replicas: 3}}", Wanted::Configuration, ""),
            ("true", Wanted::Configuration, "must evaluate to Object but got bool"),
        ] {
            let (errors, v) = (Errors::default(), skiff_json::Value::from(text));
            compiles_with(&Field::root(&v, &errors), Names { params: true, variables: true, no_authorizer: false }, &["x"], wanted);
            let told: Vec<String> = errors.into_causes().into_iter().map(|c| c.message).collect();
            let fits = if why.is_empty() { told.is_empty() } else { told.len() == 1 && told[0].ends_with(why) };
            assert!(fits, "{text}: {told:?}");
        }
    }
}
