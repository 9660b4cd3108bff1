//! Flags that k3s has and Skiff has not: what they mean here. Facts only; who parses flags asks.

/// Without the dashes → what to do.
const KNOWN: [(&str, &str); 34] = [
    ("agent-token", "there is one kind of token; `skiff token create` makes one that expires"),
    ("cluster-init", "servers share a datastore that is not built in yet: one server, any number of agents"),
    ("cluster-reset", "restore a copy of <data-dir>/server/db instead"),
    ("container-runtime-endpoint", "the runtime is built in"),
    ("datastore-endpoint", "the datastore is the built-in SQLite in <data-dir>/server/db"),
    ("default-runtime", "the runtime is built in"),
    (
        "disable",
        "nothing is packaged as an add-on: DNS, network rules and local volumes are parts of the node, and no ingress, load balancer or metrics server is installed; leave it out",
    ),
    ("disable-apiserver", "a server always serves the API; a machine without it is an agent"),
    ("disable-cloud-controller", "there is no cloud controller; leave it out"),
    ("disable-etcd", "there is no etcd; leave it out"),
    ("disable-helm-controller", "there is no Helm controller; leave it out and use Helm itself"),
    ("disable-kube-proxy", "the rules of Services are the node's own and can't be left out"),
    ("disable-network-policy", "leave it out"),
    ("docker", "the runtime is built in; `docker save` and `skiff image import` bring images over"),
    ("egress-selector-mode", "the server reaches nodes by their addresses; leave it out"),
    ("embedded-registry", "use a mirror in registries.yaml instead"),
    ("etcd-expose-metrics", "there is no etcd; leave it out"),
    ("etcd-s3", "there is no etcd; copy <data-dir>/server/db instead"),
    ("flannel-backend", "the pod network is built in (routes, and vxlan between networks); leave it out"),
    ("flannel-iface", "say --node-ip: the pod network uses the interface of that address"),
    ("flannel-ipv6-masq", "the pod network is built in; leave it out"),
    ("kube-cloud-controller-manager-arg", "there is no cloud controller; leave it out"),
    ("kube-controller-manager-arg", "controllers have no flags of their own"),
    ("kube-proxy-arg", "the rules of Services are the node's own and have no flags"),
    ("kube-scheduler-arg", "the scheduler has no flags of its own"),
    ("kubelet-arg", "the node's flags are these: --max-pods, --node-label, --node-taint, --cgroup-root, --kubelet-port"),
    ("node-external-ip", "only --node-ip is known"),
    ("pause-image", "pods need no pause image; leave it out"),
    ("prefer-bundled-bin", "no other programs are needed; leave it out"),
    ("protect-kernel-defaults", "leave it out"),
    ("rootless", "a node needs root; a server without one (--disable-agent) does not"),
    ("secrets-encryption", "Secrets are sealed from the first start; leave it out (`skiff secrets-encrypt` changes it)"),
    ("snapshotter", "images are mounted by overlay; leave it out"),
    ("system-default-registry", "name a mirror of docker.io in registries.yaml instead"),
];

/// What k3s's flag comes to here.
pub fn meaning(flag: &str) -> Option<&'static str> {
    let flag = flag.trim_start_matches('-');
    let flag = flag.split_once('=').map_or(flag, |(name, _)| name);
    let family = if flag.starts_with("etcd-") { "etcd-s3" } else { flag };
    KNOWN.iter().find(|(name, _)| *name == family).or_else(|| KNOWN.iter().find(|(name, _)| *name == flag)).map(|(_, means)| *means)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_found_as_they_are_written() {
        assert!(meaning("--flannel-backend=none").is_some_and(|m| m.contains("built in")));
        assert!(meaning("--etcd-snapshot-dir").is_some());
        assert_eq!(meaning("--no-such-flag"), None);
    }

    #[test]
    fn none_of_them_is_ours() {
        let command = crate::cli::Cli::command();
        let ours: Vec<&str> = ["server", "agent"]
            .iter()
            .filter_map(|r| command.find_subcommand(r))
            .flat_map(clap::Command::get_arguments)
            .filter_map(clap::Arg::get_long)
            .collect();
        assert!(KNOWN.iter().all(|(name, _)| !ours.contains(name)));
    }
}
