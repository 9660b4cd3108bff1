//! `skiff check`: what this machine lacks to run containers, and how to get it.
//!
//! [`required`] is what a node asks at each start: it only reads. The command tries the rest, too ([`probe`]): links, rules,
//! an overlay, ports, and how much room there is.

mod probe;

use crate::cli::{Cli, Command, Output, Places};
use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// Less room than this is worth a word, bytes.
const ROOM: u64 = 2 << 30;

#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// What to do, when it is missing.
    advice: String,
    /// Without it nothing runs; otherwise something is only less good.
    required: bool,
}

fn need(what: impl Into<String>, ok: bool, advice: impl Into<String>) -> Finding {
    Finding { what: what.into(), ok, advice: advice.into(), required: true }
}

fn wish(what: impl Into<String>, ok: bool, advice: impl Into<String>) -> Finding {
    Finding { required: false, ..need(what, ok, advice) }
}

/// What was tried, with the system's own words when it failed.
fn tried(what: &str, outcome: anyhow::Result<()>, advice: &str) -> Finding {
    match outcome {
        Ok(()) => need(what, true, advice),
        Err(e) => need(what, false, format!("{advice} ({e:#})")),
    }
}

fn filesystem(name: &str) -> bool {
    fs::read_to_string("/proc/filesystems").unwrap_or_default().lines().any(|l| l.split_whitespace().last() == Some(name))
}
fn namespace(name: &str) -> bool {
    fs::metadata(format!("/proc/self/ns/{name}")).is_ok()
}
/// The controller is mounted (v1) or offered (v2).
fn controller(name: &str) -> bool {
    let lists = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    let v2 = lists.iter().any(|p| fs::read_to_string(p).unwrap_or_default().split_whitespace().any(|c| c == name));
    v2 || fs::read_to_string("/proc/mounts").unwrap_or_default().lines().any(|l| {
        let f: Vec<&str> = l.split_whitespace().collect();
        f.get(2) == Some(&"cgroup") && f.get(3).is_some_and(|o| o.split(',').any(|c| c == name))
    })
}

/// What can be told by reading.
fn seen() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let forwarding = fs::metadata("/proc/sys/net/ipv4/ip_forward").is_ok();
    vec![
        need("run as root", rustix::process::geteuid().is_root(), "run skiff as root: containers, mounts and networks need it"),
        need("network namespaces", namespace("net"), "a kernel with CONFIG_NET_NS"),
        need("pid namespaces", namespace("pid"), "a kernel with CONFIG_PID_NS"),
        need("mount namespaces", namespace("mnt"), "a kernel with CONFIG_NAMESPACES"),
        need(
            "cgroup memory",
            controller("memory"),
            "mount the memory cgroup controller (on a Raspberry Pi: cgroup_enable=memory on the kernel's command line)",
        ),
        need("cgroup cpu", controller("cpu"), "mount the cpu cgroup controller"),
        need("cgroup pids", controller("pids"), "mount the pids cgroup controller"),
        need("seccomp", status.contains("\nSeccomp:"), "a kernel with CONFIG_SECCOMP_FILTER"),
        need("IPv4 forwarding can be set", forwarding, "mount /proc writable"),
        wish("cgroup cpuset", controller("cpuset"), "mount the cpuset cgroup controller"),
        wish("user namespaces", namespace("user"), "a kernel with CONFIG_USER_NS"),
    ]
}

/// Whether the kernel speaks nftables and overlay, as far as that can be told cheaply.
fn spoken(data: &Path) -> Vec<Finding> {
    // A module that nobody needed yet is loaded by the first mount.
    let overlay = filesystem("overlay") || rustix::process::geteuid().is_root() && probe::overlay(data).is_ok();
    vec![
        need("overlay file system", overlay, "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS"),
        need("nftables", skiff_nft::Nft::open().is_ok(), "modprobe nf_tables, or a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"),
    ]
}

/// What only root can try.
fn probed(data: &Path) -> Vec<Finding> {
    let packages = "on Ubuntu and its relatives the package linux-modules-extra-$(uname -r) has it";
    let module = |name: &str, option: &str| format!("modprobe {name}, or a kernel with {option}; {packages}");
    let overlay = format!("modprobe overlay, or a --data-dir on ext4, xfs or btrfs instead of {}", data.display());
    vec![
        tried("overlay file system", probe::overlay(data), &overlay),
        tried("nftables", probe::nftables(), &module("nf_tables", "CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and CONFIG_NFT_FIB_INET")),
        tried("veth pairs", probe::veth(), &module("veth", "CONFIG_VETH")),
        tried("dummy or bridge links", probe::dummy_or_bridge(), &module("dummy", "CONFIG_DUMMY or CONFIG_BRIDGE")),
        Finding { required: false, ..tried("vxlan (for several nodes)", probe::vxlan(), &module("vxlan", "CONFIG_VXLAN")) },
    ]
}

/// The ports that a server needs, or an agent, which has no API.
fn ports(listen: IpAddr, api: Option<u16>, kubelet: u16) -> Vec<Finding> {
    let advice = |flag: &str| format!("end the program that has it (ss -lptn says which), or choose another by {flag}");
    let tcp = |port, flag| need(format!("TCP port {port} is free"), TcpListener::bind((listen, port)).is_ok(), advice(flag));
    let overlay = skiff_network::VXLAN_PORT;
    let udp = UdpSocket::bind(SocketAddr::new(listen, overlay)).is_ok();
    let other = "another overlay network (flannel, k3s) has it: end that one before nodes join";
    let api = api.map(|port| tcp(port, "--https-listen-port"));
    api.into_iter().chain([tcp(kubelet, "--kubelet-port"), wish(format!("UDP port {overlay} is free"), udp, other)]).collect()
}

