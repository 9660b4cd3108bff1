//! The conversion of a definition: none, or a webhook.
use serde_json::Value;
use skiff_validation::{Field, Json, names, shown};

const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub fn check(spec: &Field<'_>, old: Option<&Value>) {
    let c = spec.at("conversion");
    if !c.exists() {
        return;
    }
    c.at("strategy").one_of(&["None", "Webhook"]);
    let webhook = c.at("webhook");
    let client = c.child("webhookClientConfig").with(webhook.at("clientConfig").value());
    let reviews = c.child("conversionReviewVersions").with(webhook.at("conversionReviewVersions").value());
    if !c.at("strategy").is("Webhook") {
        let why = "should not be set when strategy is not set to Webhook";
        if client.exists() {
            client.forbidden(why);
        }
        if !reviews.is_empty() {
            reviews.forbidden(why);
        }
        return;
    }
    if !client.exists() {
        client.required("required when strategy is set to Webhook");
    } else {
        config(&client);
        bundle(&client.at("caBundle"), old);
    }
    let known = old.is_none_or(|o| {
        let list = o["spec"]["conversion"]["webhook"]["conversionReviewVersions"].as_array();
        list.is_none_or(|l| l.is_empty() || l.iter().any(|v| REVIEWS.iter().any(|r| v == r)))
    });
    versions(&reviews, known);
}

fn config(client: &Field<'_>) {
    let (url, service) = (client.at("url"), client.at("service"));
    match (url.exists(), service.exists()) {
        (true, true) | (false, false) => client.required("exactly one of url or service is required"),
        (true, false) => address(&url),
        (false, true) => target(&service),
    }
}

const FORM: &str = "; desired format: https://host[/path]";

fn address(f: &Field<'_>) {
    let url = f.str();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        f.invalid(scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        f.invalid(host, &format!("host must be specified{FORM}"));
    }
    if !user.is_empty() {
        f.invalid(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        f.invalid(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        f.invalid(query, "query parameters are not permitted in the URL");
    }
}

fn target(service: &Field<'_>) {
    for key in ["name", "namespace"] {
        if service.at(key).str().is_empty() {
            service.at(key).required("");
        }
    }
    let port = service.at("port");
    if port.exists() && !(1..=65535).contains(&port.int()) {
        port.invalid(port.int(), "port is not valid: must be between 1 and 65535, inclusive");
    }
    let path = service.at("path");
    let text = path.str();
    if matches!(text, "" | "/") {
        return;
    }
    if !text.starts_with('/') {
        path.invalid(text, "must start with a '/'");
    }
    // What stands first counts as the slash.
    let inside = text.char_indices().nth(1).and_then(|(i, _)| text.get(i..)).unwrap_or_default();
    for (i, step) in inside.strip_suffix('/').unwrap_or(inside).split('/').enumerate() {
        if step.is_empty() {
            path.invalid(text, &format!("segment[{i}] may not be empty"));
        } else {
            names::dns1123_subdomain(step).iter().for_each(|m| path.invalid(text, &format!("segment[{i}]: {m}")));
        }
    }
}

/// Whether a bundle (base64) holds certificates.
pub fn usable(bundle: &str) -> bool {
    let Ok(bytes) = base64(bundle) else { return false };
    let text = String::from_utf8_lossy(&bytes);
    text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----")
}

fn base64(text: &str) -> Result<Vec<u8>, ()> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| ())
}

/// A bad bundle is refused where there was a good one, or none, and the resource is served.
fn bundle(f: &Field<'_>, old: Option<&Value>) {
    let Some(old) = old.filter(|o| super::super::holds(o, "Established")) else { return };
    let before = old["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    if !f.str().is_empty() && !usable(f.str()) && (before.is_empty() || usable(before)) {
        f.invalid(f.str(), "unable to load root certificates: unable to parse bytes as PEM block");
    }
}

fn versions(f: &Field<'_>, known: bool) {
    if f.list().is_empty() {
        return f.required("");
    }
    let mut seen = Vec::new();
    for v in f.items() {
        if seen.contains(&v.str()) {
            v.invalid(v.str(), "duplicate version");
            continue;
        }
        seen.push(v.str());
        names::dns1035_label(v.str()).iter().for_each(|m| v.invalid(v.str(), m));
    }
    if known && !REVIEWS.iter().any(|r| seen.contains(r)) {
        f.invalid(Json(shown(f.value())), &format!("must include at least one of {}", REVIEWS.join(", ")));
    }
}
