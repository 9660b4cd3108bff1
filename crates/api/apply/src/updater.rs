//! One apply or update played against all managers.
use crate::compare::{Comparison, compare};
use crate::managed::Asleep;
use crate::merge::merge;
use crate::remove::remove;
use crate::walk::{WalkError, to_set};
use crate::{Element, Entry, FieldSet, Managed, ManagerId, Shape};
use skiff_json::Value;

/// What of an object counts: its shape and the fields that no manager may own (server-set metadata, the other half of
/// spec and status).
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub shape: Shape<'a>,
    pub ignored: &'a FieldSet,
}

pub(crate) enum Outcome {
    Merged { object: Value, changed: bool },
    Conflicts(Vec<(ManagerId, Entry, FieldSet)>),
}

/// Takes what `new` changed away from every other manager; with `force` off, what they own is a conflict.
fn settle(
    old: &Value,
    new: &Value,
    scope: Scope<'_>,
    managed: &mut Managed,
    me: &ManagerId,
    force: bool,
) -> Result<Comparison, Vec<(ManagerId, Entry, FieldSet)>> {
    let c = compare(old, new, scope.shape, scope.ignored);
    managed.wake_touched(scope.shape, [&c.modified, &c.added, &c.removed]);
    let others = || managed.0.iter().filter(|(id, _)| *id != me);
    if others().next().is_none() {
        return Ok(c);
    }
    let changed = c.modified.union(&c.added);
    if !force {
        let found: Vec<_> = others()
            .map(|(id, e)| (id, e, e.set.intersection(&changed)))
            .filter(|(_, _, s)| !s.is_empty())
            .map(|(id, e, s)| (id.clone(), e.clone(), s))
            .collect();
        if !found.is_empty() {
            return Err(found);
        }
    }
    for (_, e) in managed.0.iter_mut().filter(|(id, _)| *id != me) {
        e.set.subtract(&changed);
        e.set.subtract(&c.removed);
    }
    managed.0.retain(|id, e| id == me || !e.set.is_empty());
    Ok(c)
}

/// What of a set a manager may own. The metadata as a whole is nobody's.
fn owned(set: FieldSet, scope: Scope<'_>) -> FieldSet {
    let mut set = set;
    set.cut(scope.ignored);
    set.forget(&Element::field("metadata"));
    set
}

/// `new` was written by a create, update or patch: `me` owns what it changed, on top of what it owned. False where it
/// changes items without their list's keys, of which nobody can own anything: `managed` is of no use then. (Upstream gives up at any such
/// item of the object, also of one that was there before; new ones are refused by validation.)
pub(crate) fn update(old: &Value, new: &Value, scope: Scope<'_>, managed: &mut Managed, me: &ManagerId, api_version: &str, now: &str) -> bool {
    let before = managed.0.get(me).map(|e| e.set.clone()).unwrap_or_default();
    let Ok(c) = settle(old, new, scope, managed, me, true) else { return false };
    if c.added.has_position() || c.modified.has_position() {
        return false;
    }
    let mut set = before.clone();
    set.subtract(&c.removed);
    let set = owned(set.union(&c.modified).union(&c.added), scope);
    let took = !c.modified.is_empty() || !c.added.is_empty();
    if set.is_empty() {
        managed.0.remove(me);
    } else if took || set != before {
        let time = if took { Some(now.to_owned()) } else { managed.0.get(me).and_then(|e| e.time.clone()) };
        managed.0.insert(me.clone(), Entry { api_version: api_version.to_owned(), set, time });
    }
    true
}

