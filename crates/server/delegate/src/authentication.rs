//! `AuthenticationConfiguration`: issuers and what their claims mean, and who may come without credentials.
use crate::connection::authorities;
use crate::expression::Expression;
use crate::{ConfigError, parse};
use skiff_request::User;
use std::collections::HashSet;

mod claims;
mod file;
mod flags;

use claims::{claim_rules, extras, source, user_rules};
use file::{File, IssuerGiven, Jwt};
pub use flags::OidcFlags;

/// The settings of a file.
#[derive(Default, Debug)]
pub struct AuthenticationConfig {
    pub jwt: Vec<JwtAuthenticator>,
    /// None: the server's own rule stays.
    pub anonymous: Option<Anonymous>,
}

/// Who may come without credentials: to which paths; None: to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    enabled: bool,
    paths: Option<Vec<String>>,
}

impl Anonymous {
    /// The anonymous user, when it may ask for `path`.
    pub fn user(&self, path: &str) -> Option<User> {
        let open = self.enabled && self.paths.as_ref().is_none_or(|all| all.iter().any(|p| p == path));
        open.then(|| User::new(User::ANONYMOUS, [User::UNAUTHENTICATED]))
    }
}

/// One issuer, checked and compiled.
#[derive(Debug)]
pub struct JwtAuthenticator {
    pub issuer: String,
    /// Instead of `<issuer>/.well-known/openid-configuration`.
    pub discovery: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<&'static str>,
    pub(crate) username: Source,
    pub(crate) groups: Option<Source>,
    pub(crate) uid: Option<Source>,
    pub(crate) extra: Vec<(String, Expression)>,
    pub(crate) required: Vec<(String, String)>,
    pub(crate) claim_rules: Vec<(Expression, String)>,
    pub(crate) user_rules: Vec<(Expression, String)>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// The signatures that are understood; upstream knows ES512, too, which no provider of ours does.
pub(crate) const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

/// What is wrong so far, each with its field.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn invalid(&mut self, at: &str, v: &str, why: &str) {
        self.0.push(format!("{at}: Invalid value: {v:?}: {why}"));
    }
    fn required(&mut self, at: &str, why: &str) {
        let behind = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.0.push(format!("{at}: Required value{behind}"));
    }
    fn duplicate(&mut self, at: &str, v: &str) {
        self.0.push(format!("{at}: Duplicate value: {v:?}"));
    }
    fn compiled(&mut self, at: &str, source: &str, variable: &'static str) -> Option<Expression> {
        match Expression::compile(source, variable) {
            Ok(e) => Some(e),
            Err(why) => {
                self.invalid(at, source, &why);
                None
            }
        }
    }
}

impl AuthenticationConfig {
    /// `own` are issuers that the server itself is: they cannot be another's.
    pub fn parse(text: &str, own: &[String]) -> Result<Self, ConfigError> {
        let file: File = parse(text, "AuthenticationConfiguration", &["v1", "v1beta1", "v1alpha1"])?;
        let mut wrong = Wrong::default();
        let (mut issuers, mut discoveries) = (HashSet::new(), HashSet::new());
        let mut jwt = Vec::new();
        for (i, given) in file.jwt.into_iter().enumerate() {
            let at = format!("jwt[{i}]");
            if !issuers.insert(given.issuer.url.clone()) {
                wrong.duplicate(&format!("{at}.issuer.url"), &given.issuer.url);
            }
            if !given.issuer.discovery_url.is_empty() && !discoveries.insert(given.issuer.discovery_url.clone()) {
                wrong.duplicate(&format!("{at}.issuer.discoveryURL"), &given.issuer.discovery_url);
            }
            jwt.extend(authenticator(&at, given, own, &mut wrong));
        }
        let anonymous = file.anonymous.map(|a| {
            if !a.enabled && !a.conditions.is_empty() {
                wrong.invalid("anonymous.conditions", "", "enabled should be set to true when conditions are defined");
            }
            Anonymous { enabled: a.enabled, paths: (!a.conditions.is_empty()).then(|| a.conditions.into_iter().map(|c| c.path).collect()) }
        });
        if wrong.0.is_empty() { Ok(Self { jwt, anonymous }) } else { Err(ConfigError::Invalid(wrong.0)) }
    }
}

