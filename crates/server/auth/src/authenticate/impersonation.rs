//! Acting as somebody else: `Impersonate-*` headers, each part of which the real user must be allowed to take on.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>
use super::front_proxy::extras;
use crate::forbidden;
use skiff_meta::{GroupVersionResource, Status};
use skiff_policy::{Action, Authorizer, Decision};
use skiff_request::{Target, User};

/// Who the request acts as: `user` itself when no header asks for another. Header names are lower-cased.
pub async fn impersonate(user: User, headers: &[(String, String)], authorizer: &dyn Authorizer) -> Result<User, Status> {
    let values = |name: &str| headers.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let first = |name: &str| values(name).into_iter().next().unwrap_or_default();
    let (name, uid, groups) = (first("impersonate-user"), first("impersonate-uid"), values("impersonate-group"));
    let extra = extras(headers, "impersonate-extra-");
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(user);
        }
        return Err(Status::bad_request("requested groups, uid or extra without impersonating a user"));
    }
    let mut asked = User { name, uid, groups, extra };
    for action in parts(&asked) {
        match authorizer.authorize(&user, &action).await {
            Decision::Allow => {}
            Decision::Deny(why) | Decision::NoOpinion(why) => return Err(forbidden(&user, &action, &why)),
        }
    }
    complete_groups(&mut asked);
    Ok(asked)
}

/// What must be allowed, one by one.
fn parts(asked: &User) -> Vec<Action> {
    let part = |group: &'static str, version: &'static str, resource: &'static str, namespace: &str, name: &str, sub: &str| {
        let target = Target::new(GroupVersionResource::new(group, version, resource), namespace, name).sub(sub);
        Action::Resource { verb: "impersonate".into(), target }
    };
    let mut parts = vec![match asked.service_account() {
        Some((namespace, name)) => part("", "", "serviceaccounts", namespace, name, ""),
        None => part("", "", "users", "", &asked.name, ""),
    }];
    parts.extend(asked.groups.iter().map(|g| part("", "", "groups", "", g, "")));
    for (key, values) in &asked.extra {
        parts.extend(values.iter().map(|v| part("authentication.k8s.io", "v1", "userextras", "", v, key)));
    }
    if !asked.uid.is_empty() {
        parts.push(part("authentication.k8s.io", "v1", "uids", "", &asked.uid, ""));
    }
    parts
}

/// Groups that go without saying.
fn complete_groups(asked: &mut User) {
    if asked.groups.is_empty() {
        if let Some((namespace, _)) = asked.service_account() {
            asked.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
    }
    let known = asked.in_group(User::UNAUTHENTICATED) || (asked.name != User::ANONYMOUS && asked.in_group(User::AUTHENTICATED));
    if !known {
        let group = if asked.name == User::ANONYMOUS { User::UNAUTHENTICATED } else { User::AUTHENTICATED };
        asked.groups.push(group.into());
    }
}
