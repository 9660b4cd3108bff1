//! Nobody in particular: only for the paths that tell whether the server lives.
use skiff_request::User;

/// The anonymous user when `path` may be asked for without credentials. Everything else is 401.
pub fn anonymous(path: &str) -> Option<User> {
    let health = ["/healthz", "/livez", "/readyz"];
    let open =
        path == "/version" || path == "/version/" || health.iter().any(|h| path.strip_prefix(h).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    open.then(|| User::new(User::ANONYMOUS, [User::UNAUTHENTICATED]))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn only_health_and_version() {
        for (path, open) in [
            ("/healthz", true),
            ("/livez/ping", true),
            ("/readyz", true),
            ("/version", true),
            ("/healthzz", false),
            ("/api", false),
            ("/", false),
            ("/version/x", false),
        ] {
            assert_eq!(anonymous(path).is_some(), open, "{path}");
        }
    }
}
