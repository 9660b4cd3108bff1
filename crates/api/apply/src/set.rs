//! Sets of fields as a tree.
//!
//! Each level is sorted, so that two sets are joined in one pass over both, and small: a level is one allocation.
use crate::{Element, Path, Relation, Shape};
use std::cmp::Ordering;

/// A set of fields: what is in it at this level, and below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Sorted by element, each once; a node is a member or has something below it.
    nodes: Vec<Node>,
}

/// A field of a level. It can be a member of the set and have members below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub element: Element,
    pub member: bool,
    pub below: FieldSet,
}

impl Node {
    fn kept(self) -> Option<Self> {
        (self.member || !self.below.is_empty()).then_some(self)
    }
}

/// Calls `f` with what each side has of every element, in order.
fn join<'a>(a: &'a [Node], b: &'a [Node], mut f: impl FnMut(Option<&'a Node>, Option<&'a Node>)) {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), Some(y)) => x.element.cmp(&y.element),
        };
        f(a.next_if(|_| order.is_le()), b.next_if(|_| order.is_ge()));
    }
}

impl FieldSet {
    pub(crate) const fn empty() -> Self {
        Self { nodes: Vec::new() }
    }
    /// Of nodes in any order; what is said twice of an element is put together.
    pub(crate) fn of(mut nodes: Vec<Node>) -> Self {
        if !nodes.is_sorted_by(|a, b| a.element < b.element) {
            nodes.sort_by(|a, b| a.element.cmp(&b.element));
            nodes.dedup_by(|later, first| {
                let same = later.element == first.element;
                if same {
                    first.member |= later.member;
                    first.below = first.below.union(&later.below);
                }
                same
            });
        }
        nodes.retain(|n| n.member || !n.below.is_empty());
        Self { nodes }
    }
    /// Whether an item stands for its position: one that has none of its list's keys.
    pub(crate) fn has_position(&self) -> bool {
        self.nodes().iter().any(|n| matches!(n.element, Element::Index(_)) || n.below.has_position())
    }
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    fn place(&self, e: &Element) -> Result<usize, usize> {
        self.nodes.binary_search_by(|n| n.element.cmp(e))
    }
    pub(crate) fn node(&self, e: &Element) -> Option<&Node> {
        self.nodes.get(self.place(e).ok()?)
    }
    /// The node of a map's field.
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let order = |n: &Node| match &n.element {
            Element::Field(f) => f.as_str().cmp(name),
            _ => Ordering::Greater,
        };
        self.nodes.get(self.nodes.binary_search_by(order).ok()?)
    }
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = self.place(first).unwrap_or_else(|at| {
            self.nodes.insert(at, Node { element: first.clone(), member: false, below: Self::default() });
            at
        });
        if let Some(node) = self.nodes.get_mut(at) {
            if rest.is_empty() { node.member = true } else { node.below.insert(rest) }
        }
    }
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.node(first).is_some_and(|n| if rest.is_empty() { n.member } else { n.below.has(rest) })
    }
    /// Takes a field of this level out of the set, and leaves what is below.
    pub(crate) fn forget(&mut self, e: &Element) {
        let Ok(at) = self.place(e) else { return };
        if let Some(node) = self.nodes.get_mut(at) {
            node.member = false;
            if node.below.is_empty() {
                self.nodes.remove(at);
            }
        }
    }
    /// What `f` makes of every element that one of the two has.
    fn joined(&self, other: &FieldSet, mut f: impl FnMut(Option<&Node>, Option<&Node>) -> Option<Node>) -> FieldSet {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        join(&self.nodes, &other.nodes, |a, b| nodes.extend(f(a, b).and_then(Node::kept)));
        FieldSet { nodes }
    }
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => return other.clone(),
            (_, true) => return self.clone(),
            _ => {}
        }
        self.joined(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => Some(Node { element: a.element.clone(), member: a.member || b.member, below: a.below.union(&b.below) }),
            (one, other) => one.or(other).cloned(),
        })
    }
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.joined(other, |a, b| {
            let (a, b) = (a?, b?);
            Some(Node { element: a.element.clone(), member: a.member && b.member, below: a.below.intersection(&b.below) })
        })
    }
    /// What is in this set and not, to the letter, in the other.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        self.joined(other, |a, b| match (a?, b) {
            (a, None) => Some(a.clone()),
            (a, Some(b)) => Some(Node { element: a.element.clone(), member: a.member && !b.member, below: a.below.difference(&b.below) }),
        })
    }
    /// The same in place.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|n| {
            if let Some(o) = other.node(&n.element) {
                n.member &= !o.member;
                n.below.subtract(&o.below);
            }
            n.member || !n.below.is_empty()
        });
    }
    /// Takes out what is in the other or below one of its members.
    pub fn cut(&mut self, other: &FieldSet) {
        self.nodes.retain_mut(|n| match other.node(&n.element) {
            None => true,
            Some(o) if o.member => false,
            Some(o) => {
                n.below.cut(&o.below);
                n.member || !n.below.is_empty()
            }
        });
    }
    /// Whether the other has all that this one has.
    pub(crate) fn is_subset(&self, other: &FieldSet) -> bool {
        let mut all = true;
        join(&self.nodes, &other.nodes, |a, b| {
            all = all
                && match (a, b) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(a), Some(b)) => (b.member || !a.member) && a.below.is_subset(&b.below),
                }
        });
        all
    }
    /// With every named field of a struct on the way to a member made a member too: only so can a parent that nobody
    /// owns any more be told from one that is still there.
    pub(crate) fn with_named_parents(&self, shape: Shape<'_>) -> FieldSet {
        let named = |n: &Node| {
            let parent = !n.below.is_empty() && matches!(&n.element, Element::Field(name) if shape.declares(name));
            Node { element: n.element.clone(), member: n.member || parent, below: n.below.with_named_parents(shape.step(&n.element)) }
        };
        FieldSet { nodes: self.nodes.iter().map(named).collect() }
    }
    /// Every member's path, those of a level before those below it.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }
    fn collect(&self, prefix: &mut Vec<Element>, out: &mut Vec<Path>) {
        for n in self.nodes.iter().filter(|n| n.member) {
            prefix.push(n.element.clone());
            out.push(Path(prefix.clone()));
            prefix.pop();
        }
        for n in &self.nodes {
            prefix.push(n.element.clone());
            n.below.collect(prefix, out);
            prefix.pop();
        }
    }
    /// Brings a set of an older schema up to this one: below what has become atomic only the atomic field stays.
    pub(crate) fn reconcile(&mut self, shape: Shape<'_>) {
        for n in self.nodes.iter_mut().filter(|n| !n.below.is_empty()) {
            let below = shape.step(&n.element);
            if below.relation() == Relation::Atomic && !matches!(shape, Shape::Deduced) && !matches!(below, Shape::Deduced) {
                n.member = true;
                n.below = Self::default();
            } else {
                n.below.reconcile(below);
            }
        }
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
        let mut rest = a.clone();
        rest.subtract(&b);
        assert_eq!(rest, a.difference(&b));
        let mut rest = a.clone();
        rest.cut(&set(&["b"]));
        assert_eq!(rest, set(&["a"]));
        assert!(set(&["b.c"]).is_subset(&a) && set(&[]).is_subset(&a) && !b.is_subset(&a) && !a.is_subset(&set(&["a", "b"])));
    }
    #[test]
    fn nodes_in_any_order() {
        let node = |name: &str, member, below: &[&str]| Node { element: Element::field(name), member, below: set(below) };
        let of = FieldSet::of(vec![node("b", false, &["d"]), node("a", true, &[]), node("x", false, &[]), node("b", true, &["c"])]);
        assert_eq!(of, set(&["a", "b", "b.c", "b.d"]));
        assert_eq!(of.field("b").map(|n| n.member), Some(true));
        assert!(of.field("x").is_none() && of.has(&[Element::field("b"), Element::field("c")]));
        let mut rest = of;
        rest.forget(&Element::field("a"));
        rest.forget(&Element::field("b"));
        assert_eq!(rest, set(&["b.c", "b.d"]));
    }
}
