//! Tracked files: nothing of one machine, and no file that is too long to read.

/// Longer files must say why.
const LONG: usize = 800;
/// Beginnings of paths that only one machine has. Written apart, so that this file does not find itself.
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/tm", "p/bash_jobs")];

pub fn findings(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| MACHINE.iter().any(|p| l.contains(p))) {
        found.push(format!("{file}:{}: a path of one machine ({}): take it from the environment or a flag", i + 1, line.trim()));
    }
    let lines = text.lines().count();
    let excused = text.contains("#![expect(") && text.contains("reason =");
    if file.ends_with(".rs") && lines > LONG && !excused {
        found.push(format!("{file}: {lines} lines: split it by noun, or say why not with #![expect(…, reason = …)]"));
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
    }
}
