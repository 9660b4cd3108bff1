//! From a path to what it means, as upstream's RequestInfo reads it.
use skiff_meta::GroupVersionResource;
use skiff_request::Target;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// An object, a collection or a subresource; `rest` is what follows `…/proxy/`.
    Resource {
        target: Target,
        rest: String,
        watch: bool,
    },
    /// `/api`, `/apis`, `/apis/GROUP`, `/api/v1`, `/apis/GROUP/VERSION`.
    Api,
    Apis,
    Group(String),
    Version(String, String),
    /// Everything else.
    Path,
}

/// Percent-decoded path steps between the outer slashes.
fn steps(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(|s| percent_encoding::percent_decode_str(s).decode_utf8_lossy().into_owned()).collect()
}

/// Steps of a namespaced path that are parts of the namespace itself.
const OF_NAMESPACE: [&str; 2] = ["status", "finalize"];

pub(crate) fn route(path: &str) -> Route {
    if path.starts_with("//") {
        return Route::Path;
    }
    let all = steps(path);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    match all.as_slice() {
        ["apis", "", ..] => Route::Path,
        ["api"] => Route::Api,
        ["apis"] => Route::Apis,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["api", version] => Route::Version(String::new(), (*version).to_owned()),
        ["apis", group, version] => Route::Version((*group).to_owned(), (*version).to_owned()),
        ["api", version, rest @ ..] => resource("", version, rest, path),
        ["apis", group, version, rest @ ..] => resource(group, version, rest, path),
        _ => Route::Path,
    }
}

fn resource(group: &str, version: &str, steps: &[&str], path: &str) -> Route {
    let (watch, steps) = match steps {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, steps),
    };
    let all = steps.len();
    let (namespace, steps) = match steps {
        ["namespaces", _, sub] if OF_NAMESPACE.contains(sub) => ("", steps),
        ["namespaces", ns, rest @ ..] if !rest.is_empty() => (*ns, rest),
        _ => ("", steps),
    };
    let under = steps.len() < all;
    let (plural, name, sub, rest) = match steps {
        [p] => (*p, "", "", ""),
        [p, n] => (*p, *n, "", ""),
        [p, n, s] => (*p, *n, *s, ""),
        [p, n, s, ..] => (*p, *n, *s, after(path, steps.len() - 3)),
        [] => return Route::Path,
    };
    // An empty namespace means all of them; nothing else may be empty, and no namespace is in another.
    let within = group.is_empty() && plural == "namespaces" && under;
    if within || plural.is_empty() || (steps.len() > 1 && name.is_empty()) || (steps.len() > 2 && sub.is_empty()) {
        return Route::Path;
    }
    // A namespace is in itself, as upstream's authorisation sees it.
    let namespace = if plural == "namespaces" && group.is_empty() { name } else { namespace };
    let mut target = Target::new(GroupVersionResource::new(group.to_owned(), version.to_owned(), plural.to_owned()), namespace, name);
    target.subresource = sub.to_owned();
    Route::Resource { target, rest: rest.to_owned(), watch }
}

/// The raw end of the path that holds its last `n` steps, with the slash before it.
fn after(path: &str, n: usize) -> &str {
    let trimmed = path.trim_end_matches('/');
    let mut at = trimmed.len();
    for _ in 0..n {
        at = trimmed[..at].rfind('/').unwrap_or(0);
    }
    &path[at..]
}

#[cfg(test)]
mod tests {
    use super::*;
    fn target(path: &str) -> (String, String, String, String, String) {
        match route(path) {
            Route::Resource { target: t, rest, .. } => (t.resource.to_string(), t.namespace, t.name, t.subresource, rest),
            other => panic!("{path}: {other:?}"),
        }
    }
    #[test]
    fn paths() {
        for (path, resource, ns, name, sub, rest) in [
            ("/api/v1/pods", "/v1, Resource=pods", "", "", "", ""),
            ("/api/v1/namespaces/a/pods/b/log", "/v1, Resource=pods", "a", "b", "log", ""),
            ("/api/v1/namespaces/a", "/v1, Resource=namespaces", "a", "a", "", ""),
            ("/api/v1/namespaces/a/finalize", "/v1, Resource=namespaces", "a", "a", "finalize", ""),
            ("/api/v1/namespaces//configmaps", "/v1, Resource=configmaps", "", "", "", ""),
            ("/api/v1/namespaces/a/services/b/proxy//x", "/v1, Resource=services", "a", "b", "proxy", "//x"),
            ("/api/v1/pods/", "/v1, Resource=pods", "", "", "", ""),
            ("/apis/apps/v1/namespaces/a/deployments", "apps/v1, Resource=deployments", "a", "", "", ""),
            ("/api/v1/nodes/n/proxy/logs/x/", "/v1, Resource=nodes", "", "n", "proxy", "/logs/x/"),
            ("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "rbac.authorization.k8s.io/v1, Resource=clusterroles", "", "system:node", "", ""),
        ] {
            let want = (resource.to_owned(), ns.to_owned(), name.to_owned(), sub.to_owned(), rest.to_owned());
            assert_eq!(target(path), want, "{path}");
        }
        assert_eq!(route("/apis/apps/v1"), Route::Version("apps".into(), "v1".into()));
        for nothing in [
            "/version",
            "//api/v1",
            "//api/v1/pods",
            "/apis//v1",
            "/apis//v1/pods",
            "/api/v1//pods",
            "/api/v1/nodes//status",
            "/api/v1/namespaces/a/namespaces",
            "/",
        ] {
            assert_eq!(route(nothing), Route::Path, "{nothing}");
        }
    }
}
