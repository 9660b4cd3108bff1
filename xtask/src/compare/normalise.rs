//! Takes out of an output what differs between any two clusters. Pure.
//!
//! Kept on purpose: order, columns, words, empty values. Runs of two or more blanks become two, because a shorter age
//! makes a narrower column.

use regex::Regex;
use std::sync::OnceLock;

/// Pattern and what stands in its place, in this order.
const RULES: &[(&str, &str)] = &[
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"(containerd|skiff)://[0-9a-f]{64}", "RUNTIME://ID"),
    (r"sha256:[0-9a-f]{64}", "DIGEST"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(/\d{1,2})?\b", "IP"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} UTC", "TIME"),
    // As JSON, as YAML, as JSON inside of JSON.
    (r#"(\\*"?resourceVersion\\*"?: ?)\\*"\d+\\*""#, "${1}RV"),
    (r"\b(\d+[dhms]|\d+m\d+s|\d+h\d+m|\d+d\d+h)\b", "AGE"),
    // Template hashes and the suffixes of generated names have this alphabet.
    (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-HASH-RAND"),
    (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}\b", "-HASH"),
    // Five letters at a name's end are generated; a word of five consonants and digits is none.
    (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-RAND"),
    (r"(Resource Version: +)\d+", "${1}RV"),
    (r"((template-|revision-|controller\.kubernetes\.io/)hash[=:] ?)[bcdfghjklmnpqrstvwxz2456789]{8,10}", "${1}HASH"),
    (r"v1\.37\.2\S*", "v1.37.2"),
    (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "JWT"),
    (r"\.[0-9a-f]{16}\b", ".EVENT"),
    // Ports that the kernel chose, files that a program named, times of logs and of answers.
    (r"Handling connection for \d+", "Handling connection for PORT"),
    (r"kubectl-edit-\d+", "kubectl-edit-N"),
    (r"\b([IWE])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ", "${1}TIME "),
    (r"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", "Date: TIME"),
    (r"https://(IP|localhost)(:\d+)?", "https://SERVER"),
    (r"[ \t]*\t[ \t]*| {2,}", "  "),
];

pub fn normalise(text: &str) -> String {
    static COMPILED: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = COMPILED.get_or_init(|| RULES.iter().filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, *with))).collect());
    let mut out = text.to_owned();
    for (regex, with) in rules {
        out = regex.replace_all(&out, *with).into_owned();
    }
    // The indent of a line says where it belongs, so it is kept as it was.
    out.lines()
        .zip(text.lines())
        .map(|(line, was)| {
            let indent = was.len() - was.trim_start_matches(' ').len();
            format!("{}{}\n", " ".repeat(indent), line.trim())
        })
        .collect()
}

/// Lines of `b` against those of `a`: `-` only upstream, `+` only here, with one equal line around.
pub fn difference(a: &str, b: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let edits = edits(&a, &b);
    let near = |i: usize| edits[i.saturating_sub(1)..(i + 2).min(edits.len())].iter().any(|(mark, _)| *mark != ' ');
    edits.iter().enumerate().filter(|(i, _)| near(*i)).map(|(_, (mark, line))| format!("{mark} {line}")).collect()
}

/// The longest common subsequence, by the textbook's table; long outputs are compared line by line.
fn edits<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(char, &'a str)> {
    if a.len().saturating_mul(b.len()) > 40_000_000 {
        return a.iter().zip(b).filter(|(x, y)| x != y).flat_map(|(x, y)| [('-', *x), ('+', *y)]).collect();
    }
    let width = b.len() + 1;
    let mut longest = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] =
                if a[i] == b[j] { longest[(i + 1) * width + j + 1] + 1 } else { longest[(i + 1) * width + j].max(longest[i * width + j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            out.push(('-', a[i]));
            i += 1;
        } else {
            out.push(('+', b[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_any_two_clusters_differ_in() {
        for (text, expected) in [
            ("web-7d9c8b6f5d-x2v4z   1/1     Running   0   3m12s", "web-HASH-RAND  1/1  Running  0  AGE\n"),
            ("  uid: 0f6f3bd2-6cf6-4ac8-b7c2-0a3f1c5a9d11", "  uid: UID\n"),
            ("creationTimestamp: \"2026-11-25T09:10:57Z\"", "creationTimestamp: \"TIME\"\n"),
            ("Start Time:   Wed, 25 Nov 2026 09:10:57 +0000", "Start Time:  TIME\n"),
            ("  resourceVersion: \"4711\"", "  resourceVersion: RV\n"),
            (r#"{\"resourceVersion\":\"448\",\"uid\""#, "{\\\"resourceVersion\\\":RV,\\\"uid\\\"\n"),
            ("Created on:  2026-11-25 18:15:48 +0000 UTC", "Created on:  TIME\n"),
            ("Handling connection for 39407", "Handling connection for PORT\n"),
            ("W1125 18:29:07.181339   31500 prune.go:71] Deprecated", "WTIME prune.go:71] Deprecated\n"),
            ("controller.kubernetes.io/hash: 58c8549c47", "controller.kubernetes.io/hash: HASH\n"),
            ("IP:   10.244.0.17", "IP:  IP\n"),
        ] {
            assert_eq!(normalise(text), expected);
        }
    }
    #[test]
    fn differences_show_their_place() {
        assert_eq!(difference("a\nb\nc\nd", "a\nb\nx\nd"), ["  b", "- c", "+ x", "  d"]);
        assert!(difference("a\nb", "a\nb").is_empty());
    }
}
