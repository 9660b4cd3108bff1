//! Clusters of the real binary: one folder holds all of a cluster's files, so that several stand side by side.

mod place;

use crate::http::Client;
use crate::{build, output, root, run};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

/// Where Kubernetes serves its API by custom.
const DEFAULT_PORT: u16 = 6443;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a cluster, or bring it back after a crash; prints KUBECONFIG and PIDS as its last two lines
    Up {
        /// Nodes of the cluster
        #[arg(long, default_value_t = 1)]
        nodes: u32,
        /// Image archives to import
        #[arg(long)]
        images: Vec<PathBuf>,
        /// Port of the API
        #[arg(long, default_value_t = DEFAULT_PORT)]
        port: u16,
        /// Folder of all its files
        #[arg(long, default_value = "/var/tmp/skiff-cluster")]
        dir: PathBuf,
    },
    /// End a cluster and take away all that it made
    Down {
        #[arg(long, default_value = "/var/tmp/skiff-cluster")]
        dir: PathBuf,
    },
}

/// A cluster's place on the machine: what must differ between two.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub dir: PathBuf,
    pub binary: PathBuf,
    pub port: u16,
    /// At most five letters: links and tables begin with it.
    pub prefix: String,
    /// The second byte of pod and service addresses: 10.<n>.0.0/16 and 10.<n+1>.0.0/16.
    pub network: u8,
}

pub fn task(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { nodes, images, port, dir } => {
            if nodes != 1 {
                bail!("only clusters of one node can be started: joining further nodes is not there yet");
            }
            if let Some(old) = Cluster::read(&dir)?.filter(|c| c.port != port) {
                bail!("{} holds a cluster on port {}: give that --port, another --dir, or end it with `cargo xtask cluster down`", dir.display(), old.port);
            }
            let cluster = Cluster::of(&dir, build::binary(true)?, port);
            let pid = cluster.up(&images)?;
            println!("KUBECONFIG={}", cluster.kubeconfig().display());
            println!("PIDS={pid}");
            Ok(())
        }
        Command::Down { dir } => Cluster::read(&dir)?.map_or(Ok(()), |c| c.down()),
    }
}

