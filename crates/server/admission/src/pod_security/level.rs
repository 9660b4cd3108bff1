//! Levels, versions and a namespace's policy (KEP-2579).
use skiff_json::{Map, Value};
use skiff_meta::Cause;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// None is `latest`; otherwise the minor of `v1.x`.
pub(super) type Version = Option<u32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standard {
    pub level: Level,
    pub version: Version,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Some(minor) => write!(f, "{level}:v1.{minor}"),
            None => write!(f, "{level}:latest"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

fn level_of(text: &str) -> Result<Level, &'static str> {
    match text {
        "privileged" => Ok(Level::Privileged),
        "baseline" => Ok(Level::Baseline),
        "restricted" => Ok(Level::Restricted),
        _ => Err("must be one of privileged, baseline, restricted"),
    }
}

fn version_of(text: &str) -> Result<Version, &'static str> {
    if text == "latest" {
        return Ok(None);
    }
    let minor = text.strip_prefix("v1.").filter(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_digit()) && (*m == "0" || !m.starts_with('0')));
    minor.and_then(|m| m.parse().ok()).map(Some).ok_or("must be \"latest\" or \"v1.x\"")
}

/// The policy that a namespace's labels ask for, and what is wrong with them. What cannot be read is enforced as
/// restricted, and neither warned of nor audited.
pub(super) fn policy_of(labels: Option<&Map>) -> (Policy, Vec<Cause>) {
    let free = Standard { level: Level::Privileged, version: None };
    let mut p = Policy { enforce: free, audit: free, warn: free };
    let mut causes = Vec::new();
    let get = |mode: &str| labels.and_then(|l| l.get(&format!("{PREFIX}{mode}"))).and_then(Value::as_str);
    let mut enforced = false;
    for (mode, standard, worst) in
        [("enforce", &mut p.enforce, Level::Restricted), ("audit", &mut p.audit, Level::Privileged), ("warn", &mut p.warn, Level::Privileged)]
    {
        if let Some(text) = get(mode) {
            let level = level_of(text);
            enforced |= mode == "enforce" && level.is_ok();
            standard.level = level.unwrap_or(worst);
            causes.extend(level.err().map(|why| cause(mode, text, why)));
        }
        let mode = format!("{mode}-version");
        if let Some(text) = get(&mode) {
            let version = version_of(text);
            standard.version = version.unwrap_or(None);
            causes.extend(version.err().map(|why| cause(&mode, text, why)));
        }
    }
    // Who only says what is enforced is warned of it, too: of pod templates, for one.
    if get("warn").is_none() && enforced && p.enforce.level > p.warn.level {
        p.warn.level = p.enforce.level;
        if get("warn-version").is_none() {
            p.warn.version = p.enforce.version;
        }
    }
    (p, causes)
}

fn cause(mode: &str, text: &str, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {text:?}: {why}"), field: format!("metadata.labels[{PREFIX}{mode}]") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn labels() {
        let of = |v: Value| policy_of(v.as_object());
        let (p, causes) = of(json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30"}));
        assert_eq!(
            (p.enforce.to_string(), p.warn.to_string(), p.audit.to_string(), causes.len()),
            ("baseline:v1.30".into(), "baseline:v1.30".into(), "privileged:latest".into(), 0)
        );
        let (p, causes) = of(json!({"pod-security.kubernetes.io/enforce": "x", "pod-security.kubernetes.io/warn-version": "1.30"}));
        assert_eq!((p.enforce.level, p.warn.level, causes.len()), (Level::Restricted, Level::Privileged, 2));
        assert_eq!(causes[0].message, "Invalid value: \"x\": must be one of privileged, baseline, restricted");
        assert!(version_of("v1.030").is_err() && version_of("v1.").is_err());
    }
}
