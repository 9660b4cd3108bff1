//! What cargo's tests print, read line by line.
//!
//! A test that lacks root or a program returns early and prints a line that begins with `skipped`. Cargo shows it as
//! passed; here it counts as skipped, and the reason is shown. What passed tests print besides is left out.

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Where in the output of one test program we are.
#[derive(Debug, Default, PartialEq)]
enum Part {
    /// Names with their results, and whatever cargo says.
    #[default]
    Results,
    /// Captured output of passed tests: the name of the present one, and whether it was seen to be skipped.
    Passed { test: String, skipped: bool },
    /// Captured output of failed tests: shown as it is.
    Failed,
}

#[derive(Default)]
pub struct Reader {
    part: Part,
    /// Skipped tests that the coming result line will count as passed.
    skipped: u64,
    pub count: Count,
}

impl Reader {
    /// Takes one line and gives what to show of it.
    pub fn line(&mut self, line: &str) -> Option<String> {
        match line {
            "successes:" => {
                self.part = Part::Passed { test: String::new(), skipped: false };
                return None;
            }
            "failures:" => self.part = Part::Failed,
            _ => {}
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.part = Part::Results;
            self.result(result);
            return Some(line.to_owned());
        }
        let Part::Passed { test, skipped } = &mut self.part else { return Some(line.to_owned()) };
        if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
            (*test, *skipped) = (name.to_owned(), false);
        } else if line.starts_with("skipped") && !*skipped && !test.is_empty() {
            *skipped = true;
            self.skipped += 1;
            return Some(format!("test {test} ... {line}"));
        }
        None
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`
    fn result(&mut self, result: &str) {
        let number = |word: &str| result.split([';', '.']).find_map(|p| p.trim().strip_suffix(word)).and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
        let skipped = std::mem::take(&mut self.skipped);
        self.count.passed += number("passed").saturating_sub(skipped);
        self.count.failed += number("failed");
        self.count.skipped += number("ignored") + skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Count, Vec<String>) {
        let mut reader = Reader::default();
        let shown = text.lines().filter_map(|l| reader.line(l)).collect();
        (reader.count, shown)
    }

    #[test]
    fn skipped_tests_are_not_passed_ones() {
        let text = "running 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... ok\n\nsuccesses:\n\n---- a stdout ----\nskipped: needs root\nskipped: needs root\n\n---- b stdout ----\nsome words\n\n\nsuccesses:\n    a\n    b\n    c\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        let (count, shown) = read(text);
        assert_eq!(count, Count { passed: 2, failed: 0, skipped: 1 });
        assert!(shown.contains(&"test a ... skipped: needs root".to_owned()));
        assert!(!shown.iter().any(|l| l.contains("some words")));
    }

    #[test]
    fn failures_are_shown() {
        let text = "test a ... FAILED\n\nsuccesses:\n\nsuccesses:\n\nfailures:\n\n---- a stdout ----\nskipped a step\npanicked\n\ntest result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured\nDoc-tests x\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        let (count, shown) = read(text);
        assert_eq!(count, Count { passed: 5, failed: 1, skipped: 2 });
        assert!(shown.contains(&"panicked".to_owned()));
    }
}
