//! Members in the order in which they came.
//!
//! Up to [`FEW`] of them are found by looking at each; more have an [`Index`]. The index is made, kept and dropped here alone: every
//! function that moves members says what becomes of it. It hashes all names anew only where all members are passed over anyway.

use hashbrown::{HashTable, hash_table};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::{Key, Value};

/// So many members are looked at one by one.
const FEW: usize = 16;

/// An object's members: names are unique, the order is that of insertion.
#[derive(Clone, Default)]
pub struct Map {
    members: Vec<(Key, Value)>,
    index: Option<Box<Index>>,
}

/// Places of members by the hash of their names, keyed at random.
#[derive(Clone, Default)]
struct Index {
    places: HashTable<usize>,
    state: RandomState,
}

impl Index {
    fn of(members: &[(Key, Value)]) -> Box<Self> {
        let mut index = Index { places: HashTable::with_capacity(members.len() * 2), state: RandomState::new() };
        for place in 0..members.len() {
            index.add(members, place);
        }
        Box::new(index)
    }

    fn find(&self, members: &[(Key, Value)], name: &str) -> Option<usize> {
        self.places.find(self.state.hash_one(name), |&at| members[at].0 == name).copied()
    }

    fn add(&mut self, members: &[(Key, Value)], place: usize) {
        let Index { places, state } = self;
        let hash = |at: &usize| state.hash_one(members[*at].0.as_str());
        places.insert_unique(hash(&place), place, hash);
    }

    fn entry(&mut self, name: &str, place: usize) -> Option<hash_table::OccupiedEntry<'_, usize>> {
        self.places.find_entry(self.state.hash_one(name), |&at| at == place).ok()
    }
}

impl Map {
    pub const fn new() -> Self {
        Map { members: Vec::new(), index: None }
    }

    pub fn with_capacity(members: usize) -> Self {
        Map { members: Vec::with_capacity(members), index: None }
    }

    /// Of members in order; of those of one name the last one counts.
    pub(crate) fn of(members: std::vec::Drain<'_, (Key, Value)>) -> Self {
        let all = members.as_slice();
        let once = all.len() <= FEW && all.iter().enumerate().all(|(i, (name, _))| !all.iter().take(i).any(|(other, _)| other == name));
        if once { Map { members: members.collect(), index: None } } else { members.collect() }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.find(&self.members, name),
            None => self.members.iter().position(|(k, _)| k == name),
        }
    }

    /// Adds a member that isn't there.
    fn push(&mut self, name: Key, value: Value) -> usize {
        let place = self.members.len();
        self.members.push((name, value));
        match &mut self.index {
            Some(index) => index.add(&self.members, place),
            None if place >= FEW => self.index = Some(Index::of(&self.members)),
            None => {}
        }
        place
    }

    /// After members moved.
    fn reindex(&mut self) {
        self.index = (self.members.len() > FEW).then(|| Index::of(&self.members));
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).map(|at| &self.members[at].1)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.place(name).map(|at| &mut self.members[at].1)
    }

    pub fn get_key_value(&self, name: &str) -> Option<(&Key, &Value)> {
        self.place(name).map(|at| (&self.members[at].0, &self.members[at].1))
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Sets a member, in its place when it was there; gives what was there.
    pub fn insert(&mut self, name: impl Into<Key>, value: Value) -> Option<Value> {
        let name = name.into();
        match self.place(&name) {
            Some(at) => Some(std::mem::replace(&mut self.members[at].1, value)),
            None => {
                self.push(name, value);
                None
            }
        }
    }

    /// Takes a member out; the last one takes its place.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.swap_remove(name)
    }

    pub fn remove_entry(&mut self, name: &str) -> Option<(Key, Value)> {
        let (at, last) = (self.place(name)?, self.members.len() - 1);
        if let Some(index) = &mut self.index {
            if let Some(entry) = index.entry(name, at) {
                entry.remove();
            }
            if at != last
                && let Some(mut entry) = index.entry(&self.members[last].0, last)
            {
                *entry.get_mut() = at;
            }
        }
        Some(self.members.swap_remove(at))
    }

    pub fn swap_remove(&mut self, name: &str) -> Option<Value> {
        self.remove_entry(name).map(|(_, v)| v)
    }

    /// Takes a member out; those after it move up, which takes as long as there are many. For many names [`retain`](Self::retain)
    /// once, or [`remove`](Self::remove) where the order does not matter.
    pub fn shift_remove(&mut self, name: &str) -> Option<Value> {
        let at = self.place(name)?;
        if let Some(index) = &mut self.index {
            if let Some(entry) = index.entry(name, at) {
                entry.remove();
            }
            if at + 1 < self.members.len() {
                index.places.iter_mut().filter(|place| **place > at).for_each(|place| *place -= 1);
            }
        }
        Some(self.members.remove(at).1)
    }

    pub fn entry(&mut self, name: impl Into<Key>) -> Entry<'_> {
        let name = name.into();
        match self.place(&name) {
            Some(at) => Entry::Occupied(Occupied { map: self, at }),
            None => Entry::Vacant(Vacant { map: self, name }),
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut Value) -> bool) {
        let before = self.members.len();
        self.members.retain_mut(|(k, v)| keep(k, v));
        if self.index.is_some() && self.members.len() != before {
            self.reindex();
        }
    }

    /// Orders the members by name.
    pub fn sort_keys(&mut self) {
        self.members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if self.index.is_some() {
            self.reindex();
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        self.members.iter().map(|(k, v)| (k, v))
    }

    pub fn iter_mut(&mut self) -> IterMut<'_> {
        self.members.iter_mut().map(|(k, v)| (&*k, v))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> + ExactSizeIterator + Clone {
        self.members.iter().map(|(k, _)| k)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator + Clone {
        self.members.iter().map(|(_, v)| v)
    }

    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.members.iter_mut().map(|(_, v)| v)
    }

    pub fn into_values(self) -> impl DoubleEndedIterator<Item = Value> + ExactSizeIterator {
        self.members.into_iter().map(|(_, v)| v)
    }

    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator {
        self.members.into_iter().map(|(k, _)| k)
    }

    /// Moves all members of another one here.
    pub fn append(&mut self, other: &mut Map) {
        self.extend(std::mem::take(other));
    }
}