fn authenticator(at: &str, j: Jwt, own: &[String], wrong: &mut Wrong) -> Option<JwtAuthenticator> {
    let before = wrong.0.len();
    issuer(&format!("{at}.issuer"), &j.issuer, own, wrong);
    let (required, claim_rules) = claim_rules(&format!("{at}.claimValidationRules"), j.claim_validation_rules, wrong);
    let m = format!("{at}.claimMappings");
    let username = source(&format!("{m}.username"), j.claim_mappings.username, true, true, wrong);
    let groups = source(&format!("{m}.groups"), j.claim_mappings.groups, false, true, wrong);
    let uid = source(&format!("{m}.uid"), j.claim_mappings.uid, false, false, wrong);
    let extra = extras(&format!("{m}.extra"), j.claim_mappings.extra, wrong);
    let verified = |e: &Expression| e.names("email_verified");
    if let Some(Source::Expression(e)) = &username
        && uses_email(&e.source)
        && !(verified(e) || extra.iter().any(|(_, e)| verified(e)) || claim_rules.iter().any(|(e, _)| verified(e)))
    {
        wrong.invalid(&format!("{m}.username.expression"), &e.source, "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression");
    }
    let user_rules = user_rules(&format!("{at}.userValidationRules"), j.user_validation_rules, wrong);
    let username = username.filter(|_| wrong.0.len() == before)?;
    let some = |s: String| Some(s).filter(|s| !s.is_empty());
    let i = j.issuer;
    Some(JwtAuthenticator {
        issuer: i.url,
        discovery: some(i.discovery_url),
        ca: some(i.certificate_authority),
        audiences: i.audiences,
        algorithms: ALGORITHMS.to_vec(),
        username,
        groups,
        uid,
        extra,
        required,
        claim_rules,
        user_rules,
    })
}

