//! Annotations that carry a rollout's history.
use super::view::{DESIRED, DeploymentSpec, MAX, REVISION, REVISION_HISTORY};
use crate::view::Labels;

const HISTORY_CHARS: usize = 2000;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
const OWN: [&str; 6] = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAX, ROLLBACK_TO];

/// The annotations of the ReplicaSet that is to run: the Deployment's, the next revision, and the revisions it had before.
pub(super) fn of_new_set(deployment: &Labels, set: &Labels, next: i64) -> Labels {
    let mut out = set.clone();
    out.extend(deployment.iter().filter(|(k, _)| !OWN.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())));
    let old = set.get(REVISION);
    let number = match old {
        None => 0,
        Some(old) => match old.parse::<i64>() {
            Ok(n) => n,
            Err(_) if old.is_empty() => 0,
            Err(_) => return out,
        },
    };
    if number >= next {
        return out;
    }
    out.insert(REVISION.into(), next.to_string());
    if let Some(old) = old {
        let history = with_revision(set.get(REVISION_HISTORY).map_or("", String::as_str), old);
        out.insert(REVISION_HISTORY.into(), history);
    }
    out
}

/// The history with one revision more; the oldest are dropped when it grows too long.
fn with_revision(history: &str, revision: &str) -> String {
    if history.is_empty() {
        return revision.to_owned();
    }
    let mut all: Vec<&str> = history.split(',').collect();
    all.push(revision);
    while all.len() > 1 && all.iter().map(|r| r.len() + 1).sum::<usize>() - 1 > HISTORY_CHARS {
        all.remove(0);
    }
    all.join(",")
}

/// The sizes that were asked for when a ReplicaSet was scaled, by which later scalings are told and shared out.
pub(super) fn sizes(spec: &DeploymentSpec) -> [(&'static str, String); 2] {
    [(DESIRED, spec.replicas.to_string()), (MAX, (spec.replicas + spec.max_surge()).to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;
    fn map(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }
    #[test]
    fn revisions_move_on_and_are_remembered() {
        let d = map(&[("team", "x"), (LAST_APPLIED, "{}"), (REVISION, "9")]);
        assert_eq!(of_new_set(&d, &map(&[]), 3), map(&[("team", "x"), (REVISION, "3")]));
        assert_eq!(of_new_set(&map(&[]), &map(&[(REVISION, "1")]), 3), map(&[(REVISION, "3"), (REVISION_HISTORY, "1")]));
        assert_eq!(of_new_set(&map(&[]), &map(&[(REVISION, "3"), (REVISION_HISTORY, "1")]), 5), map(&[(REVISION, "5"), (REVISION_HISTORY, "1,3")]));
        assert_eq!(of_new_set(&map(&[]), &map(&[(REVISION, "7")]), 5), map(&[(REVISION, "7")]));
        let long = vec!["12345"; 400].join(",");
        assert!(with_revision(&long, "9").len() <= HISTORY_CHARS);
    }
}
