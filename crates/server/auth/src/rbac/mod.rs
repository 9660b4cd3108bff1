//! Role-based access control over the roles and bindings in the store.
//!
//! - `rule`: what a rule matches and covers.
//! - `index`: grants by subject.
//! - [`Guard`]: nobody grants what they do not hold (admission).
//! - [`bootstrap`]: the default roles and bindings, and how a store gets them.
//!
//! Gathering the rules of aggregated roles is a controller's work.
pub mod bootstrap;
mod guard;
mod index;
mod rule;

pub use guard::Guard;
pub use index::{RoleRef, Subject};
pub use rule::{Rule, uncovered};

use crate::changes::{Changes, Since};
use index::Index;
use parking_lot::{Mutex, RwLock};
pub(crate) use rule::{nullable, quoted};
use skiff_json::{Value, json};
use skiff_policy::{Action, Authorizer, Decision, Verdict};
use skiff_request::User;
use skiff_store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;

const PREFIXES: &[&str] = &[index::CLUSTER_ROLES, index::ROLES, index::CLUSTER_BINDINGS, index::BINDINGS];

/// The authoriser. Sees every role and binding that was committed before it is asked.
pub struct Rbac {
    store: Arc<dyn Store>,
    changes: Mutex<Changes>,
    index: RwLock<Arc<Index>>,
}

impl Rbac {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { changes: Mutex::new(Changes::new(store.clone(), PREFIXES)), store, index: RwLock::default() }
    }
    fn index(&self) -> Arc<Index> {
        let mut changes = self.changes.lock();
        match changes.look() {
            Since::Events(events) if events.is_empty() => self.index.read().clone(),
            _ => {
                let mut index = self.index.write();
                let before = std::mem::take(&mut *index);
                *index = Arc::new(Arc::try_unwrap(before).unwrap_or_default().rebuilt(&*self.store));
                index.clone()
            }
        }
    }
    /// Allowed, with the grant that allows it; or the reason why there is none (mostly empty).
    pub fn explain(&self, user: &User, action: &Action) -> Result<String, String> {
        let namespace = match action {
            Action::Resource { target, .. } => target.namespace.as_str(),
            Action::Path { .. } => "",
        };
        let index = self.index();
        let mut missing = BTreeSet::new();
        for grant in index.grants(user, namespace) {
            match &grant.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(action)) => return Ok(grant.told()),
                Some(_) => {}
                None => drop(missing.insert(grant.missing())),
            }
        }
        let missing: Vec<_> = missing.into_iter().collect();
        Err(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            more => format!("RBAC: [{}]", more.join(", ")),
        })
    }
    /// Every rule that holds for the user in the namespace.
    pub fn held(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let index = self.index();
        index.grants(user, namespace).filter_map(|g| g.rules.as_deref()).flatten().cloned().collect()
    }
    /// The rules of a role as a binding in `namespace` names it; None when it is not there.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>> {
        self.index().rules_of(role, namespace).map(|rules| rules.to_vec())
    }
    /// Err tells what of `wanted` the user does not hold in the namespace, in upstream's words.
    pub fn escalation_check(&self, user: &User, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
        let missing: BTreeSet<String> = uncovered(&self.held(user, namespace), wanted).iter().map(Rule::to_string).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<_> = missing.into_iter().collect();
        Err(format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            missing.join("\n")
        ))
    }
}

/// Rules as the status of a SelfSubjectRulesReview has them.
pub(crate) fn reviewed(rules: &[Rule]) -> (Vec<Value>, Vec<Value>) {
    let resources = rules.iter().filter(|r| !r.resources.is_empty()).map(|r| {
        let mut v = json!({"verbs": r.verbs, "apiGroups": r.api_groups, "resources": r.resources});
        if !r.resource_names.is_empty() {
            v["resourceNames"] = json!(r.resource_names);
        }
        v
    });
    let paths = rules.iter().filter(|r| !r.non_resource_urls.is_empty()).map(|r| json!({"verbs": r.verbs, "nonResourceURLs": r.non_resource_urls}));
    (resources.collect(), paths.collect())
}

#[async_trait::async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, user: &User, action: &Action) -> Decision {
        match self.explain(user, action) {
            Ok(_) => Decision::Allow,
            Err(why) => Decision::NoOpinion(why),
        }
    }
    async fn verdict(&self, user: &User, action: &Action) -> Verdict {
        match self.explain(user, action) {
            Ok(reason) => Verdict { decision: Decision::Allow, reason, error: String::new() },
            Err(why) => Verdict { decision: Decision::NoOpinion(why.clone()), reason: why, error: String::new() },
        }
    }
    async fn rules(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        reviewed(&self.held(user, namespace))
    }
}
