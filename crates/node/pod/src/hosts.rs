//! A pod's host name and its /etc/hosts.
use crate::view;
use k8s_openapi::api::core::v1::{HostAlias, Pod};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    pub name: String,
    /// `<subdomain>.<namespace>.svc.<cluster domain>`, or empty.
    pub domain: String,
}

impl HostName {
    /// What the kernel's host name is set to; an error when the full name is asked for and too long.
    pub fn kernel_name(&self, as_fqdn: bool) -> Result<String, String> {
        if !as_fqdn || self.domain.is_empty() {
            return Ok(self.name.clone());
        }
        let full = format!("{}.{}", self.name, self.domain);
        if full.len() > 64 {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long (64 characters is the max, {} characters requested)",
                full.len()
            ));
        }
        Ok(full)
    }
}

/// At most 63 bytes, ending in a letter or digit.
fn truncated(name: &str) -> String {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    if name.len() <= 63 { name.to_owned() } else { name[..end].trim_end_matches(['-', '.']).to_owned() }
}

pub fn host_name(pod: &Pod, cluster_domain: &str) -> HostName {
    let spec = view::spec(pod);
    if let Some(name) = &spec.hostname_override {
        return HostName { name: truncated(name), domain: String::new() };
    }
    let name = spec.hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or(view::name(pod));
    let domain = spec.subdomain.as_deref().filter(|s| !s.is_empty()).map(|s| format!("{s}.{}.svc.{cluster_domain}", view::namespace(pod)));
    HostName { name: truncated(name), domain: domain.unwrap_or_default() }
}

/// The file of a pod with its own network.
pub fn hosts_file(ips: &[IpAddr], host: &HostName, aliases: &[HostAlias]) -> String {
    let mut out = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        if host.domain.is_empty() {
            out += &format!("{ip}\t{}\n", host.name);
        } else {
            out += &format!("{ip}\t{}.{}\t{}\n", host.name, host.domain, host.name);
        }
    }
    out + &alias_lines(aliases)
}

/// The node's own file, for pods in its network.
pub fn hosts_file_of_node(node_file: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_file}{}", alias_lines(aliases))
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let lines: String = aliases.iter().map(|a| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t"))).collect();
    format!("\n# Entries added by HostAliases.\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;
    #[test]
    fn names_and_file() {
        let p = pod(r#"{"hostname":"web-0","subdomain":"web","containers":[]}"#);
        let h = host_name(&p, "cluster.local");
        assert_eq!((h.name.as_str(), h.domain.as_str()), ("web-0", "web.ns.svc.cluster.local"));
        assert_eq!(h.kernel_name(false).unwrap(), "web-0");
        assert_eq!(h.kernel_name(true).unwrap(), "web-0.web.ns.svc.cluster.local");
        let file = hosts_file(&["10.0.0.2".parse().unwrap()], &h, &[HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) }]);
        assert!(file.ends_with("10.0.0.2\tweb-0.web.ns.svc.cluster.local\tweb-0\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{file}");
    }
    #[test]
    fn long_names_are_cut() {
        let mut p = pod(r#"{"containers":[]}"#);
        p.metadata.name = Some(format!("{}-{}", "a".repeat(62), "b".repeat(10)));
        assert_eq!(host_name(&p, "x").name, "a".repeat(62));
    }
}
