//! The conversion of a definition: none, or a webhook.
use skiff_json::Value;
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
        skiff_validation::webhook_client(&client);
        bundle(&client.at("caBundle"), old);
    }
    let known = old.is_none_or(|o| {
        let list = o["spec"]["conversion"]["webhook"]["conversionReviewVersions"].as_array();
        list.is_none_or(|l| l.is_empty() || l.iter().any(|v| REVIEWS.iter().any(|r| v == r)))
    });
    versions(&reviews, known);
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
