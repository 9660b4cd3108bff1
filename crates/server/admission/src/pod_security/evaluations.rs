//! How often which standard was looked at, and what came of it, under upstream's name.
//!
//! As there, what is enforced is counted always, what is audited or warned of only where a pod breaks it. There are no
//! exemptions here, and so no count of them.
use super::level::{Level, Standard};
use parking_lot::Mutex;
use skiff_telemetry::metrics::Exposition;
use std::collections::BTreeMap;

/// The newest minor version that there is a standard of: what is asked for beyond is the future's.
const NEWEST: u32 = 37;
const FUTURE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Audit,
    Enforce,
    Warn,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
            Self::Warn => "warn",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub creates: bool,
    /// A pod, or something that makes some.
    pub pod: bool,
    pub subresource: &'static str,
}

#[derive(Default)]
pub(super) struct Evaluations(Mutex<BTreeMap<(bool, Mode, Standard, Request), u64>>);

impl Evaluations {
    pub fn count(&self, denied: bool, mode: Mode, standard: Standard, request: Request) {
        let version = match standard.version {
            _ if standard.level == Level::Privileged => None,
            Some(minor) if minor > NEWEST => Some(FUTURE),
            version => version,
        };
        let told = Standard { version, ..standard };
        *self.0.lock().entry((denied, mode, told, request)).or_default() += 1;
    }

    pub fn write(&self, out: &mut Exposition) {
        let name = "pod_security_evaluations_total";
        out.family(name, "counter", "Pods and templates of pods that were held to a standard");
        for ((denied, mode, standard, request), n) in &*self.0.lock() {
            let told = standard.to_string();
            let (level, version) = told.split_once(':').unwrap_or((&told, ""));
            let version = if standard.version == Some(FUTURE) { "future" } else { version };
            let labels = [
                ("decision", if *denied { "deny" } else { "allow" }),
                ("mode", mode.as_str()),
                ("policy_level", level),
                ("policy_version", version),
                ("request_operation", if request.creates { "create" } else { "update" }),
                ("resource", if request.pod { "pod" } else { "controller" }),
                ("subresource", request.subresource),
            ];
            out.sample(name, &labels, *n);
        }
    }
}
