//! Cases as text, one step a line; a line that ends with a backslash goes on in the next.
//!
//! ```text
//! # a comment
//! $ k get pods          the outputs are compared
//! % k get events        compared with their lines sorted
//! ! k create ns x       run; only the exit code is compared
//! ~ k get pod x         repeated until it succeeds; only the exit code is compared
//! ```
//!
//! `k` is kubectl with the cluster's kubeconfig in the case's namespace. `$FILES` is the folder of manifests,
//! `$WORK` an empty folder, `$NS` the namespace.

use super::normalise::normalise;
use anyhow::bail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Compare,
    Sorted,
    Run,
    Await,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub how: How,
    pub command: String,
}

impl Step {
    pub fn compared(&self) -> bool {
        matches!(self.how, How::Compare | How::Sorted)
    }
    /// What of an output is compared.
    pub fn view(&self, text: &str) -> String {
        let text = normalise(text);
        if self.how != How::Sorted {
            return text;
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

pub fn parse(text: &str) -> anyhow::Result<Vec<Step>> {
    let joined = text.replace("\\\n", " ");
    let mut steps = Vec::new();
    for (number, line) in joined.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let how = match line.split_once(' ').map(|(mark, _)| mark) {
            Some("$") => How::Compare,
            Some("%") => How::Sorted,
            Some("!") => How::Run,
            Some("~") => How::Await,
            _ => bail!("step {} begins with none of $ % ! ~: {line}", number + 1),
        };
        steps.push(Step { how, command: line[2..].trim().to_owned() });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn lines_become_steps() {
        let steps = parse("# c\n\n$ k get \\\n  pods\n~ k wait x\n").unwrap();
        assert_eq!(steps, [Step { how: How::Compare, command: "k get    pods".into() }, Step { how: How::Await, command: "k wait x".into() }]);
        assert!(parse("k get pods").is_err());
    }
    #[test]
    fn sorted_steps_forget_the_order() {
        let step = Step { how: How::Sorted, command: String::new() };
        assert_eq!(step.view("b\na\n"), step.view("a\nb\n"));
    }
}
