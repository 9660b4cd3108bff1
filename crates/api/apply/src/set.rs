//! Sets of fields as a tree.
use crate::{Element, Path, Relation, Shape};
use std::collections::{BTreeMap, BTreeSet};

/// `members` are fields of the set at this level; `children` hold what lies below. A field can be both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(crate) members: BTreeSet<Element>,
    pub(crate) children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(FieldSet::is_empty)
    }
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|c| c.has(rest)),
        }
    }
    pub(crate) fn child(&self, e: &Element) -> Option<&FieldSet> {
        self.children.get(e)
    }
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (e, c) in &other.children {
            match out.children.get_mut(e) {
                Some(mine) => *mine = mine.union(c),
                None => {
                    out.children.insert(e.clone(), c.clone());
                }
            }
        }
        out
    }
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.intersection(&other.members).cloned().collect();
        let below = |(e, c): (&Element, &FieldSet)| other.children.get(e).map(|o| (e.clone(), c.intersection(o)));
        FieldSet { members, children: self.children.iter().filter_map(below).filter(|(_, c)| !c.is_empty()).collect() }
    }
    /// What is in this set and not, to the letter, in the other.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.difference(&other.members).cloned().collect();
        let below = |(e, c): (&Element, &FieldSet)| (e.clone(), other.children.get(e).map_or_else(|| c.clone(), |o| c.difference(o)));
        FieldSet { members, children: self.children.iter().map(below).filter(|(_, c)| !c.is_empty()).collect() }
    }
    /// What is in this set and neither in the other nor below one of its members.
    pub fn recursive_difference(&self, other: &FieldSet) -> FieldSet {
        let members = self.members.difference(&other.members).cloned().collect();
        let mut children = BTreeMap::new();
        for (e, c) in self.children.iter().filter(|(e, _)| !other.members.contains(e)) {
            let rest = other.children.get(e).map_or_else(|| c.clone(), |o| c.recursive_difference(o));
            if !rest.is_empty() {
                children.insert(e.clone(), rest);
            }
        }
        FieldSet { members, children }
    }
    /// With every named field of a struct on the way to a member made a member too: only so can a parent that nobody
    /// owns any more be told from one that is still there.
    pub(crate) fn with_named_parents(&self, shape: Shape<'_>) -> FieldSet {
        let mut out = FieldSet { members: self.members.clone(), children: BTreeMap::new() };
        for (e, c) in &self.children {
            if matches!(e, Element::Field(name) if shape.declares(name)) {
                out.members.insert(e.clone());
            }
            out.children.insert(e.clone(), c.with_named_parents(shape.step(e)));
        }
        out
    }
    /// Every member's path, those of a level before those below it.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }
    fn collect(&self, prefix: &mut Vec<Element>, out: &mut Vec<Path>) {
        for e in &self.members {
            prefix.push(e.clone());
            out.push(Path(prefix.clone()));
            prefix.pop();
        }
        for (e, c) in &self.children {
            prefix.push(e.clone());
            c.collect(prefix, out);
            prefix.pop();
        }
    }
    /// Brings a set of an older schema up to this one: below what has become atomic only the atomic field stays.
    pub(crate) fn reconciled(&self, shape: Shape<'_>) -> FieldSet {
        let mut out = FieldSet { members: self.members.clone(), children: BTreeMap::new() };
        for (e, c) in &self.children {
            let below = shape.step(e);
            if below.relation() == Relation::Atomic && !c.is_empty() && !matches!(shape, Shape::Deduced) && !matches!(below, Shape::Deduced) {
                out.members.insert(e.clone());
            } else {
                out.children.insert(e.clone(), c.reconciled(below));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn set(paths: &[&str]) -> FieldSet {
        let mut s = FieldSet::default();
        for p in paths {
            s.insert(&p.split('.').map(Element::field).collect::<Vec<_>>());
        }
        s
    }
    #[test]
    fn algebra() {
        let (a, b) = (set(&["a", "b.c", "b.d"]), set(&["b.c", "e"]));
        assert_eq!(a.union(&b), set(&["a", "b.c", "b.d", "e"]));
        assert_eq!(a.intersection(&b), set(&["b.c"]));
        assert_eq!(a.difference(&b), set(&["a", "b.d"]));
        assert_eq!(a.recursive_difference(&set(&["b"])), set(&["a"]));
    }
}
