//! What is to be done with one object, pure.
use skiff_meta::{Head, OwnerRef};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Owner {
    /// `foreground`: it is being deleted and waits for its dependents.
    Present {
        foreground: bool,
    },
    Absent,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Nothing,
    /// All owners are gone or going: delete with this propagation policy.
    Delete {
        policy: &'static str,
    },
    /// Some owners (by uid) are gone, others stay.
    DropOwners(Vec<String>),
    /// Owners wait for this object, and it for dependents that are going already: that may be a circle, in which nobody
    /// must block for ever.
    Unblock,
    /// Let the dependents go their own way, then drop the finalizer.
    Orphan,
    /// Foreground deletion: see to the dependents first.
    DeleteDependents,
    /// Nothing holds it any more: drop this finalizer.
    Finish(&'static str),
}

/// `going`: dependents that are being deleted themselves; `blocking`: those that the object must wait for.
pub(crate) fn step(head: &Head, owners: &[(OwnerRef, Owner)], going: usize, blocking: usize) -> Step {
    let has = |f: &str| head.finalizers.iter().any(|x| x == f);
    if head.deletion_timestamp.is_some() {
        return match (has(ORPHAN), has(FOREGROUND)) {
            (true, _) => Step::Orphan,
            (_, true) if blocking == 0 => Step::Finish(FOREGROUND),
            (_, true) => Step::DeleteDependents,
            _ => Step::Nothing,
        };
    }
    if owners.is_empty() {
        return Step::Nothing;
    }
    let solid = owners.iter().filter(|(_, s)| *s == Owner::Present { foreground: false }).count();
    let waiting = owners.iter().filter(|(_, s)| *s == Owner::Present { foreground: true }).count();
    let gone: Vec<String> = owners.iter().filter(|(_, s)| *s != Owner::Present { foreground: false }).map(|(o, _)| o.uid.clone()).collect();
    match (solid, waiting, gone.len()) {
        (_, _, 0) => Step::Nothing,
        (1.., ..) => Step::DropOwners(gone),
        (0, 1.., _) if going > 0 => Step::Unblock,
        (0, 1.., _) => Step::Delete { policy: "Foreground" },
        _ if has(ORPHAN) => Step::Delete { policy: "Orphan" },
        _ if has(FOREGROUND) => Step::Delete { policy: "Foreground" },
        _ => Step::Delete { policy: "Background" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn head(deleting: bool, finalizers: &[&str]) -> Head {
        Head { deletion_timestamp: deleting.then(|| "t".into()), finalizers: finalizers.iter().map(|f| f.to_string()).collect(), ..Default::default() }
    }
    fn owner(uid: &str, state: Owner) -> (OwnerRef, Owner) {
        (OwnerRef { uid: uid.into(), ..Default::default() }, state)
    }
    #[test]
    fn steps() {
        let (there, ends) = (Owner::Present { foreground: false }, Owner::Present { foreground: true });
        for (h, owners, going, blocking, want) in [
            (head(false, &[]), vec![], 0, 0, Step::Nothing),
            (head(false, &[]), vec![owner("a", there)], 0, 0, Step::Nothing),
            (head(false, &[]), vec![owner("a", Owner::Absent)], 0, 0, Step::Delete { policy: "Background" }),
            (head(false, &[]), vec![owner("a", Owner::Absent), owner("b", there)], 0, 0, Step::DropOwners(vec!["a".into()])),
            (head(false, &[]), vec![owner("a", ends)], 0, 0, Step::Delete { policy: "Foreground" }),
            (head(false, &[]), vec![owner("a", ends)], 1, 1, Step::Unblock),
            (head(false, &[]), vec![owner("a", ends), owner("b", there)], 0, 0, Step::DropOwners(vec!["a".into()])),
            (head(true, &["orphan"]), vec![], 2, 0, Step::Orphan),
            (head(true, &["foregroundDeletion"]), vec![], 2, 1, Step::DeleteDependents),
            (head(true, &["foregroundDeletion"]), vec![], 2, 0, Step::Finish(FOREGROUND)),
            (head(true, &["other"]), vec![owner("a", Owner::Absent)], 0, 0, Step::Nothing),
        ] {
            assert_eq!(step(&h, &owners, going, blocking), want);
        }
    }
}
