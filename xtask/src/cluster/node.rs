//! One node's files and process.

use crate::run;
use anyhow::{Context, bail};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

/// What a node's process is told to be.
const ROLES: &[&str] = &["server", "agent"];
/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(40);

/// A node of a cluster: a server or an agent, with a folder of its own.
pub struct Node {
    pub dir: PathBuf,
    pub binary: PathBuf,
    /// The namespace and the host's name that it runs under; the machine's own when there is none.
    pub apart: Option<(PathBuf, String)>,
}

impl Node {
    /// Its process, if it still is one. Found even where a run was aborted before it could note the number.
    pub fn running(&self) -> Option<i32> {
        let noted = std::fs::read_to_string(self.dir.join("pid")).ok().and_then(|t| t.trim().parse().ok());
        noted.filter(|pid| self.is(*pid, ROLES)).or_else(|| self.search(ROLES))
    }
    fn is(&self, pid: i32, roles: &[&str]) -> bool {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        runs_as(&line, roles, &self.dir.join("data"))
    }
    fn search(&self, roles: &[&str]) -> Option<i32> {
        let mut pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok());
        pids.find(|pid| self.is(*pid, roles))
    }
    pub fn places(&self, command: &mut Process) {
        command.arg("--data-dir").arg(self.dir.join("data")).arg("--run-dir").arg(self.dir.join("run")).arg("--config-dir").arg(self.dir.join("etc"));
    }
    /// A program that runs where the node does. It becomes the program itself, so that its process id is the program's.
    fn program(&self) -> Process {
        let Some((netns, name)) = &self.apart else { return Process::new(&self.binary) };
        let mut enter = Process::new("nsenter");
        enter
            .arg(format!("--net={}", netns.display()))
            .args(["unshare", "--uts", "sh", "-c", "echo \"$0\" > /proc/sys/kernel/hostname && exec \"$@\"", name])
            .arg(&self.binary);
        enter
    }
    /// Starts `skiff <role>` unless it runs; gives its process id.
    pub fn start(&self, role: &str, with: impl FnOnce(&mut Process)) -> anyhow::Result<i32> {
        if let Some(pid) = self.running() {
            return Ok(pid);
        }
        self.await_stop();
        std::fs::create_dir_all(&self.dir)?;
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut program = self.program();
        program.arg(role);
        self.places(&mut program);
        program.arg("--pod-logs-dir").arg(self.dir.join("logs"));
        with(&mut program);
        program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = program.spawn().with_context(|| format!("start {}", self.binary.display()))?;
        std::fs::write(self.dir.join("pid"), format!("{}\n", child.id()))?;
        let pid = child.id() as i32;
        // Until it is the program itself.
        while self.running().is_none() && child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Reaped when it ends, so that its process id is not seen as alive.
        std::thread::spawn(move || child.wait());
        Ok(pid)
    }
    /// Ends the process alone, by SIGTERM or SIGKILL; containers go on.
    pub fn end(&self, hard: bool) -> anyhow::Result<()> {
        let Some(pid) = self.running() else { return Ok(()) };
        let signal = if hard { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
        if let Some(p) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(p, signal);
        }
        let start = Instant::now();
        while self.running().is_some() {
            if start.elapsed() > PATIENCE {
                bail!("the process {pid} of {} does not end", self.dir.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
    /// A `skiff stop` that an aborted run began goes on by itself.
    fn await_stop(&self) {
        let start = Instant::now();
        while self.search(&["stop"]).is_some() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    /// Ends its containers and takes away what it made on the machine.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.await_stop();
        let mut stop = self.program();
        stop.args(["stop", "--all"]);
        self.places(&mut stop);
        run(stop.stdout(Stdio::null())).with_context(|| format!("end the containers of {}", self.dir.display()))
    }
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let mut import = Process::new(&self.binary);
        import.args(["image", "import"]).arg(archive);
        self.places(&mut import);
        run(import.stdout(Stdio::null()).stderr(Stdio::null())).with_context(|| format!("import {}", archive.display()))
    }
    pub fn log_end(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// Whether a command line (its words end with zero bytes) is that of a `skiff <role>` whose state is in `data`.
fn runs_as(line: &[u8], roles: &[&str], data: &Path) -> bool {
    let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
    let role = words.iter().any(|w| roles.iter().any(|r| r.as_bytes() == *w));
    role && words.windows(2).any(|w| matches!(w, [b"--data-dir", at] if *at == data.as_os_str().as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_command_line() {
        let data = Path::new("/c/data");
        for (line, want) in [
            ("/x/skiff\0server\0--data-dir\0/c/data\0", true),
            ("nsenter\0--net=/c/ns/node-1\0sh\0-c\0x\0/x/skiff\0agent\0--data-dir\0/c/data\0", true),
            ("/x/skiff\0stop\0--all\0--data-dir\0/c/data\0", false),
            ("/x/skiff\0server\0--data-dir\0/c/node-2/data\0", false),
            ("", false),
        ] {
            assert_eq!(runs_as(line.as_bytes(), ROLES, data), want, "{line}");
        }
    }
}
