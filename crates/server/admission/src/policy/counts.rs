//! What is counted of policies, under upstream's names, by binding.
use skiff_telemetry::metrics::{Exposition, Histogram, Keyed, LabelPair};
use std::{sync::OnceLock, time::Duration};

const SECONDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// So many bindings are told apart.
const MOST: usize = 1000;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Deny,
    Warn,
    Audit,
    /// It could not be evaluated.
    Fault,
}

impl Verdict {
    const ALL: [Verdict; 5] = [Verdict::Allow, Verdict::Deny, Verdict::Warn, Verdict::Audit, Verdict::Fault];
    /// Upstream's words: enforcement action and kind of error.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Allow => ("allow", "no_error"),
            Verdict::Deny => ("deny", "no_error"),
            Verdict::Warn => ("warn", "no_error"),
            Verdict::Audit => ("audit", "no_error"),
            Verdict::Fault => ("deny", "invalid_error"),
        }
    }
}

struct Checks {
    policy: String,
    took: [OnceLock<Histogram>; Verdict::ALL.len()],
}

/// Of one of the two kinds of policies.
pub(super) struct Counts {
    kind: &'static str,
    /// Whether the action is shown.
    enforces: bool,
    all: Keyed<String, Checks>,
}

impl Counts {
    pub fn new(kind: &'static str, enforces: bool) -> Self {
        Self { kind, enforces, all: Keyed::new(MOST) }
    }
    pub fn checked(&self, policy: &str, binding: &str, verdicts: impl IntoIterator<Item = Verdict>, took: Duration) {
        let checks = self.all.of(binding, || binding.to_owned(), || "others".to_owned(), |_| Checks { policy: policy.to_owned(), took: Default::default() });
        for v in verdicts {
            if let Some(cell) = checks.took.get(v as usize) {
                cell.get_or_init(|| Histogram::new(SECONDS)).observe(took.as_secs_f64());
            }
        }
    }
    pub fn expose(&self, out: &mut Exposition) {
        let all = self.all.sorted();
        let name = format!("apiserver_{}_admission_policy_check_total", self.kind);
        out.family(&name, "counter", "Checks of policies");
        self.each(&all, |labels, h| out.sample(&name, labels, h.count()));
        let name = format!("apiserver_{}_admission_policy_check_duration_seconds", self.kind);
        out.family(&name, "histogram", "Time of checks of policies");
        self.each(&all, |labels, h| out.histogram(&name, labels, h));
    }
    fn each(&self, all: &[(String, std::sync::Arc<Checks>)], mut tell: impl FnMut(&[LabelPair<'_>], &Histogram)) {
        for (binding, checks) in all {
            for (verdict, cell) in Verdict::ALL.iter().zip(&checks.took) {
                let (Some(h), (action, error)) = (cell.get(), verdict.words()) else { continue };
                let labels = [("enforcement_action", action), ("error_type", error), ("policy", checks.policy.as_str()), ("policy_binding", binding.as_str())];
                tell(if self.enforces { &labels } else { &labels[1..] }, h);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn checks_are_shown_by_what_they_came_to() {
        let (c, mut out) = (Counts::new("validating", true), Exposition::default());
        c.checked("p", "b", [Verdict::Deny, Verdict::Audit], Duration::from_millis(2));
        c.checked("p", "b", [Verdict::Allow], Duration::from_millis(2));
        c.expose(&mut out);
        let text = out.text();
        for action in ["allow", "audit", "deny"] {
            let line = format!(
                "apiserver_validating_admission_policy_check_total{{enforcement_action=\"{action}\",error_type=\"no_error\",policy=\"p\",policy_binding=\"b\"}} 1"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
