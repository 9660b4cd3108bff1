//! Equality as upstream's `Semantic.DeepEqual` sees it, and unified differences for errors about changes.
use serde_json::Value;
use skiff_meta::Quantity;

/// Equal; amounts are equal whatever their units.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| if AMOUNTS.contains(&k.as_str()) { amounts(v, w) } else { same(v, w) })),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

/// Fields that hold quantities, or maps of them.
const AMOUNTS: [&str; 12] = ["requests", "limits", "capacity", "overhead", "allocatable", "allocatedResources", "hard", "used", "sizeLimit", "divisor", "podFixed", "quantity"];

fn amounts(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| amounts(v, w))),
        (Value::String(x), Value::String(y)) => x == y || matches!((x.parse::<Quantity>(), y.parse::<Quantity>()), (Ok(x), Ok(y)) if x == y),
        (a, b) => same(a, b),
    }
}

/// Past so many lines a difference is not looked for line by line.
const MAX_LINES: usize = 2000;
const CONTEXT: usize = 3;

/// The unified difference of two texts, three lines of context, as `diff -u` without file names.
pub(crate) fn unified(a: &str, b: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (ma, mb) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut edits: Vec<(char, &str)> = a[..head].iter().map(|l| (' ', *l)).collect();
    edits.extend(middle(ma, mb));
    edits.extend(a[a.len() - tail..].iter().map(|l| (' ', *l)));
    hunks(&edits)
}

/// Edits that turn `a` into `b`, by the longest common subsequence.
fn middle<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    if a.len().max(b.len()) > MAX_LINES {
        return a.iter().map(|l| ('-', *l)).chain(b.iter().map(|l| ('+', *l))).collect();
    }
    let width = b.len() + 1;
    let mut table = vec![0u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i * width + j] = if a[i] == b[j] { table[(i + 1) * width + j + 1] + 1 } else { table[(i + 1) * width + j].max(table[i * width + j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || table[(i + 1) * width + j] >= table[i * width + j + 1]) {
            out.push(('-', a[i]));
            i += 1;
        } else {
            out.push(('+', b[j]));
            j += 1;
        }
    }
    out
}

fn hunks(edits: &[(char, &str)]) -> String {
    let changed: Vec<usize> = edits.iter().enumerate().filter(|(_, e)| e.0 != ' ').map(|(i, _)| i).collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(&first) = changed.get(at) {
        let mut last = first;
        while let Some(&next) = changed.get(at).filter(|n| **n <= last + 2 * CONTEXT + 1) {
            (last, at) = (next, at + 1);
        }
        let (start, end) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(edits.len()));
        let count = |upto: &[(char, &str)], side: char| upto.iter().filter(|e| e.0 == ' ' || e.0 == side).count();
        let span = |side: char| {
            let (before, inside) = (count(&edits[..start], side), count(&edits[start..end], side));
            if inside == 1 { format!("{}", before + 1) } else { format!("{},{inside}", if inside == 0 { before } else { before + 1 }) }
        };
        out += &format!("@@ -{} +{} @@\n", span('-'), span('+'));
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
    use serde_json::json;

    #[test]
    fn amounts_are_equal_in_any_unit() {
        assert!(same(&json!({"limits": {"cpu": "1", "memory": "1Gi"}}), &json!({"limits": {"cpu": "1000m", "memory": "1073741824"}})));
        assert!(!same(&json!({"limits": {"cpu": "1"}}), &json!({"limits": {"cpu": "2"}})));
        assert!(!same(&json!({"name": "1"}), &json!({"name": "1000m"})));
    }

    #[test]
    fn differences() {
        let a = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        assert_eq!(unified(a, &a.replace('5', "x")), "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
        assert_eq!(unified("a\nb", "a"), "@@ -1,2 +1 @@\n a\n-b\n");
        assert_eq!(unified(a, a), "");
    }
}
