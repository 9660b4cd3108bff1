//! CEL expressions of webhooks and policies: they must compile, and name nothing but what there is.
use crate::field::Field;
use skiff_cel::Program;

/// What an expression may name beside the request's objects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    pub params: bool,
    pub variables: bool,
    pub no_authorizer: bool,
}

impl Names {
    fn all(self) -> Vec<&'static str> {
        let mut names = vec!["object", "oldObject", "request", "namespaceObject"];
        let more = [(self.params, "params"), (self.variables, "variables"), (!self.no_authorizer, "authorizer")];
        names.extend(more.into_iter().filter(|(known, _)| *known).map(|(_, n)| n));
        names
    }
}

/// Refuses what does not compile.
pub(crate) fn compiles(f: &Field<'_>, names: Names) {
    if let Err(why) = Program::compile_with(f.str(), &names.all()) {
        f.invalid(f.str(), &format!("compilation failed: {why}"));
    }
}
