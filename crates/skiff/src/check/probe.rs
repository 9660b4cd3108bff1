//! What can only be known by trying: in namespaces of a thread's own, which end with it, so that nothing is left. The kernel
//! loads its modules on the way, as it does for a node.

use anyhow::{Context, anyhow};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use skiff_netlink::{LinkKind, Route, VxlanSpec};
use skiff_rules::{NodeFacts, ServiceProxy, Snapshot};
use std::path::{Path, PathBuf};

/// Runs the probe in a network and a mount namespace of its own.
fn apart(probe: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    let inside = move || {
        // SAFETY: only this thread is moved, and it ends here.
        if unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) } != 0 {
            return Err(std::io::Error::last_os_error()).context("make namespaces");
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("keep mounts apart")?;
        probe()
    };
    std::thread::spawn(inside).join().unwrap_or_else(|_| Err(anyhow!("the probe broke off")))
}

pub fn veth() -> anyhow::Result<()> {
    apart(|| {
        let here = Path::new("/proc/thread-self/ns/net");
        Route::open()?.ensure_veth("skiff-a", None, "skiff-b", here, 1500)?;
        Ok(())
    })
}

/// What carries the address of DNS: a dummy link or, on small kernels, a bridge without ports.
pub fn dummy_or_bridge() -> anyhow::Result<()> {
    apart(|| {
        let mut route = Route::open()?;
        let dummy = route.ensure_link("skiff-d", &LinkKind::Dummy, None, None);
        dummy.or_else(|_| route.ensure_link("skiff-b", &LinkKind::Bridge, None, None))?;
        Ok(())
    })
}

pub fn vxlan() -> anyhow::Result<()> {
    let spec = VxlanSpec { vni: 1, port: skiff_network::VXLAN_PORT, local: [127, 0, 0, 1].into(), parent: None };
    apart(move || Ok(Route::open()?.ensure_link("skiff-x", &LinkKind::Vxlan(spec), None, None).map(drop)?))
}

/// The rules of a cluster without Services: every kind of chain and expression that a node needs is in them.
pub fn nftables() -> anyhow::Result<()> {
    let facts = NodeFacts {
        node: "check".into(),
        zone: None,
        node_ips: Vec::new(),
        pod_cidrs: vec![ipnet::IpNet::new([10, 42, 0, 0].into(), 16)?],
        service_cidrs: vec![ipnet::IpNet::new([10, 43, 0, 0].into(), 16)?],
        table: "skiff-check".into(),
        masquerade_bit: skiff_network::MASQUERADE,
        local_ips: Vec::new(),
    };
    apart(move || Ok(ServiceProxy::new(facts)?.sync(&Snapshot::default()).map(drop)?))
}

/// Mounts an overlay whose upper folder lies where images will.
pub fn overlay(data: &Path) -> anyhow::Result<()> {
    let scratch = existing(data).join(format!(".skiff-check-{}", std::process::id()));
    let folders = ["lower", "upper", "work", "merged"].map(|name| scratch.join(name));
    let made = folders.iter().try_for_each(|folder| std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display())));
    let [lower, upper, work, merged] = folders;
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let tried = made.and_then(|()| {
        apart(move || {
            let options = std::ffi::CString::new(options)?;
            mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str())
                .with_context(|| format!("mount an overlay on {}", merged.display()))?;
            std::fs::write(merged.join("file"), "x").context("write into an overlay")?;
            unmount(&merged, UnmountFlags::DETACH).context("unmount the overlay")
        })
    });
    let cleared = std::fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()));
    tried.and(cleared)
}

/// The folder itself, or the nearest above it that is there.
pub fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_work_where_nodes_do_and_leave_nothing() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let links = || std::fs::read_dir("/sys/class/net").expect("links").count();
        let before = links();
        veth().and_then(|()| dummy_or_bridge()).and_then(|()| nftables()).unwrap_or_else(|e| panic!("{e:#}"));
        if let Err(e) = overlay(&folder.path().join("not/yet/there")) {
            // An overlay cannot lie on another one everywhere.
            eprintln!("no overlay in {}: {e:#}", folder.path().display());
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
        assert_eq!(links(), before);
    }
}