/// Members with their values, in order.
pub type Iter<'a> = std::iter::Map<std::slice::Iter<'a, (Key, Value)>, fn(&'a (Key, Value)) -> (&'a Key, &'a Value)>;
pub type IterMut<'a> = std::iter::Map<std::slice::IterMut<'a, (Key, Value)>, fn(&'a mut (Key, Value)) -> (&'a Key, &'a mut Value)>;

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Key, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a Key, &'a mut Value);
    type IntoIter = IterMut<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl IntoIterator for Map {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

/// Of members of one name the last one counts, in the first one's place.
impl<K: Into<Key>> Extend<(K, Value)> for Map {
    fn extend<I: IntoIterator<Item = (K, Value)>>(&mut self, members: I) {
        for (name, value) in members {
            self.insert(name, value);
        }
    }
}

impl<K: Into<Key>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(members: I) -> Self {
        let members = members.into_iter();
        let mut map = Map::with_capacity(members.size_hint().0);
        map.extend(members);
        map
    }
}

/// The same members, in whatever order.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        let equal = |(at, (k, v)): (usize, &(Key, Value))| match other.members.get(at) {
            // Nearly always the order is the same, too.
            Some((name, value)) if name == k => v == value,
            _ => other.get(k) == Some(v),
        };
        self.len() == other.len() && self.members.iter().enumerate().all(equal)
    }
}

impl Eq for Map {}

/// The same in whatever order, as equality is.
impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        members.hash(state);
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// # Panics
/// When there is no such member.
impl std::ops::Index<&str> for Map {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no member {name:?}"),
        }
    }
}

/// A member that may be there or not.
pub enum Entry<'a> {
    Occupied(Occupied<'a>),
    Vacant(Vacant<'a>),
}

pub struct Occupied<'a> {
    map: &'a mut Map,
    at: usize,
}

pub struct Vacant<'a> {
    map: &'a mut Map,
    name: Key,
}

impl<'a> Entry<'a> {
    pub fn or_insert(self, value: Value) -> &'a mut Value {
        self.or_insert_with(|| value)
    }

    pub fn or_insert_with(self, value: impl FnOnce() -> Value) -> &'a mut Value {
        match self {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(value()),
        }
    }

    pub fn and_modify(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Entry::Occupied(there) = &mut self {
            change(there.get_mut());
        }
        self
    }
}

impl<'a> Occupied<'a> {
    pub fn get(&self) -> &Value {
        &self.map.members[self.at].1
    }

    pub fn get_mut(&mut self) -> &mut Value {
        &mut self.map.members[self.at].1
    }

    pub fn into_mut(self) -> &'a mut Value {
        &mut self.map.members[self.at].1
    }

    pub fn insert(&mut self, value: Value) -> Value {
        std::mem::replace(self.get_mut(), value)
    }
}

impl<'a> Vacant<'a> {
    pub fn insert(self, value: Value) -> &'a mut Value {
        let at = self.map.push(self.name, value);
        &mut self.map.members[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use proptest::prelude::*;

    /// One step: what is done with which of fifty names.
    fn steps() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((0u8..6, 0u8..50), 0..200)
    }

    proptest! {
        /// Beside a list that is searched from the front, whatever is done, with and without an index.
        #[test]
        fn as_a_list_of_members(steps in steps()) {
            let (mut map, mut list) = (Map::new(), Vec::<(String, Value)>::new());
            for (n, (what, name)) in steps.into_iter().enumerate() {
                let name = format!("name-{name}");
                let at = list.iter().position(|(k, _)| *k == name);
                match what {
                    0..3 => {
                        let before = map.insert(name.as_str(), json!(n));
                        match at {
                            Some(at) => prop_assert_eq!(before, Some(std::mem::replace(&mut list[at].1, json!(n)))),
                            None => list.push((name, json!(n))),
                        }
                    }
                    3 => prop_assert_eq!(map.remove(&name), at.map(|at| list.swap_remove(at).1)),
                    4 => prop_assert_eq!(map.shift_remove(&name), at.map(|at| list.remove(at).1)),
                    _ => {
                        map.retain(|k, _| !k.starts_with(&name));
                        list.retain(|(k, _)| !k.starts_with(&name));
                    }
                }
                prop_assert!(map.iter().map(|(k, v)| (k.as_str(), v)).eq(list.iter().map(|(k, v)| (k.as_str(), v))));
                prop_assert!(list.iter().all(|(k, v)| map.get(k) == Some(v)));
                prop_assert_eq!(map.contains_key("nobody"), false);
            }
        }

        /// The order of members says nothing of equality.
        #[test]
        fn equal_in_any_order(names in proptest::collection::btree_set("[a-z]{1,4}", 0..40)) {
            let map: Map = names.iter().map(|n| (n.as_str(), json!(n))).collect();
            let back: Map = names.iter().rev().map(|n| (n.as_str(), json!(n))).collect();
            prop_assert_eq!(&map, &back);
            let mut other = back;
            other.insert("UPPER", json!(1));
            prop_assert!(map != other);
        }
    }
}
