//! The binary run as a program that ends by itself: its exit and what it printed.

use crate::binary;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    /// Standard output and standard error, in this order.
    pub text: String,
}

/// `skiff` with these arguments.
pub fn skiff(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// The arguments that keep all of a server's files in a folder, without a node.
pub fn places(dir: &Path) -> Vec<String> {
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    vec!["--data-dir".into(), at("data"), "--run-dir".into(), at("run"), "--config-dir".into(), at("etc")]
}

/// Runs it to its end; one that does not end in time is killed and an error.
pub fn ended(command: &mut Command, at_most: Duration) -> anyhow::Result<Ended> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("start {command:?}"))?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > at_most {
            child.kill()?;
            let out = child.wait_with_output()?;
            bail!("{command:?} did not end by itself; it said:\n{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let out = child.wait_with_output()?;
    Ok(Ended { success: out.status.success(), text: format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)) })
}