impl Cluster {
    /// A cluster in this folder: the one that was there before, or a new one whose names follow from the port and whose
    /// addresses nothing on this machine has yet.
    pub fn of(dir: &Path, binary: PathBuf, port: u16) -> Self {
        if let Some(old) = Self::read(dir).ok().flatten().filter(|c| c.port == port) {
            return Self { binary, ..old };
        }
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let prefix = if port == DEFAULT_PORT { "skiff".to_owned() } else { format!("s{port:04x}") };
        Self { dir: dir.to_owned(), binary, port, prefix, network: place::network(port, &routes) }
    }
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("etc/skiff.yaml")
    }
    fn record(dir: &Path) -> PathBuf {
        dir.join("cluster.json")
    }
    /// The cluster that was started in this folder.
    pub fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read(Self::record(dir)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(serde_json::from_slice(&other?).with_context(|| format!("read {}", Self::record(dir).display()))?)),
        }
    }
    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }
    /// The server's process, if it still is one.
    pub fn running(&self) -> Option<i32> {
        let pid = self.pid()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let ours = String::from_utf8_lossy(&line).contains(&*self.dir.to_string_lossy());
        ours.then_some(pid)
    }
    fn places(&self, command: &mut Process) {
        command.arg("--data-dir").arg(self.dir.join("data")).arg("--run-dir").arg(self.dir.join("run")).arg("--config-dir").arg(self.dir.join("etc"));
    }
    /// The arguments of the server, further ones at the end.
    pub fn start(&self, extra: &[&str]) -> anyhow::Result<i32> {
        if let Some(pid) = self.running() {
            return Ok(pid);
        }
        std::fs::create_dir_all(&self.dir)?;
        std::fs::write(Self::record(&self.dir), serde_json::to_vec(self)?)?;
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut server = Process::new(&self.binary);
        server.arg("server");
        self.places(&mut server);
        server.args(["--https-listen-port", &self.port.to_string(), "--kubelet-port", &place::kubelet_port(self.port).to_string(), "--network-prefix", &self.prefix, "--cgroup-root", &format!("/{}", self.prefix)]);
        server.args(["--cluster-cidr", &format!("10.{}.0.0/16", self.network), "--service-cidr", &format!("10.{}.0.0/16", self.network + 1)]);
        server.arg("--pod-logs-dir").arg(self.dir.join("logs")).args(extra);
        server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = server.spawn().with_context(|| format!("start {}", self.binary.display()))?;
        std::fs::write(self.dir.join("pid"), child.id().to_string())?;
        // Reaped when it ends, so that its process id is not seen as alive.
        let pid = child.id() as i32;
        std::thread::spawn(move || {
            let mut child = child;
            let _ = child.wait();
        });
        Ok(pid)
    }
    /// Starts the server, waits until its node is ready, and imports the archives.
    pub fn up(&self, images: &[PathBuf]) -> anyhow::Result<i32> {
        let pid = self.start(&[])?;
        self.wait("the API", Duration::from_secs(60), || self.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
        self.wait("the node", Duration::from_secs(120), || self.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"]).is_ok())?;
        for archive in images {
            self.import(archive)?;
        }
        Ok(pid)
    }
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let mut import = Process::new(&self.binary);
        import.args(["image", "import"]).arg(archive);
        self.places(&mut import);
        run(import.stdout(Stdio::null()).stderr(Stdio::null())).with_context(|| format!("import {}", archive.display()))
    }
    /// The real kubectl against this cluster; gives what it printed.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        output(Process::new("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(args))
    }
    /// The same with something on its standard input.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        use std::io::Write;
        let mut child = Process::new("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start kubectl")?;
        child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!("kubectl {} failed: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
    /// Waits for a condition; an error names it and shows the end of the server's log.
    pub fn wait(&self, what: &str, at_most: Duration, done: impl FnMut() -> bool) -> anyhow::Result<()> {
        self.wait_every(what, at_most, Duration::from_millis(100), done)
    }
    /// The same with a pause of its own between two looks.
    pub fn wait_every(&self, what: &str, at_most: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done() {
            // Right after the start, the process may not have its command line yet.
            let ended = start.elapsed() > Duration::from_secs(1) && self.running().is_none();
            if ended || start.elapsed() > at_most {
                bail!("{what} did not come; the server's log ends with:\n{}", self.log_end());
            }
            std::thread::sleep(pause);
        }
        Ok(())
    }
    /// Whether the API says that it is ready.
    pub fn port_answers(&self) -> bool {
        let ready = || Client::anonymous(&self.kubeconfig())?.connect()?.get("/readyz");
        ready().is_ok_and(|a| a.status == 200)
    }
    pub fn log_end(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
    /// Ends the server alone, by SIGTERM or SIGKILL; containers go on.
    pub fn end_server(&self, hard: bool) -> anyhow::Result<()> {
        let Some(pid) = self.running() else { return Ok(()) };
        let signal = if hard { rustix::process::Signal::KILL } else { rustix::process::Signal::TERM };
        if let Some(p) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(p, signal);
        }
        let start = Instant::now();
        while self.running().is_some() {
            if start.elapsed() > Duration::from_secs(40) {
                bail!("the server (process {pid}) does not end");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
    /// Ends everything and removes the folder.
    pub fn down(&self) -> anyhow::Result<()> {
        self.end_server(false).or_else(|_| self.end_server(true))?;
        let mut stop = Process::new(&self.binary);
        stop.args(["stop", "--all"]);
        self.places(&mut stop);
        run(stop.stdout(Stdio::null())).context("end the containers")?;
        // What is mounted below the folder is not ours to delete.
        let mounts = self.mounts()?;
        if !mounts.is_empty() {
            bail!("{} is kept, because this is still mounted there:\n{}", self.dir.display(), mounts.join("\n"));
        }
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
    fn mounts(&self) -> anyhow::Result<Vec<String>> {
        let dir = format!("{}/", self.dir.display());
        let text = std::fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        Ok(text.lines().filter(|l| l.split(' ').nth(1).is_some_and(|at| at.starts_with(&dir))).map(|l| format!("mount {l}")).collect())
    }
    /// What is left on the machine after [`Cluster::down`]: mounts, links, tables, cgroups, processes.
    pub fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let dir = self.dir.to_string_lossy().into_owned();
        let mut left = self.mounts()?;
        if crate::has("ip") {
            left.extend(output(Process::new("ip").args(["-o", "link"]))?.lines().filter(|l| l.contains(&format!(": {}", self.prefix))).map(|l| format!("link {l}")));
        }
        if crate::has("nft") {
            left.extend(output(Process::new("nft").args(["list", "tables"]))?.lines().filter(|l| l.split_whitespace().any(|w| w.starts_with(&format!("{}-", self.prefix)))).map(|l| format!("nft {l}")));
        }
        for base in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"] {
            let group = Path::new(base).join(&self.prefix);
            if group.exists() {
                left.push(format!("cgroup {}", group.display()));
            }
        }
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if pid != std::process::id() && String::from_utf8_lossy(&line).contains(&format!("{dir}/run")) {
                left.push(format!("process {pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        Ok(left)
    }
}

/// Where downloads and made images are kept between runs.
pub fn cache() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| root().join("target"), PathBuf::from).join(".cache/skiff")
}
