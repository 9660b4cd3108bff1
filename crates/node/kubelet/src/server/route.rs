//! Paths of the node's server.

/// A container (or a whole pod) that a stream goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub namespace: String,
    pub pod: String,
    pub uid: Option<String>,
    /// Empty for a port-forward.
    pub container: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Healthz,
    Pods,
    Configz,
    Summary,
    Metrics,
    ResourceMetrics,
    Cadvisor,
    Logs { namespace: String, pod: String, container: String },
    Exec(At),
    Attach(At),
    PortForward(At),
    Run(At),
}

/// The subresource of the node that access is checked for.
pub fn subresource(path: &str) -> &'static str {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "stats" => "stats",
        "metrics" => "metrics",
        "logs" => "log",
        "pods" => "pods",
        "healthz" => "healthz",
        "configz" => "configz",
        _ => "proxy",
    }
}

pub fn of(path: &str) -> Option<Route> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let at = |rest: &[&str], container: bool| {
        let (pod_part, name) = if container { rest.split_last().map(|(n, r)| (r, *n))? } else { (rest, "") };
        let (namespace, pod, uid) = match pod_part {
            [namespace, pod] => (*namespace, *pod, None),
            [namespace, pod, uid] => (*namespace, *pod, Some((*uid).to_owned())),
            _ => return None,
        };
        Some(At { namespace: namespace.to_owned(), pod: pod.to_owned(), uid, container: name.to_owned() })
    };
    match parts.as_slice() {
        ["healthz"] | ["healthz", _] => Some(Route::Healthz),
        ["pods"] | ["runningpods"] => Some(Route::Pods),
        ["configz"] => Some(Route::Configz),
        ["stats", "summary"] => Some(Route::Summary),
        ["metrics"] | ["metrics", "probes"] => Some(Route::Metrics),
        ["metrics", "resource"] => Some(Route::ResourceMetrics),
        ["metrics", "cadvisor"] => Some(Route::Cadvisor),
        ["containerLogs", namespace, pod, container] => {
            Some(Route::Logs { namespace: (*namespace).into(), pod: (*pod).into(), container: (*container).into() })
        }
        ["exec", rest @ ..] => at(rest, true).map(Route::Exec),
        ["attach", rest @ ..] => at(rest, true).map(Route::Attach),
        ["run", rest @ ..] => at(rest, true).map(Route::Run),
        ["portForward", rest @ ..] => at(rest, false).map(Route::PortForward),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn paths() {
        let at = |uid: Option<&str>, c: &str| At { namespace: "n".into(), pod: "p".into(), uid: uid.map(str::to_owned), container: c.into() };
        assert_eq!(of("/exec/n/p/c"), Some(Route::Exec(at(None, "c"))));
        assert_eq!(of("/exec/n/p/u/c"), Some(Route::Exec(at(Some("u"), "c"))));
        assert_eq!(of("/portForward/n/p"), Some(Route::PortForward(at(None, ""))));
        assert_eq!(of("/exec/n/p"), None);
        assert_eq!(of("/nope"), None);
        assert_eq!((subresource("/exec/n/p/c"), subresource("/stats/summary")), ("proxy", "stats"));
    }
}
