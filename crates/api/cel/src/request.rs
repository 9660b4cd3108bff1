//! Which names expressions of webhooks and admission policies may use.

/// What there is beside the request's own: `object`, `oldObject`, `request`, `namespaceObject`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestNames {
    pub params: bool,
    pub variables: bool,
    /// Messages are made without it.
    pub no_authorizer: bool,
}

impl RequestNames {
    pub fn all(self) -> Vec<&'static str> {
        let mut names = vec!["object", "oldObject", "request", "namespaceObject"];
        let more = [(self.params, "params"), (self.variables, "variables"), (!self.no_authorizer, "authorizer")];
        names.extend(more.into_iter().filter(|(known, _)| *known).map(|(_, n)| n));
        names
    }
}