/// `claims.email`, not `claims.email_verified`.
fn uses_email(source: &str) -> bool {
    ["claims.email", "claims.?email"]
        .iter()
        .any(|n| source.match_indices(n).any(|(i, n)| !source[i + n.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')))
}

fn issuer(at: &str, i: &IssuerGiven, own: &[String], wrong: &mut Wrong) {
    match i.url.is_empty() {
        true => wrong.required(&format!("{at}.url"), ""),
        false => address(&format!("{at}.url"), &i.url, own, wrong),
    }
    if !i.discovery_url.is_empty() {
        let field = format!("{at}.discoveryURL");
        if !i.url.is_empty() && i.url.trim_end_matches('/') == i.discovery_url.trim_end_matches('/') {
            wrong.invalid(&field, &i.discovery_url, "discoveryURL must be different from URL");
        }
        address(&field, &i.discovery_url, &[], wrong);
    }
    let field = format!("{at}.audiences");
    if i.audiences.is_empty() {
        wrong.required(&field, &format!("at least one {field} is required"));
    }
    let mut seen = HashSet::new();
    for (n, audience) in i.audiences.iter().enumerate() {
        match audience.is_empty() {
            true => wrong.required(&format!("{field}[{n}]"), ""),
            false if !seen.insert(audience) => wrong.duplicate(&format!("{field}[{n}]"), audience),
            false => {}
        }
    }
    let policy = i.audience_match_policy.as_str();
    match i.audiences.len() {
        2.. if policy != "MatchAny" => {
            wrong.invalid(&format!("{at}.audienceMatchPolicy"), policy, "audienceMatchPolicy must be MatchAny for multiple audiences")
        }
        1 if !matches!(policy, "" | "MatchAny") => {
            wrong.invalid(&format!("{at}.audienceMatchPolicy"), policy, "audienceMatchPolicy must be empty or MatchAny for single audience")
        }
        _ => {}
    }
    if !i.certificate_authority.is_empty()
        && let Err(why) = authorities(i.certificate_authority.as_bytes())
    {
        wrong.invalid(&format!("{at}.certificateAuthority"), "<omitted>", &why);
    }
    if !matches!(i.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
        wrong.invalid(&format!("{at}.egressSelectorType"), &i.egress_selector_type, "egress selector must be either controlplane or cluster");
    }
}

fn address(at: &str, text: &str, disallowed: &[String], wrong: &mut Wrong) {
    if disallowed.iter().any(|d| d == text) {
        wrong.invalid(at, text, &format!("URL must not overlap with disallowed issuers: [{}]", disallowed.join(" ")));
    }
    let url = match url::Url::parse(text) {
        Ok(url) => url,
        Err(e) => return wrong.invalid(at, text, &e.to_string()),
    };
    for (bad, why) in [
        (url.scheme() != "https", "URL scheme must be https"),
        (!url.username().is_empty() || url.password().is_some(), "URL must not contain a username or password"),
        (url.query().is_some_and(|q| !q.is_empty()), "URL must not contain a query"),
        (url.fragment().is_some_and(|f| !f.is_empty()), "URL must not contain a fragment"),
    ] {
        if bad {
            wrong.invalid(at, text, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(jwt: &str) -> String {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{jwt}]\n");
        AuthenticationConfig::parse(&text, &["https://own".into()]).err().map(|e| e.to_string()).unwrap_or_default()
    }
    fn with(issuer: &str, rest: &str) -> String {
        told(&format!("{{issuer: {{{issuer}}}, {rest}}}"))
    }
    const ISSUER: &str = "url: 'https://a.b/c', audiences: [x]";
    const NAME: &str = "claimMappings: {username: {claim: sub, prefix: ''}}";

    #[test]
    fn bad_files_are_refused_with_upstreams_words() {
        for (issuer, rest, why) in [
            (ISSUER, NAME, ""),
            ("audiences: [x]", NAME, "jwt[0].issuer.url: Required value"),
            ("url: 'http://a', audiences: [x]", NAME, "URL scheme must be https"),
            ("url: 'https://own', audiences: [x]", NAME, "must not overlap with disallowed issuers"),
            ("url: 'https://u:p@a?q=1#f', audiences: [x]", NAME, "username or password"),
            ("url: 'https://a'", NAME, "at least one jwt[0].issuer.audiences is required"),
            ("url: 'https://a', audiences: [x, y]", NAME, "audienceMatchPolicy must be MatchAny for multiple audiences"),
            ("url: 'https://a', audiences: [x, x], audienceMatchPolicy: MatchAny", NAME, "Duplicate value: \"x\""),
            ("url: 'https://a', audiences: [x], certificateAuthority: nonsense", NAME, "certificateAuthority: Invalid value"),
            (ISSUER, "claimMappings: {username: {claim: sub}}", "prefix is required when claim is set"),
            (ISSUER, "claimMappings: {username: {claim: sub, prefix: '', expression: claims.sub}}", "can't both be set"),
            (ISSUER, "claimMappings: {username: {expression: 'claims.sub +'}}", "compilation failed"),
            (ISSUER, "claimMappings: {username: {expression: 'user.name'}}", "undeclared reference to 'user'"),
            (ISSUER, "claimMappings: {username: {expression: claims.email}}", "claims.email_verified must be used"),
            (ISSUER, "claimMappings: {username: {expression: 'claims.email_verified ? claims.email : \"\"'}}", ""),
            (ISSUER, "claimMappings: {}", "claim or expression is required"),
            (
                ISSUER,
                "claimMappings: {username: {claim: sub, prefix: ''}, extra: [{key: 'k8s.io/a', valueExpression: claims.a}]}",
                "reserved for Kubernetes use",
            ),
            (ISSUER, "claimMappings: {username: {claim: sub, prefix: ''}, extra: [{key: plain, valueExpression: claims.a}]}", "domain-prefixed"),
            (
                ISSUER,
                "claimMappings: {username: {claim: sub, prefix: ''}}, userValidationRules: [{expression: 'user.username != \"\"'}, {expression: 'user.username != \"\"'}]",
                "Duplicate value",
            ),
            (
                ISSUER,
                "claimMappings: {username: {claim: sub, prefix: ''}}, claimValidationRules: [{claim: a, message: m}]",
                "may not be specified when claim is set",
            ),
            (ISSUER, "other: 1", "unknown field"),
        ] {
            let got = with(issuer, rest);
            assert!(if why.is_empty() { got.is_empty() } else { got.contains(why) }, "{issuer} {rest}: {got}");
        }
    }

    #[test]
    fn anonymous_by_path() {
        let of =
            |a: &str| AuthenticationConfig::parse(&format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {a}\n"), &[]);
        let some = of("{enabled: true, conditions: [{path: /livez}]}").unwrap().anonymous.unwrap();
        assert!(some.user("/livez").is_some() && some.user("/livez/ping").is_none());
        assert!(of("{enabled: true}").unwrap().anonymous.unwrap().user("/api").is_some());
        assert!(of("{enabled: false}").unwrap().anonymous.unwrap().user("/livez").is_none());
        assert!(of("{enabled: false, conditions: [{path: /livez}]}").is_err());
    }

    #[test]
    fn flags() {
        let flags = OidcFlags { issuer: "https://a".into(), client_id: "c".into(), ..OidcFlags::default() };
        let made = flags.clone().authenticator(&[]).unwrap();
        assert!(matches!(&made.username, Source::Claim { name, prefix } if name == "sub" && prefix == "https://a#"));
        assert_eq!(made.algorithms, ["RS256"]);
        assert!(OidcFlags { client_id: String::new(), ..flags.clone() }.authenticator(&[]).is_err());
        assert!(OidcFlags { algorithms: vec!["none".into()], ..flags }.authenticator(&[]).is_err());
    }
}
