//! A pod's resolver settings.
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>
use crate::view;
use k8s_openapi::api::core::v1::Pod;
use skiff_cri::DnsConfig;

const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// What the node gives its pods.
#[derive(Clone, Debug, Default)]
pub struct NodeDns {
    /// The cluster's name servers.
    pub cluster: Vec<String>,
    pub cluster_domain: String,
    /// The node's own settings.
    pub host: DnsConfig,
}

/// Reads a resolv.conf.
pub fn parse(text: &str) -> DnsConfig {
    let mut d = DnsConfig::default();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => d.servers.extend(words.next().map(str::to_owned)),
            Some("search") => d.searches = words.filter(|w| *w != ".").map(|w| w.trim_end_matches('.').to_owned()).collect(),
            Some("options") => words.for_each(|w| set_option(&mut d.options, w)),
            _ => {}
        }
    }
    d
}

/// The settings, and warnings where limits cut something.
pub fn pod_dns(pod: &Pod, node: &NodeDns) -> (DnsConfig, Vec<String>) {
    let spec = view::spec(pod);
    let mut d = match spec.dns_policy.as_deref() {
        Some("None") => DnsConfig::default(),
        Some("Default") => node.host.clone(),
        Some("ClusterFirstWithHostNet") => cluster(pod, node),
        _ if view::host_network(pod) => node.host.clone(),
        _ => cluster(pod, node),
    };
    if let Some(own) = &spec.dns_config {
        add_all(&mut d.servers, own.nameservers.iter().flatten());
        add_all(&mut d.searches, own.searches.iter().flatten());
        for o in own.options.iter().flatten() {
            let name = o.name.as_deref().unwrap_or_default();
            match o.value.as_deref().filter(|v| !v.is_empty()) {
                Some(v) => set_option(&mut d.options, &format!("{name}:{v}")),
                None => set_option(&mut d.options, name),
            }
        }
    }
    fit(d)
}

fn cluster(pod: &Pod, node: &NodeDns) -> DnsConfig {
    if node.cluster.is_empty() {
        return node.host.clone();
    }
    let (ns, domain) = (view::namespace(pod), &node.cluster_domain);
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches = vec![format!("{ns}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    }
    add_all(&mut searches, &node.host.searches);
    DnsConfig { servers: node.cluster.clone(), searches, options: vec!["ndots:5".into()] }
}

fn add_all<'a>(list: &mut Vec<String>, more: impl IntoIterator<Item = &'a String>) {
    for m in more {
        if !list.contains(m) {
            list.push(m.clone());
        }
    }
}

/// An option of the same name is replaced.
fn set_option(options: &mut Vec<String>, option: &str) {
    let name = |o: &str| o.split(':').next().unwrap_or_default().to_owned();
    match options.iter_mut().find(|o| name(o) == name(option)) {
        Some(o) => *o = option.to_owned(),
        None => options.push(option.to_owned()),
    }
}

fn fit(mut d: DnsConfig) -> (DnsConfig, Vec<String>) {
    let mut warnings = Vec::new();
    if d.servers.len() > MAX_SERVERS {
        d.servers.truncate(MAX_SERVERS);
        warnings.push(format!("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}", d.servers.join(" ")));
    }
    let before = d.searches.len();
    d.searches.retain(|s| s.len() <= 255);
    d.searches.truncate(MAX_SEARCHES);
    while d.searches.join(" ").len() > MAX_SEARCH_CHARS {
        d.searches.pop();
    }
    if d.searches.len() != before {
        warnings.push(format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}", d.searches.join(" ")));
    }
    (d, warnings)
}

/// The file that is mounted into each container.
pub fn resolv_conf(d: &DnsConfig) -> String {
    let mut out = String::new();
    if !d.searches.is_empty() {
        out += &format!("search {}\n", d.searches.join(" "));
    }
    for s in &d.servers {
        out += &format!("nameserver {s}\n");
    }
    if !d.options.is_empty() {
        out += &format!("options {}\n", d.options.join(" "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;

    #[test]
    fn policies() {
        let node = NodeDns {
            cluster: vec!["10.43.0.10".into()],
            cluster_domain: "cluster.local".into(),
            host: parse("# x\nnameserver 1.1.1.1\nsearch corp.example. .\noptions rotate ndots:1 ndots:2\n"),
        };
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.43.0.10\noptions ndots:5\n";
        let host = "search corp.example\nnameserver 1.1.1.1\noptions rotate ndots:2\n";
        for (spec, want) in [
            ("", cluster),
            (r#""dnsPolicy":"ClusterFirst","#, cluster),
            (r#""dnsPolicy":"ClusterFirst","hostNetwork":true,"#, host),
            (r#""dnsPolicy":"ClusterFirstWithHostNet","hostNetwork":true,"#, cluster),
            (r#""dnsPolicy":"Default","#, host),
            (
                r#""dnsPolicy":"None","dnsConfig":{"nameservers":["9.9.9.9"],"searches":["a"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]},"#,
                "search a\nnameserver 9.9.9.9\noptions ndots:2 edns0\n",
            ),
        ] {
            let (d, warnings) = pod_dns(&pod(&format!(r#"{{{spec}"containers":[]}}"#)), &node);
            assert_eq!(resolv_conf(&d), want, "{spec}");
            assert!(warnings.is_empty());
        }
    }
    #[test]
    fn limits_warn() {
        let (d, w) =
            pod_dns(&pod(r#"{"dnsPolicy":"None","dnsConfig":{"nameservers":["1.1.1.1","2.2.2.2","3.3.3.3","4.4.4.4"]},"containers":[]}"#), &NodeDns::default());
        assert_eq!((d.servers.len(), w.len()), (3, 1));
    }
}
