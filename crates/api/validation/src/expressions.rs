//! CEL expressions of webhooks and policies: they must compile, and name nothing but what there is.
use crate::field::Field;
pub(crate) use skiff_cel::RequestNames as Names;
use skiff_cel::Program;

/// Refuses what does not compile.
pub(crate) fn compiles(f: &Field<'_>, names: Names) {
    if let Err(why) = Program::compile_with(f.str(), &names.all()) {
        f.invalid(f.str(), &format!("compilation failed: {why}"));
    }
}

/// The same where only `declared` members of `variables` may be named.
pub(crate) fn compiles_with(f: &Field<'_>, names: Names, declared: &[&str]) {
    let found = Program::compile_with(f.str(), &names.all()).and_then(|p| p.check_members(f.str(), "variables", declared));
    if let Err(why) = found {
        f.invalid(f.str(), &format!("compilation failed: {why}"));
    }
}

pub(crate) fn fits(expression: &str, names: Names, declared: &[&str]) -> bool {
    Program::compile_with(expression, &names.all()).and_then(|p| p.check_members(expression, "variables", declared)).is_ok()
}
