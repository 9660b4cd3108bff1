//! What claims mean, and what must hold of them: rules, names, extras.
use super::file::{ClaimRule, Extra, Mapping, UserRule};
use super::{Source, Wrong};
use crate::expression::Expression;
use std::collections::HashSet;

pub(super) type Rules = Vec<(Expression, String)>;

pub(super) fn claim_rules(at: &str, rules: Vec<ClaimRule>, wrong: &mut Wrong) -> (Vec<(String, String)>, Rules) {
    let (mut required, mut compiled) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (i, r) in rules.into_iter().enumerate() {
        let at = format!("{at}[{i}]");
        match (r.claim.is_empty(), r.expression.is_empty()) {
            (false, false) => wrong.invalid(&at, &r.claim, "claim and expression can't both be set"),
            (true, true) => wrong.required(&at, "claim or expression is required"),
            (false, true) => {
                if !r.message.is_empty() {
                    wrong.invalid(&format!("{at}.message"), &r.message, "may not be specified when claim is set");
                }
                if !seen.insert(r.claim.clone()) {
                    wrong.duplicate(&format!("{at}.claim"), &r.claim);
                }
                required.push((r.claim, r.required_value));
            }
            (true, false) => {
                if !r.required_value.is_empty() {
                    wrong.invalid(&format!("{at}.requiredValue"), &r.required_value, "may not be specified when expression is set");
                }
                rule(&format!("{at}.expression"), "claims", r.expression, r.message, &mut compiled, wrong);
            }
        }
    }
    (required, compiled)
}

pub(super) fn user_rules(at: &str, rules: Vec<UserRule>, wrong: &mut Wrong) -> Rules {
    let mut compiled = Vec::new();
    for (i, r) in rules.into_iter().enumerate() {
        let at = format!("{at}[{i}].expression");
        match r.expression.is_empty() {
            true => wrong.required(&at, ""),
            false => rule(&at, "user", r.expression, r.message, &mut compiled, wrong),
        }
    }
    compiled
}

fn rule(at: &str, variable: &'static str, source: String, message: String, compiled: &mut Rules, wrong: &mut Wrong) {
    if compiled.iter().any(|(e, _)| e.source == source) {
        return wrong.duplicate(at, &source);
    }
    compiled.extend(wrong.compiled(at, &source, variable).map(|e| (e, message)));
}

pub(super) fn source(at: &str, m: Mapping, must: bool, prefixed: bool, wrong: &mut Wrong) -> Option<Source> {
    match (m.claim.is_empty(), m.expression.is_empty()) {
        (false, false) => wrong.invalid(at, "", "claim and expression can't both be set"),
        (true, true) if must => wrong.required(at, "claim or expression is required"),
        (true, true) => {}
        (true, false) => {
            if let Some(prefix) = &m.prefix {
                wrong.invalid(&format!("{at}.prefix"), prefix, "may not be specified when expression is set");
            }
            return wrong.compiled(&format!("{at}.expression"), &m.expression, "claims").map(Source::Expression);
        }
        (false, true) => {
            if m.prefix.is_none() && prefixed {
                wrong.required(&format!("{at}.prefix"), "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
            }
            return Some(Source::Claim { name: m.claim, prefix: m.prefix.unwrap_or_default() });
        }
    }
    None
}

pub(super) fn extras(at: &str, extras: Vec<Extra>, wrong: &mut Wrong) -> Vec<(String, Expression)> {
    let mut out: Vec<(String, Expression)> = Vec::new();
    for (i, e) in extras.into_iter().enumerate() {
        let field = format!("{at}[{i}].key");
        match e.key.split_once('/') {
            _ if e.key.is_empty() => wrong.required(&field, ""),
            Some((domain, path)) if skiff_meta::is_dns1123_subdomain(domain).is_ok() && !path.is_empty() => {
                if ["kubernetes.io", "k8s.io"].iter().any(|own| domain == *own || domain.strip_suffix(own).is_some_and(|d| d.ends_with('.'))) {
                    wrong.invalid(&field, &e.key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
                }
            }
            _ => wrong.invalid(&field, &e.key, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        }
        if e.key.chars().any(char::is_uppercase) {
            wrong.invalid(&field, &e.key, "must be lowercase");
        }
        if out.iter().any(|(key, _)| *key == e.key) {
            wrong.duplicate(&field, &e.key);
            continue;
        }
        let field = format!("{at}[{i}].valueExpression");
        match e.value_expression.is_empty() {
            true => wrong.required(&field, ""),
            false => out.extend(wrong.compiled(&field, &e.value_expression, "claims").map(|x| (e.key, x))),
        }
    }
    out
}