fn room(data: &Path) -> anyhow::Result<Finding> {
    let place = probe::existing(data);
    let stat = rustix::fs::statvfs(&place).with_context(|| format!("measure the file system of {}", place.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let advice = format!("only {} MB are free in {}: images and volumes need more; move them by --data-dir", free / 1_000_000, place.display());
    Ok(wish("room for images and volumes", free >= ROOM, advice))
}

/// Where the role of this machine listens: address, the API's port, the node agent's.
type Listens = (IpAddr, Option<u16>, u16);

/// As the configuration file says.
fn listens(agent: bool, places: &Places) -> anyhow::Result<Listens> {
    let file = match &places.config {
        Some(file) => ["--config".into(), file.clone().into()],
        None => ["--config-dir".into(), places.config_dir.clone().into()],
    };
    let words = |role: &str| ["skiff".into(), role.into()].into_iter().chain(file.clone()).collect::<Vec<OsString>>();
    let role = if agent { "agent" } else { crate::config_file::role(&words("server"))? };
    let mut args = crate::config_file::with_config(words(role))?;
    if role == "agent" {
        // Nobody asks this server; it may be given on the command line of the agent alone.
        args.push("--server=https://localhost".into());
    }
    Ok(match Cli::try_parse_from(args).context("read the configuration file")?.command {
        Command::Server(s) => (s.bind_address, Some(s.https_listen_port), s.node.kubelet_port),
        Command::Agent(a) => (a.bind_address, None, a.node.kubelet_port),
        _ => bail!("the configuration file is neither a server's nor an agent's"),
    })
}

/// Everything, for a server or an agent with the flags of the configuration file.
fn findings(agent: bool, places: &Places) -> anyhow::Result<Vec<Finding>> {
    let (listen, api, kubelet) = listens(agent, places)?;
    let data = &places.data_dir;
    let mut all = seen();
    all.extend(if rustix::process::geteuid().is_root() { probed(data) } else { spoken(data) });
    all.push(room(data)?);
    let runs = std::os::unix::net::UnixStream::connect(crate::admin::socket(&places.run_dir)).is_ok();
    if !runs {
        all.extend(ports(listen, api, kubelet));
    }
    Ok(all)
}

/// Fails with what a node cannot do without on this machine, and what to do about it.
pub fn required(data: &Path) -> anyhow::Result<()> {
    let missing: Vec<String> = seen().into_iter().chain(spoken(data)).filter(|f| f.required && !f.ok).map(|f| format!("{}: {}", f.what, f.advice)).collect();
    if !missing.is_empty() {
        let intro = "this machine lacks what a node needs (a server without one runs with --disable-agent; `skiff check` says more)";
        bail!("{intro}:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

pub fn run(output: Output, agent: bool, places: &Places) -> anyhow::Result<()> {
    let all = findings(agent, places)?;
    if output == Output::Json {
        println!("{}", skiff_json::to_string_pretty(&all)?);
    } else {
        let width = all.iter().map(|f| f.what.len()).max().unwrap_or(0);
        for f in &all {
            let mark = if f.ok {
                "ok"
            } else if f.required {
                "MISSING"
            } else {
                "missing, optional"
            };
            println!("{:width$}  {mark}{}", f.what, if f.ok { String::new() } else { format!(": {}", f.advice) });
        }
    }
    let missing = all.iter().filter(|f| f.required && !f.ok).count();
    if missing > 0 {
        bail!("{missing} of what Skiff needs is missing on this machine");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_another_program_has_is_found() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = taken.local_addr().expect("address").port();
        let found = ports([127, 0, 0, 1].into(), Some(port), 0);
        assert_eq!(found.iter().take(2).map(|f| f.ok).collect::<Vec<_>>(), [false, true]);
        assert!(found[0].what.contains(&port.to_string()) && found[0].advice.contains("--https-listen-port"));
    }

    #[test]
    fn an_agent_is_known_by_its_file_or_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let places = |config| Places { config, data_dir: "/d".into(), run_dir: "/r".into(), config_dir: dir.path().into() };
        assert!(listens(false, &places(None)).expect("no file").1.is_some());
        assert!(listens(true, &places(None)).expect("no file").1.is_none());
        let file = dir.path().join("agent.yaml");
        std::fs::write(&file, "token-file: /t\nkubelet-port: 7\n").expect("written");
        assert_eq!(listens(false, &places(Some(file))).expect("an agent's"), ([0, 0, 0, 0].into(), None, 7));
        std::fs::write(dir.path().join("config.yaml"), "https-listen-port: 9\nbind-address: 127.0.0.1\n").expect("written");
        assert_eq!(listens(false, &places(None)).expect("a server's"), ([127, 0, 0, 1].into(), Some(9), 10250));
    }

    #[test]
    fn what_failed_says_why() {
        let found = tried("veth pairs", Err(anyhow::anyhow!("not supported").context("make a veth pair")), "modprobe veth");
        assert_eq!(found.advice, "modprobe veth (make a veth pair: not supported)");
    }
}
