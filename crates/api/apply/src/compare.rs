//! What changed between two states.
use crate::{
    Element, FieldSet, Relation, Shape,
    set::Node,
    walk::{aligned, element_of, relation},
};
use skiff_json::Value;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// The same of one field: whether it was added, modified or removed itself, and what changed below it.
#[derive(Default)]
struct Change {
    own: [bool; 3],
    below: Level,
}

static NOTHING: FieldSet = FieldSet::empty();

const ADDED: usize = 0;
const MODIFIED: usize = 1;
const REMOVED: usize = 2;

/// What changed of the fields of one map or list: added, modified, removed.
#[derive(Default)]
struct Level([Vec<Node>; 3]);

impl Level {
    fn put(&mut self, element: impl FnOnce() -> Element, change: Change) {
        let Change { own, below: Level(below) } = change;
        if !own.contains(&true) && below.iter().all(Vec::is_empty) {
            return;
        }
        let element = element();
        for ((nodes, member), below) in self.0.iter_mut().zip(own).zip(below) {
            if member || !below.is_empty() {
                nodes.push(Node { element: element.clone(), member, below: FieldSet::of(below) });
            }
        }
    }
}

/// What lies in or under the fields of `ignored` is not looked at.
pub(crate) fn compare(old: &Value, new: &Value, shape: Shape<'_>, ignored: &FieldSet) -> Comparison {
    let Level(below) = node(Some(old), Some(new), shape, ignored).below;
    let [added, modified, removed] = below.map(FieldSet::of);
    Comparison { added, modified, removed }
}

/// How the two sides merge. A side that is absent or null takes the other's way.
fn common(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) -> Result<Relation, (Relation, Relation)> {
    let of = |v: Option<&Value>| v.filter(|v| !v.is_null()).map(|v| relation(shape, v));
    match (of(old), of(new)) {
        (Some(o), Some(n)) if o != n => Err((o, n)),
        (Some(r), _) | (None, Some(r)) => Ok(r),
        (None, None) => Ok(shape.relation()),
    }
}

/// A field or item that at least one side has. A whole map or list that comes or goes is in the set itself, beside
/// what is below it; one that both sides have is not.
fn node(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, ignored: &FieldSet) -> Change {
    let mut change = Change::default();
    // Maps are compared on the way down, once.
    if !matches!((old, new), (Some(Value::Object(_)), Some(Value::Object(_)))) && old == new {
        return change;
    }
    match common(old, new, shape) {
        Ok(r) if r == Relation::Atomic || (hollow(old) && hollow(new)) => change.own = leaf(old, new),
        Ok(r) => {
            below(r, old, new, shape, ignored, &mut change.below);
            match (old, new) {
                (None, _) => change.own[ADDED] = true,
                (_, None) => change.own[REMOVED] = true,
                _ => {}
            }
        }
        // A change of type: what was below goes, what is below comes.
        Err((o, n)) => {
            change.own = leaf(old, new);
            below(o, old, None, shape, ignored, &mut change.below);
            below(n, None, new, shape, ignored, &mut change.below);
        }
    }
    change
}

fn hollow(v: Option<&Value>) -> bool {
    match v {
        None | Some(Value::Null) => true,
        Some(Value::Object(m)) => m.is_empty(),
        Some(Value::Array(a)) => a.is_empty(),
        Some(_) => false,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> [bool; 3] {
    match (old, new) {
        (None, _) => [true, false, false],
        (_, None) => [false, false, true],
        (Some(o), Some(n)) => [false, !same(o, n), false],
    }
}

fn below(r: Relation, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>, ignored: &FieldSet, level: &mut Level) {
    match r {
        Relation::Atomic => {}
        Relation::Map => {
            let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let fresh = new.into_iter().flatten().map(|(name, _)| name).filter(|name| !old.is_some_and(|m| m.contains_key(name)));
            for name in old.into_iter().flatten().map(|(name, _)| name).chain(fresh) {
                let skip = ignored.field(name);
                if skip.is_some_and(|n| n.member) {
                    continue;
                }
                let under = skip.map_or(&NOTHING, |n| &n.below);
                let change = node(old.and_then(|m| m.get(name)), new.and_then(|m| m.get(name)), shape.field(name), under);
                level.put(|| Element::field(name), change);
            }
        }
        Relation::Set | Relation::Keyed => lists(items(old), items(new), shape, level),
    }
}

fn items(v: Option<&Value>) -> &[Value] {
    v.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn lists(old: &[Value], new: &[Value], shape: Shape<'_>, level: &mut Level) {
    if aligned(old, new, shape) {
        for (i, (o, n)) in old.iter().zip(new).enumerate() {
            let change = node(Some(o), Some(n), shape.item(), &NOTHING);
            level.put(|| element_of(shape, n, i).unwrap_or(Element::Index(i)), change);
        }
        return;
    }
    let (was, is) = (sorted(old, shape), sorted(new, shape));
    let (mut was, mut is) = (was.as_slice(), is.as_slice());
    while let Some(e) = [was.first(), is.first()].into_iter().flatten().map(|(e, _)| e).min() {
        let (o, n) = (run(&mut was, e), run(&mut is, e));
        let mut change = Change::default();
        match (o, n) {
            ([] | [_], [] | [_]) => change = node(first(o), first(n), shape.item(), &NOTHING),
            // Duplicates are owned as one: any difference modifies the item as a whole.
            ([_, _, ..], [_, _, ..]) => change.own[MODIFIED] = o.len() != n.len() || o.iter().zip(n).any(|((_, a), (_, b))| !same(a, b)),
            ([_, _, ..], _) => {
                if let Some(v) = first(n) {
                    change = node(None, Some(v), shape.item(), &NOTHING);
                }
                change.own[REMOVED] = true;
            }
            (_, _) => {
                if let Some(v) = first(o) {
                    change = node(Some(v), None, shape.item(), &NOTHING);
                }
                change.own[ADDED] = true;
            }
        }
        level.put(|| e.clone(), change);
    }
}

type Item<'v> = (Element, &'v Value);

fn first<'v>(items: &[Item<'v>]) -> Option<&'v Value> {
    items.first().map(|(_, v)| *v)
}

/// Takes the items of an element off the front.
fn run<'i, 'v>(items: &mut &'i [Item<'v>], e: &Element) -> &'i [Item<'v>] {
    let length = items.iter().take_while(|(x, _)| x == e).count();
    let (front, rest) = items.split_at(length);
    *items = rest;
    front
}

/// Items by their path element; an item without its keys stands for its position.
fn sorted<'v>(items: &'v [Value], shape: Shape<'_>) -> Vec<Item<'v>> {
    let mut all: Vec<Item<'v>> = items.iter().enumerate().map(|(i, v)| (element_of(shape, v, i).unwrap_or(Element::Index(i)), v)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Equality of JSON values whatever the order of maps, 1 and 1.0 being the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Object(x), Value::Object(y)) => x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w))),
        _ => a == b,
    }
}
