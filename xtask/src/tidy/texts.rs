//! Tracked files: nothing of one machine, nothing half merged, and no file or line that is too long to read.

use std::collections::BTreeSet;

/// Longer files must say why.
const LONG: usize = 800;
/// Columns of a line of Rust. Longer are only those that one string makes so.
const WIDE: usize = 600;
/// Beginnings of paths that only one machine has. Written apart, so that this file does not find itself.
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/tm", "p/bash_jobs")];
/// What a merge that was not finished leaves at the beginning of lines.
const CONFLICT: [&str; 2] = [concat!("<<<<", "<<<"), concat!(">>>>", ">>>")];

pub fn findings(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let at = format!("{file}:{}", i + 1);
        if MACHINE.iter().any(|p| line.contains(p)) {
            found.push(format!("{at}: a path of one machine ({}): take it from the environment or a flag", line.trim()));
        }
        if CONFLICT.iter().any(|mark| line.starts_with(mark)) {
            found.push(format!("{at}: the mark of a conflict: finish the merge"));
        }
        if file.ends_with(".rs") && line.chars().count() > WIDE && !is_one_string(line) {
            found.push(format!("{at}: {} columns: break the line before column {WIDE}", line.chars().count()));
        }
    }
    let lines = text.lines().count();
    let excused = text.contains("#![expect(") && text.contains("reason =");
    if file.ends_with(".rs") && lines > LONG && !excused {
        found.push(format!("{file}: {lines} lines: split it by noun, or say why not with #![expect(…, reason = …)]"));
    }
    found
}

/// Whether the line fits but for a string in it, which no break of the line makes shorter: a message, a pattern, an object of JSON.
fn is_one_string(line: &str) -> bool {
    // A raw string ends at its own mark, whatever quotes are in it.
    let (plain, raw) = line.split_once("r#\"").unwrap_or((line, ""));
    let plain = plain.to_owned() + raw.split_once("\"#").map_or("", |(_, behind)| behind);
    let (mut outside, mut inside, mut escaped) = (0, false, false);
    for c in plain.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ if !inside => outside += 1,
            _ => {}
        }
    }
    outside <= WIDE / 2
}

/// Components of log lines that nobody can set the level of, because the list of telemetry lacks them.
pub fn components(sources: &[(String, String)]) -> Vec<String> {
    let list = sources.iter().find(|(file, _)| file.ends_with("telemetry/src/lib.rs")).map(|(_, text)| text.as_str()).unwrap_or_default();
    let list = list.split("pub const COMPONENTS").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
    let known: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut found = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| file.starts_with("crates/")) {
        let targets = text.split(concat!("tar", "get: \"")).skip(1).filter_map(|rest| rest.split('"').next());
        let unknown: BTreeSet<&str> = targets.map(|t| t.split("::").next().unwrap_or_default()).filter(|t| !known.contains(t)).collect();
        found.extend(unknown.iter().map(|t| format!("{file}: log lines of {t:?}: add it to COMPONENTS in skiff-telemetry, or use one that is there")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found() {
        assert!(findings("a.rs", "fn a() {}").is_empty());
        assert_eq!(findings("a.rs", &"x\n".repeat(LONG + 1)).len(), 1);
        assert!(findings("a.txt", &"x\n".repeat(LONG + 1)).is_empty());
        assert_eq!(findings("a.md", &format!("ok\nsee {}x", MACHINE[0])).len(), 1);
        assert_eq!(findings("a.md", &format!("{} HEAD\nours\n=======\ntheirs\n{} branch", CONFLICT[0], CONFLICT[1])).len(), 2);
        assert!(findings("a.md", "a heading\n=======\n").is_empty());
    }

    #[test]
    fn wide_lines_are_found_unless_a_string_makes_them() {
        assert_eq!(findings("a.rs", &format!("let x = {};", "f(a) + ".repeat(WIDE / 6))).len(), 1);
        assert!(findings("a.rs", &format!("    error(\"{}\");", "word ".repeat(40))).is_empty());
        assert!(findings("a.rs", &format!("    r#\"{}\"#,", "{\"a\": 1} ".repeat(WIDE / 8))).is_empty());
        assert!(findings("a.rs", &"a".repeat(WIDE)).is_empty());
        assert!(findings("a.txt", &"a".repeat(WIDE * 2)).is_empty());
    }

    #[test]
    fn components_are_in_the_list() {
        let telemetry = ("crates/base/telemetry/src/lib.rs".to_owned(), "pub const COMPONENTS: [&str; 1] = [\"node\"];".to_owned());
        let user = |name: &str| ("crates/x/src/lib.rs".to_owned(), format!("warn!({}: \"{name}\", \"x\")", concat!("tar", "get")));
        assert!(components(&[telemetry.clone(), user("node::pod")]).is_empty());
        assert_eq!(components(&[telemetry, user("nod")]).len(), 1);
    }
}
