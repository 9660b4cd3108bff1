//! Runs the steps of a case against one cluster, each in a shell of its own with a bound on its time.

use super::script::{How, Step};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A step that takes longer is ended (exit code 124).
const STEP_SECONDS: &str = "180";
/// How long a step is repeated until it succeeds.
const PATIENCE: Duration = Duration::from_secs(45);

/// Functions of every step.
const PRELUDE: &str = r#"
k() { "$KUBECTL" "$@"; }
export KUBECONFIG
cd "$WORK"
"#;

pub struct Side {
    kubectl: String,
    namespace: String,
    files: PathBuf,
    work: PathBuf,
}

/// What a step printed (both streams) and its exit code.
pub struct Outcome {
    pub text: String,
    pub code: i32,
}

impl Side {
    pub fn new(config: &Path, kubectl: &str, case: &str, files: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
        let place = std::env::temp_dir().join(format!("skiff-compare-{}-{:x}", std::process::id(), hash(&config.to_string_lossy())));
        let work = place.join(case);
        std::fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        let namespace = format!("cmp-{}", case.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'));
        std::fs::write(place.join("config"), text)?;
        Ok(Self { kubectl: kubectl.to_owned(), namespace, files: files.to_owned(), work })
    }
    fn config(&self) -> PathBuf {
        self.work.with_file_name("config")
    }
    fn shell(&self, command: &str) -> anyhow::Result<Outcome> {
        let out = Command::new("timeout")
            .args(["-k", "5", STEP_SECONDS, "bash", "-c", &format!("{PRELUDE}{command}")])
            .env("KUBECTL", &self.kubectl)
            .env("KUBECONFIG", self.config())
            .env("NS", &self.namespace)
            .env("FILES", &self.files)
            .env("WORK", &self.work)
            .env("KUBECACHEDIR", self.work.with_file_name("cache"))
            .env("TZ", "UTC")
            .env("COLUMNS", "200")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .context("start timeout")?;
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        Ok(Outcome { text, code: out.status.code().unwrap_or(-1) })
    }
    fn step(&self, step: &Step) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        loop {
            let outcome = self.shell(&step.command)?;
            if step.how != How::Await || outcome.code == 0 || begin.elapsed() > PATIENCE {
                return Ok(outcome);
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    /// All steps in their order, in a fresh namespace that goes afterwards.
    pub fn run(&self, steps: &[Step]) -> anyhow::Result<Vec<Outcome>> {
        self.shell("k delete ns $NS --ignore-not-found; k create ns $NS; k config set-context --current --namespace=$NS")?;
        self.step(&Step { how: How::Await, command: "k get sa default cm/kube-root-ca.crt".into() })?;
        let done = steps.iter().map(|s| self.step(s)).collect();
        self.shell("k delete ns $NS --wait=false")?;
        if let Some(place) = self.work.parent() {
            let _ = std::fs::remove_dir_all(place);
        }
        done
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
