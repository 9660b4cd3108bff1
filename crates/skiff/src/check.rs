//! `skiff check`: what this machine lacks to run containers, and how to get it.
use crate::cli::Output;
use anyhow::bail;
use serde::Serialize;
use std::fs;

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    /// What to do, when it is missing.
    advice: &'static str,
    /// Without it nothing runs; otherwise something is only less good.
    required: bool,
}

fn filesystem(name: &str) -> bool {
    fs::read_to_string("/proc/filesystems").unwrap_or_default().lines().any(|l| l.split_whitespace().last() == Some(name))
}
fn namespace(name: &str) -> bool {
    fs::metadata(format!("/proc/self/ns/{name}")).is_ok()
}
/// The controller is mounted (v1) or offered (v2).
fn controller(name: &str) -> bool {
    let v2 = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"].iter().any(|p| fs::read_to_string(p).unwrap_or_default().split_whitespace().any(|c| c == name));
    v2 || fs::read_to_string("/proc/mounts").unwrap_or_default().lines().any(|l| {
        let f: Vec<&str> = l.split_whitespace().collect();
        f.get(2) == Some(&"cgroup") && f.get(3).is_some_and(|o| o.split(',').any(|c| c == name))
    })
}

fn findings() -> Vec<Finding> {
    let need = |what, ok, advice| Finding { what, ok, advice, required: true };
    let wish = |what, ok, advice| Finding { what, ok, advice, required: false };
    vec![
        need("run as root", rustix::process::geteuid().is_root(), "run skiff as root: containers, mounts and networks need it"),
        need("overlay file system", filesystem("overlay"), "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS"),
        need("nftables", nftables(), "modprobe nf_tables, or a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"),
        need("network namespaces", namespace("net"), "a kernel with CONFIG_NET_NS"),
        need("pid namespaces", namespace("pid"), "a kernel with CONFIG_PID_NS"),
        need("mount namespaces", namespace("mnt"), "a kernel with CONFIG_NAMESPACES"),
        need("cgroup memory", controller("memory"), "mount the memory cgroup controller (on a Raspberry Pi: cgroup_enable=memory on the kernel's command line)"),
        need("cgroup cpu", controller("cpu"), "mount the cpu cgroup controller"),
        need("cgroup pids", controller("pids"), "mount the pids cgroup controller"),
        need("seccomp", fs::read_to_string("/proc/self/status").unwrap_or_default().contains("\nSeccomp:"), "a kernel with CONFIG_SECCOMP_FILTER"),
        need("IPv4 forwarding can be set", fs::metadata("/proc/sys/net/ipv4/ip_forward").is_ok(), "mount /proc writable"),
        wish("cgroup cpuset", controller("cpuset"), "mount the cpuset cgroup controller"),
        wish("user namespaces", namespace("user"), "a kernel with CONFIG_USER_NS"),
    ]
}

/// Whether the kernel speaks nftables: asked through netlink, nothing is changed.
fn nftables() -> bool {
    skiff_nft::Nft::open().is_ok()
}

/// Fails with what a node cannot do without on this machine, and what to do about it.
pub fn required() -> anyhow::Result<()> {
    let missing: Vec<String> = findings().into_iter().filter(|f| f.required && !f.ok).map(|f| format!("{}: {}", f.what, f.advice)).collect();
    if !missing.is_empty() {
        bail!("this machine lacks what a node needs (a server without one runs with --disable-agent):\n  {}", missing.join("\n  "));
    }
    Ok(())
}

pub fn run(output: Output) -> anyhow::Result<()> {
    let all = findings();
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        let width = all.iter().map(|f| f.what.len()).max().unwrap_or(0);
        for f in &all {
            let mark = if f.ok { "ok" } else if f.required { "MISSING" } else { "missing, optional" };
            println!("{:width$}  {mark}{}", f.what, if f.ok { String::new() } else { format!(": {}", f.advice) });
        }
    }
    let missing = all.iter().filter(|f| f.required && !f.ok).count();
    if missing > 0 {
        bail!("{missing} of what Skiff needs is missing on this machine");
    }
    Ok(())
}
