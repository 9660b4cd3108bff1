//! Deciding a group of writes: who wins, which revision each gets, what must go to disk. Pure.
use skiff_meta::Revision;
use skiff_store::{Entry, Event, EventKind, Expect, Row, StoreError, Tier, Write};
use std::collections::HashMap;
use std::sync::Arc;

/// A write with the row of its new state (None for a deletion).
pub(crate) struct Proposal {
    pub write: Write,
    pub row: Option<Arc<Row>>,
}

/// What a group comes to. `outcomes` has one element a proposal, in order.
#[derive(Default)]
pub(crate) struct Plan {
    pub outcomes: Vec<Outcome>,
    /// In commit order, revisions without a gap.
    pub events: Vec<Commit>,
}

pub(crate) enum Outcome {
    /// Index into the plan's events.
    Committed(usize),
    /// `within`: what it lost against is in this very group.
    Lost { error: StoreError, within: bool },
}

pub(crate) struct Commit {
    pub event: Arc<Event>,
    pub tier: Tier,
}

/// What stands at a key: the entry and where it is kept.
type Standing = Option<(Entry, Tier)>;

/// Decides `proposals` in order, each against `present` and what the group did before it. Revisions begin behind `last`.
pub(crate) fn decide<'a>(proposals: impl Iterator<Item = &'a Proposal>, present: impl Fn(&str) -> Standing, last: Revision) -> Plan {
    let mut plan = Plan::default();
    let mut overlay: HashMap<Arc<str>, Standing> = HashMap::new();
    let mut revision = last;
    for proposal in proposals {
        let write = &proposal.write;
        let within = overlay.contains_key(&write.key);
        let standing = if within { overlay.get(&write.key).cloned().flatten() } else { present(&write.key) };
        let outcome = match change(proposal, standing, revision.next()) {
            Ok((event, tier)) => {
                revision = revision.next();
                let next = (event.kind != EventKind::Deleted).then(|| (event.entry.clone(), tier));
                overlay.insert(write.key.clone(), next);
                plan.events.push(Commit { event: Arc::new(event), tier });
                Outcome::Committed(plan.events.len() - 1)
            }
            Err(current) => {
                let error = StoreError::Conflict { key: write.key.to_string(), current: current.map(Box::new) };
                Outcome::Lost { error, within }
            }
        };
        plan.outcomes.push(outcome);
    }
    plan
}

/// The event of one write on what stands at its key; Err is what stands there when the compare fails.
fn change(proposal: &Proposal, standing: Standing, revision: Revision) -> Result<(Event, Tier), Option<Entry>> {
    let write = &proposal.write;
    let tier = standing.as_ref().map_or(write.tier, |(_, tier)| *tier);
    let current = standing.map(|(entry, _)| entry);
    let met = match write.expect {
        Expect::Absent => current.is_none(),
        Expect::At(at) => current.as_ref().is_some_and(|e| e.revision == at),
    };
    if !met {
        return Err(current);
    }
    match (&write.body, current) {
        (Some(body), previous) => {
            let at = body.at.min(body.bytes.len());
            let row = proposal.row.clone().unwrap_or_default();
            let entry = Entry { key: write.key.clone(), bytes: body.stamped(revision), revision, at, row };
            let kind = if previous.is_some() { EventKind::Updated } else { EventKind::Created };
            Ok((Event::new(kind, entry, previous), tier))
        }
        (None, Some(last)) => {
            let entry = Entry { bytes: last.restamped(revision), revision, ..last.clone() };
            Ok((Event::new(EventKind::Deleted, entry, Some(last)), tier))
        }
        (None, None) => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_store::suite;

    fn propose(key: &str, expect: Expect, value: Option<&str>, tier: Tier) -> Proposal {
        Proposal { write: suite::write(key, expect, value, tier), row: value.map(|_| Arc::default()) }
    }

    #[test]
    fn a_group_sees_its_own_writes() {
        let at = |r| Expect::At(Revision(r));
        let group = [
            propose("pods/a/x", Expect::Absent, Some("1"), Tier::Durable),
            propose("pods/a/x", Expect::Absent, Some("2"), Tier::Durable),
            propose("pods/a/x", at(11), Some("3"), Tier::Volatile),
            propose("leases/a/x", Expect::Absent, Some("4"), Tier::Volatile),
            propose("pods/a/x", at(12), None, Tier::Durable),
            propose("pods/a/x", at(12), None, Tier::Durable),
            propose("pods/a/y", at(3), None, Tier::Durable),
        ];
        let plan = decide(group.iter(), |_| None, Revision(10));
        let shape: Vec<_> = plan.events.iter().map(|c| (c.event.kind, c.event.revision().0, c.tier)).collect();
        assert_eq!(
            shape,
            [
                (EventKind::Created, 11, Tier::Durable),
                (EventKind::Updated, 12, Tier::Durable), // the key's tier stays
                (EventKind::Created, 13, Tier::Volatile),
                (EventKind::Deleted, 14, Tier::Durable),
            ]
        );
        let lost: Vec<_> = plan.outcomes.iter().map(|o| matches!(o, Outcome::Lost { .. })).collect();
        assert_eq!(lost, [false, true, false, false, false, true, true]);
        assert!(matches!(plan.outcomes[1], Outcome::Lost { within: true, .. }) && matches!(plan.outcomes[6], Outcome::Lost { within: false, .. }));
    }
}
