//! What a request asks for, read once from its line: route, verb, query, and how long it may take.
use crate::{
    inbound,
    route::{Route, route},
};
use http::{Method, request::Parts};
use skiff_flowcontrol::Ask;
use skiff_meta::{Reason, Status};
use skiff_policy::Action;
use skiff_request::{Query, Target, Verb};

/// Subresources whose requests last as long as their clients like.
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];

#[derive(Debug)]
pub(crate) struct Asked {
    pub route: Route,
    pub query: Query,
    /// Of a resource; None when the method means nothing.
    pub verb: Option<Verb>,
    /// RBAC's word for a resource, the method in lower case for a path.
    pub word: &'static str,
    /// A watch, or a connection.
    pub long_running: bool,
}

impl Asked {
    pub fn of(parts: &Parts) -> Self {
        let (route, query) = (route(parts.uri.path()), inbound::query(parts.uri.query()));
        let Route::Resource { target, watch, .. } = &route else {
            return Self { route, query, verb: None, word: method(&parts.method), long_running: false };
        };
        let watching = *watch || (query.flag("watch") && parts.method == Method::GET && target.name.is_empty());
        let verb = inbound::verb(&parts.method, &target.name, watching);
        let long_running = verb == Some(Verb::Watch) || LONG_RUNNING.contains(&target.subresource.as_str());
        Self { verb, word: verb.map_or("", Verb::as_str), long_running, route, query }
    }
    pub fn target(&self) -> Option<&Target> {
        match &self.route {
            Route::Resource { target, .. } => Some(target),
            _ => None,
        }
    }
    pub fn known_verb(&self) -> Result<Verb, Status> {
        self.verb.ok_or_else(no_such_method)
    }
    /// What the request is about, as authorisation will see it.
    pub fn action(&self, parts: &Parts) -> Result<Action, Status> {
        let Some(target) = self.target() else {
            return Ok(Action::Path { verb: self.word.to_owned(), path: parts.uri.path().to_owned() });
        };
        let verb = self.known_verb()?;
        Ok(Action::of(verb.as_str(), target.clone(), self.query.get("labelSelector"), self.query.get("fieldSelector")))
    }
    pub fn ask<'a>(&'a self, parts: &'a Parts) -> Ask<'a> {
        self.target().map_or_else(|| Ask::Path(parts.uri.path()), Ask::Resource)
    }
    /// As upstream tells writes from reads: by the verb, for paths too.
    pub fn mutating(&self) -> bool {
        !matches!(self.word, "get" | "list" | "watch" | "head" | "options")
    }
}

/// What upstream answers about a method that a path has not.
pub(crate) fn no_such_method() -> Status {
    Status::generic(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

fn method(m: &Method) -> &'static str {
    match m.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        "CONNECT" => "connect",
        "TRACE" => "trace",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn asked(method: &str, uri: &str) -> Asked {
        Asked::of(&http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0)
    }
    #[test]
    fn verbs_and_lengths() {
        for (method, uri, word, long, mutating) in [
            ("GET", "/api/v1/pods", "list", false, false),
            ("GET", "/api/v1/pods?watch=true", "watch", true, false),
            ("GET", "/api/v1/watch/pods", "watch", true, false),
            ("GET", "/api/v1/namespaces/a/pods/b?watch=1", "get", false, false),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "get", true, false),
            ("POST", "/api/v1/namespaces/a/pods/b/exec", "create", true, true),
            ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection", false, true),
            ("BREW", "/api/v1/pods", "", false, true),
            ("GET", "/healthz", "get", false, false),
            ("POST", "/version", "post", false, true),
        ] {
            let a = asked(method, uri);
            assert_eq!((a.word, a.long_running, a.mutating()), (word, long, mutating), "{method} {uri}");
        }
    }
}
