//! Acting as somebody else: `Impersonate-*` headers, which the real user must be allowed to use.
//! <https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>
//!
//! There are several ways in which it can be allowed, tried in this order; the first that is allowed counts:
//!
//! ```text
//! associated-node   a service account's token that is bound to a node acts as that node
//! arbitrary-node    … as any node                     impersonate-on:MODE:VERB on what the request is about, and
//! serviceaccount    … as a service account            impersonate:MODE on each part of the identity
//! user-info         … as anybody else
//! legacy            impersonate on each part of the identity, whatever the request is about
//! ```
//! The first four (KEP-5284) never make members of `system:masters`.
use super::front_proxy::extras;
use crate::forbidden;
use skiff_meta::{GroupVersionResource, Status, is_dns1123_subdomain, is_qualified_name};
use skiff_policy::{Action, Authorizer, Decision, Impersonation};
use skiff_request::{Target, User};
use std::collections::BTreeMap;
use std::sync::Arc;

const AUTHENTICATION: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const ASSOCIATED: &str = "authentication.kubernetes.io/associated-node-keys";
/// So many groups or extras are first asked for all at once.
const MANY: usize = 4;

/// Asks the authoriser.
pub struct Impersonator(pub Arc<dyn Authorizer>);

#[async_trait::async_trait]
impl Impersonation for Impersonator {
    async fn act_as(&self, user: User, headers: &[(String, String)], action: &Action) -> Result<User, Status> {
        impersonate(user, headers, action, &*self.0).await
    }
}

/// Who the request acts as: `user` itself when no header asks for another. Header names are lower-cased.
pub async fn impersonate(user: User, headers: &[(String, String)], action: &Action, authorizer: &dyn Authorizer) -> Result<User, Status> {
    let Some(wanted) = wanted(headers)? else { return Ok(user) };
    let mut refused = None;
    for mode in Mode::ALL {
        if !mode.applies(&wanted, &user) {
            continue;
        }
        match mode.check(&user, &wanted, action, authorizer).await {
            Ok(()) => return Ok(mode.identity(wanted)),
            Err(status) => refused = refused.or(Some(status)),
        }
    }
    Err(refused.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
}

fn wanted(headers: &[(String, String)]) -> Result<Option<User>, Status> {
    let values = |name: &str| headers.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let first = |name: &str| values(name).into_iter().next().unwrap_or_default();
    let wanted = User {
        name: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: values("impersonate-group"),
        extra: extras(headers, "impersonate-extra-"),
    };
    match (wanted.name.is_empty(), only_name(&wanted)) {
        (false, _) => Ok(Some(wanted)),
        (true, true) => Ok(None),
        (true, false) => Err(Status::bad_request("requested groups, uid or extra without impersonating a user name")),
    }
}

fn only_name(u: &User) -> bool {
    u.uid.is_empty() && u.groups.is_empty() && u.extra.is_empty()
}

/// The node that a user name stands for.
fn node_of(name: &str) -> Option<&str> {
    name.strip_prefix("system:node:").filter(|n| is_dns1123_subdomain(n).is_ok())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

impl Mode {
    const ALL: [Mode; 5] = [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "legacy",
        }
    }

    fn applies(self, wanted: &User, user: &User) -> bool {
        let (node, account) = (node_of(&wanted.name), wanted.service_account().is_some());
        match self {
            Mode::AssociatedNode => {
                let bound = user.extra.get(NODE_NAME).map(Vec::as_slice);
                only_name(wanted) && user.service_account().is_some() && node.is_some_and(|n| matches!(bound, Some([one]) if one == n))
            }
            Mode::ArbitraryNode => only_name(wanted) && node.is_some(),
            Mode::ServiceAccount => only_name(wanted) && account,
            Mode::UserInfo => node.is_none() && !account,
            Mode::Legacy => true,
        }
    }

    async fn check(self, user: &User, wanted: &User, action: &Action, authorizer: &dyn Authorizer) -> Result<(), Status> {
        // All nodes are one for this mode: the answer must not depend on which it is.
        let asking = match self {
            Mode::AssociatedNode => User { extra: BTreeMap::from([(ASSOCIATED.to_owned(), user.extra.keys().cloned().collect())]), ..user.clone() },
            _ => user.clone(),
        };
        if self != Mode::Legacy {
            may(&asking, self.on(action), authorizer).await?;
            if let Some((action, why)) = excluded(self.verb(), wanted) {
                return Err(forbidden(user, &action, &why));
            }
        }
        for part in self.parts(wanted) {
            if self != Mode::Legacy && part.each.len() >= MANY && may(&asking, part.all.clone(), authorizer).await.is_ok() {
                continue;
            }
            for action in part.each {
                may(&asking, action, authorizer).await?;
            }
        }
        Ok(())
    }

    fn verb(self) -> String {
        if self == Mode::Legacy { "impersonate".into() } else { format!("impersonate:{}", self.name()) }
    }

    /// The request itself, as it must be allowed to be done for another.
    fn on(self, action: &Action) -> Action {
        let verb = |verb: &str| format!("impersonate-on:{}:{verb}", self.name());
        match action {
            Action::Resource { verb: v, target, selectors } => Action::Resource { verb: verb(v), target: target.clone(), selectors: selectors.clone() },
            Action::Path { verb: v, path } => Action::Path { verb: verb(v), path: path.clone() },
        }
    }

    /// What must be allowed of the identity.
    fn parts(self, wanted: &User) -> Vec<Part> {
        let legacy = self == Mode::Legacy;
        let names = if legacy { ("", "v1") } else { (AUTHENTICATION, "v1") };
        let on = |(group, version): (&'static str, &'static str), resource: &'static str, namespace: &str, name: &str, sub: &str| {
            Action::resource(self.verb(), Target::new(GroupVersionResource::new(group, version, resource), namespace, name).sub(sub))
        };
        let name = match (node_of(&wanted.name).filter(|_| !legacy), wanted.service_account()) {
            (Some(_), _) if self == Mode::AssociatedNode => on(names, "nodes", "", "*", ""),
            (Some(node), _) => on(names, "nodes", "", node, ""),
            (None, Some((namespace, name))) => on(names, "serviceaccounts", namespace, name, ""),
            (None, None) => on(names, "users", "", &wanted.name, ""),
        };
        let mut parts = vec![Part::one(name)];
        if !wanted.uid.is_empty() {
            parts.push(Part::one(on((AUTHENTICATION, "v1"), "uids", "", &wanted.uid, "")));
        }
        parts.push(Part { all: on(names, "groups", "", "*", ""), each: wanted.groups.iter().map(|g| on(names, "groups", "", g, "")).collect() });
        let extra = |key: &str, value: &str| on((AUTHENTICATION, "v1"), "userextras", "", value, key);
        let each = wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v))).map(|(k, v)| extra(k, v)).collect();
        parts.push(Part { all: extra("*", "*"), each });
        parts
    }

    /// With the groups that go without saying.
    fn identity(self, mut wanted: User) -> User {
        if self != Mode::Legacy && node_of(&wanted.name).is_some() {
            wanted.groups = vec!["system:nodes".into()];
        } else if let (true, Some((namespace, _))) = (wanted.groups.is_empty(), wanted.service_account()) {
            wanted.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
        let group = match wanted.name == User::ANONYMOUS {
            true => Some(User::UNAUTHENTICATED),
            false if wanted.in_group(User::UNAUTHENTICATED) => None,
            false => Some(User::AUTHENTICATED),
        };
        if let Some(group) = group.filter(|g| !wanted.in_group(g)) {
            wanted.groups.push(group.into());
        }
        wanted
    }
}

