//! Equality as upstream's `Semantic.DeepEqual` sees it, and unified differences for errors about changes.
use skiff_json::Value;
use skiff_meta::Quantity;
use std::{collections::HashMap, ops::Range};

/// Equal; amounts are equal whatever their units.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let has = |m: &skiff_json::Map| m.values().filter(|v| !none(v)).count();
            has(a) == has(b)
                && a.iter()
                    .filter(|(_, v)| !none(v))
                    .all(|(k, v)| b.get(k).is_some_and(|w| if AMOUNTS.contains(&k.as_str()) { amounts(v, w) } else { same(v, w) }))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b || (none(a) && none(b)),
    }
}

/// No list is an empty one.
fn none(v: &Value) -> bool {
    v.is_null() || v.as_array().is_some_and(Vec::is_empty)
}

/// Fields that hold quantities, or maps of them.
const AMOUNTS: [&str; 12] =
    ["requests", "limits", "capacity", "overhead", "allocatable", "allocatedResources", "hard", "used", "sizeLimit", "divisor", "podFixed", "quantity"];

fn amounts(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| amounts(v, w))),
        (Value::String(x), Value::String(y)) => x == y || matches!((x.parse::<Quantity>(), y.parse::<Quantity>()), (Ok(x), Ok(y)) if x == y),
        (a, b) => same(a, b),
    }
}

/// Steps that looking for blocks may take: texts can be made so that it takes the cube of their lines. A pod of a thousand
/// lines takes a tenth. What has not been looked through by then is told as taken away and added.
const STEPS: usize = 400_000;
const CONTEXT: usize = 3;
/// A text with so many lines has lines that are everywhere, and match nothing of themselves.
const MANY: usize = 200;

/// The unified difference of two texts, three lines of context, as `diff -u` without file names. It cuts where upstream's
/// does: around the longest block that both have, then before and after it.
pub(crate) fn unified(a: &str, b: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    hunks(&edits(&a, &b))
}

fn edits<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    for (at, to, size) in Blocks::of(a, b).0.into_iter().chain([(a.len(), b.len(), 0)]) {
        out.extend(a[i..at].iter().map(|l| ('-', *l)));
        out.extend(b[j..to].iter().map(|l| ('+', *l)));
        out.extend(a[at..at + size].iter().map(|l| (' ', *l)));
        (i, j) = (at + size, to + size);
    }
    out
}

/// Blocks of lines that two texts share.
struct Blocks<'t> {
    a: &'t [&'t str],
    b: &'t [&'t str],
    /// Where the lines of `b` stand, in order, without those that are everywhere.
    places: HashMap<&'t str, Vec<usize>>,
    /// Steps taken.
    taken: usize,
}

impl<'t> Blocks<'t> {
    /// In order: where each begins in `a` and in `b`, and its length. And how many steps it took.
    fn of(a: &'t [&'t str], b: &'t [&'t str]) -> (Vec<(usize, usize, usize)>, usize) {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        b.iter().enumerate().for_each(|(j, line)| places.entry(line).or_default().push(j));
        if b.len() >= MANY {
            places.retain(|_, at| at.len() <= b.len() / 100 + 1);
        }
        let mut me = Self { a, b, places, taken: 0 };
        let (mut open, mut found) = (vec![(0..a.len(), 0..b.len())], Vec::new());
        while let Some((x, y)) = open.pop().filter(|_| me.taken < STEPS) {
            let (i, j, size) = me.longest(&x, &y);
            if size > 0 {
                open.push((x.start..i, y.start..j));
                open.push((i + size..x.end, j + size..y.end));
                found.push((i, j, size));
            }
        }
        found.sort_unstable();
        (found, me.taken)
    }

    /// The first of the longest blocks in these parts, with the lines that are everywhere at its ends; of what was looked at.
    fn longest(&mut self, x: &Range<usize>, y: &Range<usize>) -> (usize, usize, usize) {
        let (mut i, mut j, mut size) = (x.start, y.start, 0);
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for at in x.clone() {
            let all = self.places.get(self.a[at]).map_or(&[][..], Vec::as_slice);
            let inside = &all[all.partition_point(|to| *to < y.start)..all.partition_point(|to| *to < y.end)];
            self.taken += 1 + inside.len();
            if self.taken > STEPS {
                break;
            }
            let mut next = HashMap::with_capacity(inside.len());
            for &to in inside {
                let k = 1 + to.checked_sub(1).and_then(|p| lengths.get(&p)).copied().unwrap_or(0);
                next.insert(to, k);
                if k > size {
                    (i, j, size) = (at + 1 - k, to + 1 - k, k);
                }
            }
            lengths = next;
        }
        while i > x.start && j > y.start && self.a[i - 1] == self.b[j - 1] {
            (i, j, size) = (i - 1, j - 1, size + 1);
        }
        while i + size < x.end && j + size < y.end && self.a[i + size] == self.b[j + size] {
            size += 1;
        }
        (i, j, size)
    }
}

