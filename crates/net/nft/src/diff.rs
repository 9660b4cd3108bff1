//! The difference of two rulesets.
//!
//! The order is the kernel's: rules let go of sets and chains before those are deleted, and everything is there before a
//! rule or an element names it. A set whose shape changes is deleted and made again, so each chain that uses it is rewritten; so
//! is a chain that becomes a base chain or ceases to be one, with the elements that lead there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Chain, Key, Op, Ruleset, Set, Transaction, Value};

/// Makes the whole table, in place of whatever has its name now.
pub fn create(target: &Ruleset) -> Transaction {
    let empty = Ruleset::new(target.family, target.table.clone());
    let mut ops = vec![Op::AddTable, Op::DeleteTable, Op::AddTable];
    ops.extend(diff(&empty, target).ops);
    Transaction { family: target.family, table: target.table.clone(), ops }
}

/// What turns `from`, which the kernel has, into `to`. Both are the same table.
pub fn diff(from: &Ruleset, to: &Ruleset) -> Transaction {
    let lost_sets: BTreeSet<&Arc<str>> = from.sets.iter().filter(|(name, set)| to.sets.get(*name).is_none_or(|t| !t.same_shape(set))).map(|(n, _)| n).collect();
    let lost_chains: BTreeSet<&Arc<str>> =
        from.chains.iter().filter(|(name, c)| to.chains.get(*name).is_none_or(|t| t.base != c.base)).map(|(n, _)| n).collect();
    let uses_lost = |chain: &Chain| {
        let mut exprs = chain.rules.iter().flat_map(|r| &r.0);
        exprs.any(|e| e.set().is_some_and(|s| lost_sets.contains(&Arc::from(s))) || e.chain().is_some_and(|c| lost_chains.contains(&Arc::from(c))))
    };
    let rewritten: BTreeSet<&Arc<str>> = to
        .chains
        .iter()
        .filter(|(name, chain)| match from.chains.get(*name) {
            Some(old) => lost_chains.contains(name) || old.rules != chain.rules || uses_lost(chain),
            None => true,
        })
        .map(|(name, _)| name)
        .collect();

    let mut ops = Vec::new();
    for (name, chain) in &from.chains {
        if !chain.rules.is_empty() && (lost_chains.contains(name) || rewritten.contains(name)) {
            ops.push(Op::FlushChain { chain: name.clone() });
        }
    }
    let mut additions = Vec::new();
    for (name, set) in &to.sets {
        let old = from.sets.get(name).filter(|_| !lost_sets.contains(name));
        let (gone, new) = elements(old, set, &lost_chains);
        if !gone.is_empty() {
            ops.push(Op::DeleteElements { set: name.clone(), shape: shape(set), elements: gone });
        }
        if !new.is_empty() {
            additions.push(Op::AddElements { set: name.clone(), shape: shape(set), elements: new });
        }
    }
    ops.extend(lost_sets.iter().map(|name| Op::DeleteSet { set: (*name).clone() }));
    ops.extend(lost_chains.iter().map(|name| Op::DeleteChain { chain: (*name).clone() }));
    for (name, chain) in &to.chains {
        if !from.chains.contains_key(name) || lost_chains.contains(name) {
            ops.push(Op::AddChain { chain: name.clone(), base: chain.base });
        }
    }
    for (name, set) in &to.sets {
        if !from.sets.contains_key(name) || lost_sets.contains(name) {
            ops.push(Op::AddSet { set: name.clone(), shape: shape(set) });
        }
    }
    ops.extend(additions);
    for (name, chain) in to.chains.iter().filter(|(name, _)| rewritten.contains(name)) {
        ops.extend(chain.rules.iter().map(|rule| Op::AddRule { chain: name.clone(), rule: rule.clone() }));
    }
    Transaction { family: to.family, table: to.table.clone(), ops }
}

fn shape(set: &Set) -> Set {
    Set { elements: Default::default(), key: set.key.clone(), data: set.data.clone(), ..*set }
}

/// Elements to delete and to add; one whose value changed, or leads to a chain that is made again, is in both.
#[expect(clippy::type_complexity, reason = "a pair of element lists, named by the line above")]
fn elements(from: Option<&Set>, to: &Set, lost_chains: &BTreeSet<&Arc<str>>) -> (Vec<(Key, Value)>, Vec<(Key, Value)>) {
    let pair = |(key, value): (&Key, &Value)| (key.clone(), value.clone());
    let Some(from) = from else {
        return (Vec::new(), to.elements.iter().map(pair).collect());
    };
    let leads_to_lost = |value: &Value| match value {
        Value::Verdict(verdict) => verdict.chain().is_some_and(|c| lost_chains.contains(&Arc::from(c))),
        _ => false,
    };
    let kept = |in_other: Option<&Value>, value: &Value| in_other == Some(value) && !leads_to_lost(value);
    let gone = from.elements.iter().filter(|(key, value)| !kept(to.elements.get(*key), value)).map(pair).collect();
    let new = to.elements.iter().filter(|(key, value)| !kept(from.elements.get(*key), value)).map(pair).collect();
    (gone, new)
}