/// `config` is applied by `me`: merged in, what `me` applied before and no longer does and nobody else owns goes.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    scope: Scope<'_>,
    managed: &mut Managed,
    me: &ManagerId,
    api_version: &str,
    force: bool,
    now: &str,
) -> Result<Outcome, WalkError> {
    let count = managed.len();
    let merged = merge(live, config, scope.shape);
    let all = to_set(config, scope.shape, true)?;
    if let Some(asleep) = managed.sleeper(me) {
        let mine = owned(all.clone(), scope);
        if mine.to_text() == asleep.text {
            return as_before(live, merged, scope, managed, asleep, api_version, force, now);
        }
        managed.wake_one(asleep, scope.shape);
    }
    let before = managed.0.remove(me);
    let last = before.as_ref().map(|e| &e.set);
    let time = before.as_ref().and_then(|e| e.time.clone());
    // What nobody may own (a name) is the applier's while the rest is pruned, or it went with its parent.
    let own = |set| Entry { api_version: api_version.to_owned(), set, time: time.clone() };
    managed.0.insert(me.clone(), own(all.clone()));
    let merged = prune(merged, managed, me, last, scope.shape)?;
    managed.0.insert(me.clone(), own(owned(all, scope)));
    let c = match settle(live, &merged, scope, managed, me, force) {
        Ok(c) => c,
        Err(found) => {
            // Nothing was taken from anybody yet.
            managed.0.remove(me);
            managed.0.extend(before.map(|e| (me.clone(), e)));
            return Ok(Outcome::Conflicts(found));
        }
    };
    if managed.0.get(me).is_some_and(|e| e.set.is_empty()) {
        managed.0.remove(me);
    }
    let changed = !c.is_same() || managed.len() != count || managed.0.get(me) != before.as_ref();
    // An apply that leaves the object as it is has no time, though it may own more now.
    if !c.is_same()
        && let Some(e) = managed.0.get_mut(me)
    {
        e.time = Some(now.to_owned());
    }
    Ok(Outcome::Merged { object: merged, changed })
}

/// The same fields as the last time are applied, which nothing is withdrawn of: the applier's entry need not be read.
#[expect(clippy::too_many_arguments, reason = "what an apply is made of, and its entry")]
fn as_before(
    live: &Value,
    merged: Value,
    scope: Scope<'_>,
    managed: &mut Managed,
    mine: Asleep,
    api_version: &str,
    force: bool,
    now: &str,
) -> Result<Outcome, WalkError> {
    let (count, mut mine) = (managed.len(), mine);
    let c = match settle(live, &merged, scope, managed, &mine.id, force) {
        Ok(c) => c,
        Err(found) => {
            managed.1.push(mine);
            return Ok(Outcome::Conflicts(found));
        }
    };
    let changed = !c.is_same() || managed.len() != count || mine.api_version != api_version;
    mine.api_version = api_version.to_owned();
    if !c.is_same() {
        mine.time = Some(now.to_owned());
    }
    managed.1.push(mine);
    Ok(Outcome::Merged { object: merged, changed })
}

/// Removes what the last apply had, then puts back what is still owned and what was never the applier's.
fn prune(merged: Value, managed: &mut Managed, me: &ManagerId, last: Option<&FieldSet>, shape: Shape<'_>) -> Result<Value, WalkError> {
    let Some(last) = last.filter(|s| !s.is_empty()) else { return Ok(merged) };
    // Nothing was withdrawn when all of it is owned still.
    if managed.0.get(me).is_some_and(|e| last.is_subset(&e.set)) {
        return Ok(merged);
    }
    managed.wake(shape, |_| true);
    let named = |s: &FieldSet| s.with_named_parents(shape);
    let last = named(last);
    let mut pruned = remove(&merged, &last, shape);
    let all = named(&to_set(&merged, shape, false)?);
    let owned = managed.0.values().fold(FieldSet::default(), |acc, e| acc.union(&e.set));
    let kept = named(&to_set(&pruned, shape, false)?);
    pruned = remove(&merged, &all.difference(&kept.union(&named(&owned))), shape);
    let kept = named(&to_set(&pruned, shape, false)?);
    Ok(match remove(&merged, &all.difference(&kept).intersection(&last), shape) {
        Value::Null => Value::Object(Default::default()),
        left => left,
    })
}
