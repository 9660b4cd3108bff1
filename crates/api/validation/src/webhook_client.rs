//! Where a webhook is: at a URL, or behind a Service. Of admission's webhooks, and of custom resources' conversion.
use crate::{field::Field, names};

/// Checks a `clientConfig`: of a webhook, or of a conversion.
pub fn webhook_client(f: &Field<'_>) {
    let (url, service) = (f.at("url"), f.at("service"));
    match (url.exists(), service.exists()) {
        (true, false) => https(&url),
        (false, true) => target(&service),
        _ => f.required("exactly one of url or service is required"),
    }
}

fn https(f: &Field<'_>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let text = f.str();
    if let Some(c) = text.chars().find(|c| c.is_ascii_control()) {
        let _ = c;
        return f.required(&format!("url must be a valid URL: parse {text:?}: net/url: invalid control character in URL{FORM}"));
    }
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once(':').filter(|(s, _)| s.chars().next().is_some_and(|c| c.is_ascii_alphabetic())).unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").map_or("", |r| r.split('/').next().unwrap_or_default());
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    if scheme != "https" {
        f.invalid(scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        f.invalid("", &format!("host must be specified{FORM}"));
    }
    if let Some(u) = user {
        f.invalid(u, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        f.invalid(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        f.invalid(query, "query parameters are not permitted in the URL");
    }
}

fn target(s: &Field<'_>) {
    // Upstream takes the one for the other.
    for (missing, told) in [("namespace", "name"), ("name", "namespace")] {
        if s.at(missing).str().is_empty() {
            s.at(told).required("");
        }
    }
    let (port, path) = (s.at("port"), s.at("path"));
    if !(1..=65535).contains(&port.int()) {
        port.invalid(port.int(), &format!("port is not valid: {}", crate::field::range(1, 65535)));
    }
    let text = path.str();
    match text {
        "" | "/" => return,
        "//" => return path.invalid(text, "segment[0] may not be empty"),
        _ => {}
    }
    if !text.starts_with('/') {
        path.invalid(text, "must start with a '/'");
    }
    let mut chars = text.chars();
    chars.next();
    let steps = chars.as_str();
    for (i, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            path.invalid(text, &format!("segment[{i}] may not be empty"));
        } else {
            for m in names::dns1123_subdomain(step) {
                path.invalid(text, &format!("segment[{i}]: {m}"));
            }
        }
    }
}
