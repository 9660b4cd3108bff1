//! `/version`: what clients compare themselves with.
use skiff_json::{Value, json};

/// The release of the Kubernetes API that is served.
pub(crate) const GIT_VERSION: &str = "v1.37.2";

/// Major and minor.
pub(crate) fn emulated() -> String {
    let mut parts = GIT_VERSION.trim_start_matches('v').splitn(3, '.');
    format!("{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

pub(crate) fn info() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": format!("{GIT_VERSION}+skiff{}", env!("CARGO_PKG_VERSION_MAJOR")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }),
    })
}
