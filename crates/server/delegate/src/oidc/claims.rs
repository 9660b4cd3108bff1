//! From the claims of a token to a user. Pure.
use crate::authentication::{JwtAuthenticator, Source};
use crate::expression::Expression;
use skiff_json::{Value, json};
use skiff_request::User;
use std::collections::BTreeMap;

const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Err says which claim or rule it is that does not fit, in upstream's words.
pub(super) fn user(s: &JwtAuthenticator, claims: &Value) -> Result<User, String> {
    let mut user =
        User { name: username(&s.username, claims)?, groups: groups(s.groups.as_ref(), claims)?, uid: uid(s.uid.as_ref(), claims)?, extra: BTreeMap::new() };
    if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
        user.extra.insert(CREDENTIAL.into(), vec![format!("JTI={id}")]);
    }
    for (key, expression) in &s.extra {
        let values = texts(expression, claims).map_err(|why| format!("error evaluating extra claim expression: {why}"))?;
        if !values.is_empty() {
            user.extra.insert(key.clone(), values);
        }
    }
    for (name, value) in &s.required {
        match claims.get(name) {
            None => return Err(format!("required claim {name} not present in ID token")),
            Some(Value::String(given)) if given == value => {}
            Some(Value::String(given)) => return Err(format!("required claim {name} value does not match. Got = {given}, want = {value}")),
            Some(_) => return Err(format!("parse claim {name}: it is no string")),
        }
    }
    rules(&s.claim_rules, claims).map_err(|why| format!("error evaluating claim validation expression: {why}"))?;
    if !s.user_rules.is_empty() {
        let info = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        rules(&s.user_rules, &info).map_err(|why| format!("error evaluating user info validation rule: {why}"))?;
    }
    Ok(user)
}

fn rules(rules: &[(Expression, String)], over: &Value) -> Result<(), String> {
    for (rule, message) in rules {
        if !rule.holds(over)? {
            let behind = if message.is_empty() { String::new() } else { format!(": {message}") };
            return Err(format!("validation expression '{}' failed{behind}", rule.source));
        }
    }
    Ok(())
}

fn username(source: &Source, claims: &Value) -> Result<String, String> {
    match source {
        Source::Expression(e) => match text(e, claims) {
            Ok(name) if name.is_empty() => Err("empty username via CEL expression is not allowed".into()),
            Ok(name) => Ok(name),
            Err(why) => Err(format!("error evaluating username claim expression: {why}")),
        },
        Source::Claim { name, prefix } => {
            let Some(value) = claims.get(name) else { return Err(format!("parse username claims {name:?}: claim not present")) };
            let value = value.as_str().ok_or_else(|| format!("parse username claims {name:?}: it is no string"))?;
            match claims.get("email_verified").filter(|_| name == "email") {
                Some(Value::Bool(true)) | None => {}
                Some(Value::Bool(false)) => return Err("email not verified".into()),
                Some(_) => return Err("parse 'email_verified' claim: it is no boolean".into()),
            }
            Ok(format!("{prefix}{value}"))
        }
    }
}

fn groups(source: Option<&Source>, claims: &Value) -> Result<Vec<String>, String> {
    match source {
        None => Ok(Vec::new()),
        Some(Source::Expression(e)) => texts(e, claims).map_err(|why| format!("error evaluating group claim expression: {why}")),
        Some(Source::Claim { name, prefix }) => {
            let of = |v: &Value| v.as_str().map(|s| format!("{prefix}{s}")).ok_or_else(|| format!("parse groups claim {name:?}: it is no string"));
            match claims.get(name) {
                None => Ok(Vec::new()),
                Some(Value::Array(all)) => all.iter().map(of).collect(),
                Some(one) => of(one).map(|g| vec![g]),
            }
        }
    }
}

fn uid(source: Option<&Source>, claims: &Value) -> Result<String, String> {
    match source {
        None => Ok(String::new()),
        Some(Source::Expression(e)) => text(e, claims).map_err(|why| format!("error evaluating uid claim expression: {why}")),
        Some(Source::Claim { name, .. }) => claims[name].as_str().map(str::to_owned).ok_or_else(|| format!("parse uid claim {name:?}: claim not present")),
    }
}

fn json_of(e: &Expression, claims: &Value) -> Result<Value, String> {
    skiff_cel::to_json(&e.evaluate(claims)?).map_err(|e| e.to_string())
}

fn text(e: &Expression, claims: &Value) -> Result<String, String> {
    match json_of(e, claims)? {
        Value::String(s) => Ok(s),
        _ => Err(format!("expression '{}' must return a string", e.source)),
    }
}

/// A string or a list of them; empty strings don't count.
fn texts(e: &Expression, claims: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("expression '{}' must return a string or a list of strings", e.source);
    match json_of(e, claims)? {
        Value::Null => Ok(Vec::new()),
        Value::String(s) => Ok(Some(s).filter(|s| !s.is_empty()).into_iter().collect()),
        Value::Array(all) => all
            .into_iter()
            .map(|v| if let Value::String(s) = v { Ok(s) } else { Err(wrong()) })
            .filter(|s| s.as_ref().map_or(true, |s| !s.is_empty()))
            .collect(),
        _ => Err(wrong()),
    }
}
