//! How many watch what: what a write costs beyond its own end.
use parking_lot::Mutex;
use skiff_request::{Target, Verb};
use std::{collections::HashMap, sync::Arc};

/// What is watched: all of a resource, a namespace's, or one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Scope {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

fn scope(t: &Target, namespace: &str, name: &str) -> Scope {
    Scope { group: t.resource.group.to_string(), resource: t.resource.resource.to_string(), namespace: namespace.to_owned(), name: name.to_owned() }
}

#[derive(Debug, Default)]
pub struct Watchers(Mutex<HashMap<Scope, u64>>);

/// Is counted while it lives.
#[derive(Debug)]
pub struct Watching {
    of: Arc<Watchers>,
    scope: Scope,
}

impl Watchers {
    /// A watch begins. One that a field narrows to few objects (a node's pods) is not to be counted.
    pub fn begin(self: &Arc<Self>, target: &Target) -> Watching {
        let scope = scope(target, &target.namespace, &target.name);
        *self.0.lock().entry(scope.clone()).or_default() += 1;
        Watching { of: self.clone(), scope }
    }
    /// How many may want the event of a write.
    pub fn interested(&self, target: &Target, verb: Verb) -> u64 {
        // A token for a service account changes nothing.
        let silent = target.subresource == "token" && target.resource.resource == "serviceaccounts";
        let all = self.0.lock();
        if all.is_empty() || !verb.writes() || silent {
            return 0;
        }
        let of = |namespace: &str, name: &str| all.get(&scope(target, namespace, name)).copied().unwrap_or_default();
        let mut sum = of("", "");
        if !target.namespace.is_empty() {
            sum += of(&target.namespace, "");
        }
        if !target.name.is_empty() {
            sum += of(&target.namespace, &target.name);
        }
        sum
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut all = self.of.0.lock();
        if let Some(n) = all.get_mut(&self.scope) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_meta::GroupVersionResource;
    #[test]
    fn wide_and_narrow_watches_count() {
        let w = Arc::new(Watchers::default());
        let pods = |namespace: &str, name: &str| Target::new(GroupVersionResource::new("", "v1", "pods"), namespace, name);
        let held = [pods("", ""), pods("", ""), pods("a", ""), pods("a", "x"), pods("b", "")].map(|t| w.begin(&t));
        assert_eq!(
            [w.interested(&pods("a", "x"), Verb::Update), w.interested(&pods("a", ""), Verb::Create), w.interested(&pods("a", "x"), Verb::Get)],
            [4, 3, 0]
        );
        drop(held);
        assert_eq!((w.interested(&pods("a", "x"), Verb::Update), w.0.lock().len()), (0, 0));
    }
}