fn hunks(edits: &[(char, &str)]) -> String {
    let changed: Vec<usize> = edits.iter().enumerate().filter(|(_, e)| e.0 != ' ').map(|(i, _)| i).collect();
    let mut out = String::new();
    let count = |part: &[(char, &str)], side: char| part.iter().filter(|e| e.0 == ' ' || e.0 == side).count();
    // Lines of each side before the hunk at hand, and up to where they are counted.
    let (mut old, mut new, mut counted) = (0, 0, 0);
    let mut at = 0;
    while let Some(&first) = changed.get(at) {
        let mut last = first;
        while let Some(&next) = changed.get(at).filter(|n| **n <= last + 2 * CONTEXT + 1) {
            (last, at) = (next, at + 1);
        }
        let (start, end) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(edits.len()));
        let skipped = &edits[counted.min(start)..start];
        (old, new, counted) = (old + count(skipped, '-'), new + count(skipped, '+'), start);
        let span = |side: char, before: usize| {
            let inside = count(&edits[start..end], side);
            if inside == 1 { format!("{}", before + 1) } else { format!("{},{inside}", if inside == 0 { before } else { before + 1 }) }
        };
        out += &format!("@@ -{} +{} @@\n", span('-', old), span('+', new));
        for (side, line) in &edits[start..end] {
            out.push(*side);
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn amounts_are_equal_in_any_unit() {
        assert!(same(&json!({"limits": {"cpu": "1", "memory": "1Gi"}}), &json!({"limits": {"cpu": "1000m", "memory": "1073741824"}})));
        assert!(!same(&json!({"limits": {"cpu": "1"}}), &json!({"limits": {"cpu": "2"}})));
        assert!(same(&json!({"a": [], "b": null}), &json!({"c": []})));
        assert!(!same(&json!({"a": [1]}), &json!({"a": []})));
        assert!(!same(&json!({"name": "1"}), &json!({"name": "1000m"})));
    }

    #[test]
    fn differences() {
        let a = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        assert_eq!(unified(a, &a.replace('5', "x")), "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
        assert_eq!(unified("a\nb", "a"), "@@ -1,2 +1 @@\n a\n-b\n");
        // The longest block is after the first item.
        assert_eq!(unified("[\n{\nx\n},\n{\ny\nz\n}\n]", "[\n{\ny\nz\n}\n]"), "@@ -1,7 +1,4 @@\n [\n-{\n-x\n-},\n {\n y\n z\n");
        assert_eq!(unified(a, a), "");
    }

    /// What is told is a difference of the two, however it was cut.
    fn sides(edits: &[(char, &str)], side: char) -> Vec<String> {
        edits.iter().filter(|e| e.0 == ' ' || e.0 == side).map(|e| e.1.to_owned()).collect()
    }

    #[test]
    fn the_search_is_bounded() {
        // Lines that come again as often as counts, in another order; the same line over and over; nothing in common.
        let again = |n: usize, by: usize| (0..n).map(|i| (i * by % 191).to_string()).collect::<Vec<_>>();
        let pairs = [
            (again(2_000, 1), again(2_000, 7)),
            (again(20_000, 1), again(20_000, 7)),
            (again(199, 1), again(199, 7)),
            (vec!["}".to_owned(); 199], vec!["}".to_owned(); 190]),
            ((0..30_000).map(|i| i.to_string()).collect(), (0..30_000).rev().map(|i| i.to_string()).collect()),
        ];
        for (a, b) in &pairs {
            let (a, b): (Vec<&str>, Vec<&str>) = (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
            let taken = Blocks::of(&a, &b).1;
            assert!(taken <= STEPS + 1 + b.len() / 100 + MANY, "{taken}");
            let edits = edits(&a, &b);
            assert!(sides(&edits, '-') == a && sides(&edits, '+') == b);
        }
        // A pod of many containers, one of which changes, is far from it.
        let pod: Vec<String> =
            (0..200).flat_map(|i| ["{".to_owned(), format!("name: {i}"), format!("image: {}", i % 3), "ports: []".into(), "},".into()]).collect();
        let old: Vec<&str> = pod.iter().map(String::as_str).collect();
        let mut new = old.clone();
        new[501] = "image: x";
        let (blocks, taken) = Blocks::of(&old, &new);
        assert_eq!((blocks.as_slice(), taken < STEPS / 10), (&[(0, 0, 501), (502, 502, 498)][..], true), "{taken}");
    }
}
