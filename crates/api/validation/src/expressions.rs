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
