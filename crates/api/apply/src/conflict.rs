//! Conflicts, in upstream's words.
use crate::{Entry, FieldSet, ManagerId, Operation, Path};
use skiff_meta::{Cause, Reason, Status, StatusDetails};
use std::collections::BTreeMap;

/// A field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The manager as messages print it.
    pub manager: String,
    pub path: Path,
}

pub(crate) fn conflicts_of(found: &[(ManagerId, Entry, FieldSet)]) -> Vec<Conflict> {
    let mut out: Vec<Conflict> = Vec::new();
    for (id, entry, set) in found {
        let manager = printed(id, entry);
        out.extend(set.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
    }
    out
}

fn printed(id: &ManagerId, e: &Entry) -> String {
    let mut s = format!("{:?}", id.name);
    if !id.subresource.is_empty() {
        s += &format!(" with subresource {:?}", id.subresource);
    }
    if id.operation == Operation::Update {
        // Never the time: upstream takes it out of a manager's identity before it prints it.
        s += &format!(" using {}", e.api_version);
    }
    s
}

/// 409 with a cause for each field.
pub(crate) fn status(conflicts: &[Conflict]) -> Status {
    let cause = |c: &Conflict| Cause { reason: "FieldManagerConflict".into(), message: format!("conflict with {}", c.manager), field: c.path.to_string() };
    let details = StatusDetails { causes: conflicts.iter().map(cause).collect(), ..Default::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Conflict, message(conflicts)) }
}

fn message(conflicts: &[Conflict]) -> String {
    if let [c] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", c.manager, c.path);
    }
    let mut by_manager: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for c in conflicts {
        by_manager.entry(&c.manager).or_default().push(&c.path);
    }
    let mut lines = Vec::new();
    for (manager, paths) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(paths.into_iter().map(|p| format!("- {p}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