/// Things of one kind, and the question about all of that kind.
struct Part {
    all: Action,
    each: Vec<Action>,
}

impl Part {
    fn one(action: Action) -> Self {
        Self { all: action.clone(), each: vec![action] }
    }
}

async fn may(user: &User, action: Action, authorizer: &dyn Authorizer) -> Result<(), Status> {
    match authorizer.authorize(user, &action).await {
        Decision::Allow => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) => Err(forbidden(user, &action, &why)),
    }
}

/// What the constrained modes never allow.
fn excluded(verb: String, wanted: &User) -> Option<(Action, String)> {
    let on =
        |resource: &'static str, name: &str| Action::resource(verb.clone(), Target::new(GroupVersionResource::new(AUTHENTICATION, "v1", resource), "", name));
    if wanted.groups.iter().any(String::is_empty) {
        return Some((on("groups", ""), "impersonating the empty string group is not allowed".into()));
    }
    if wanted.in_group(User::MASTERS) {
        return Some((on("groups", User::MASTERS), "impersonating the system:masters group is not allowed".into()));
    }
    let why = wanted.extra.iter().find_map(|(key, values)| {
        Some(match key {
            k if k.is_empty() => "impersonating the empty string key in extra is not allowed".to_owned(),
            k if !k.split_once('/').is_some_and(|(domain, path)| is_dns1123_subdomain(domain).is_ok() && !path.is_empty()) && is_qualified_name(k).is_ok() => {
                format!("impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {k:?}: must be a domain-prefixed path (such as \"acme.io/foo\")")
            }
            _ if values.iter().any(String::is_empty) => "impersonating the empty string value in extra is not allowed".to_owned(),
            _ => return None,
        })
    });
    why.map(|why| (on("userextras", ""), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows what it lists, as `verb resource/sub name`.
    struct Listed(&'static [&'static str]);
    #[async_trait::async_trait]
    impl Authorizer for Listed {
        async fn authorize(&self, _: &User, action: &Action) -> Decision {
            let told = match action {
                Action::Resource { verb, target: t, .. } => format!("{verb} {}.{}/{} {}", t.resource.resource, t.resource.group, t.subresource, t.name),
                Action::Path { verb, path } => format!("{verb} {path}"),
            };
            if self.0.contains(&told.as_str()) { Decision::Allow } else { Decision::NoOpinion(String::new()) }
        }
        async fn rules(&self, _: &User, _: &str) -> (Vec<skiff_json::Value>, Vec<skiff_json::Value>) {
            Default::default()
        }
    }

    fn act(allowed: &'static [&'static str], user: &User, list: &[(&str, &str)]) -> Result<User, Status> {
        let headers: Vec<_> = list.iter().map(|(k, v)| (format!("impersonate-{k}"), v.to_string())).collect();
        let action = Action::resource("list", Target::new(GroupVersionResource::new("", "v1", "pods"), "ns", ""));
        futures::executor::block_on(impersonate(user.clone(), &headers, &action, &Listed(allowed)))
    }

    #[test]
    fn constrained_modes_need_the_request_and_the_identity() {
        const BOTH: &[&str] = &[
            "impersonate-on:user-info:list pods./ ",
            "impersonate:user-info users.authentication.k8s.io/ jane",
            "impersonate:user-info groups.authentication.k8s.io/ dev",
        ];
        let boss = User::new("boss", ["x"]);
        let jane = act(BOTH, &boss, &[("user", "jane"), ("group", "dev")]).unwrap();
        assert_eq!(jane.groups, ["dev", "system:authenticated"]);
        let refused = act(&BOTH[..2], &boss, &[("user", "jane"), ("group", "dev")]).unwrap_err();
        assert_eq!(
            refused.message,
            r#"groups.authentication.k8s.io "dev" is forbidden: User "boss" cannot impersonate:user-info resource "groups" in API group "authentication.k8s.io" at the cluster scope"#
        );
        let refused = act(&BOTH[1..], &boss, &[("user", "jane")]).unwrap_err();
        assert_eq!(
            refused.message,
            r#"pods is forbidden: User "boss" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "ns""#
        );
        assert!(
            act(BOTH, &boss, &[("user", "jane"), ("group", "system:masters")])
                .unwrap_err()
                .message
                .contains("impersonating the system:masters group is not allowed")
        );
        const ALL: &[&str] = &[BOTH[0], BOTH[1], "impersonate:user-info groups.authentication.k8s.io/ *"];
        assert!(act(ALL, &boss, &[("user", "jane"), ("group", "a"), ("group", "b"), ("group", "c"), ("group", "d")]).is_ok());
    }

    #[test]
    fn nodes_and_accounts_have_modes_of_their_own() {
        const NODE: &[&str] = &["impersonate-on:associated-node:list pods./ ", "impersonate:associated-node nodes.authentication.k8s.io/ *"];
        let mut daemon = User::new("system:serviceaccount:kube-system:cni", [""]);
        assert!(act(NODE, &daemon, &[("user", "system:node:n1")]).is_err(), "its token is bound to no node");
        daemon.extra.insert(NODE_NAME.into(), vec!["n1".into()]);
        assert_eq!(act(NODE, &daemon, &[("user", "system:node:n1")]).unwrap().groups, ["system:nodes", "system:authenticated"]);
        assert!(act(NODE, &daemon, &[("user", "system:node:n2")]).is_err());
        const ANY: &[&str] = &["impersonate-on:arbitrary-node:list pods./ ", "impersonate:arbitrary-node nodes.authentication.k8s.io/ n2"];
        assert!(act(ANY, &daemon, &[("user", "system:node:n2")]).is_ok());
        const ACCOUNT: &[&str] = &["impersonate-on:serviceaccount:list pods./ ", "impersonate:serviceaccount serviceaccounts.authentication.k8s.io/ app"];
        assert_eq!(act(ACCOUNT, &daemon, &[("user", "system:serviceaccount:ns:app")]).unwrap().groups.len(), 3);
        assert!(act(ACCOUNT, &daemon, &[("user", "system:serviceaccount:ns:app"), ("group", "x")]).is_err());
        assert!(act(&["impersonate users./ jane"], &daemon, &[("user", "jane")]).is_ok(), "the old way");
    }
}
