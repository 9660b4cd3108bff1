//! What a request must say to be certified for a purpose, pure.
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use skiff_pki::Request;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) const NODES: &str = "system:nodes";
pub(crate) const NODE: &str = "system:node:";

/// Why a request is no kubelet's for a client certificate.
pub(crate) fn kubelet_client(r: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(r)?;
    let absent = [(r.dns_names.is_empty(), "DNS"), (r.emails.is_empty(), "Email"), (r.addresses.is_empty(), "IP"), (r.uris.is_empty(), "URI")];
    if let Some((_, kind)) = absent.into_iter().find(|(none, _)| !none) {
        return Err(format!("{kind} subjectAltNames are not allowed"));
    }
    of_a_node(r)?;
    purpose(usages, "client auth")
}

/// Why a request is no kubelet's for a serving certificate.
pub(crate) fn kubelet_serving(r: &Request, usages: &[String]) -> Result<(), String> {
    of_nodes(r)?;
    if r.dns_names.is_empty() && r.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".into());
    }
    if let Some((_, kind)) = [(r.emails.is_empty(), "Email"), (r.uris.is_empty(), "URI")].into_iter().find(|(none, _)| !none) {
        return Err(format!("{kind} subjectAltNames are not allowed"));
    }
    purpose(usages, "server auth")?;
    of_a_node(r)
}

/// Why usages are not those of a client certificate.
pub(crate) fn client(usages: &[String]) -> Result<(), String> {
    let other = usages.iter().find(|u| !matches!(u.as_str(), "digital signature" | "key encipherment" | "client auth"));
    match other {
        Some(u) => Err(format!("invalid usage for client certificate: {u}")),
        None if usages.iter().any(|u| u == "client auth") => Ok(()),
        None => Err("missing required usage for client certificate: client auth".into()),
    }
}

/// Why a serving certificate asks for more than its node has: its name and its addresses, which no other node and
/// nothing of the cluster has.
pub(crate) fn own_names(r: &Request, node: &str, nodes: &[Node], reserved: &[IpNet]) -> Result<(), String> {
    if let Some(n) = r.dns_names.iter().find(|n| *n != node) {
        return Err(format!("DNS name {n} is not the node's"));
    }
    let of = |n: &Node| -> BTreeSet<IpAddr> {
        let all = n.status.iter().flat_map(|s| s.addresses.iter().flatten());
        all.filter(|a| matches!(a.type_.as_str(), "InternalIP" | "ExternalIP")).filter_map(|a| a.address.parse().ok()).collect()
    };
    let is = |n: &&Node| n.metadata.name.as_deref() == Some(node);
    let own = nodes.iter().find(is).map(of).ok_or("the node does not exist")?;
    let others: BTreeSet<IpAddr> = nodes.iter().filter(|n| !is(n)).flat_map(of).collect();
    let foreign = |a: &&IpAddr| !own.contains(a) || others.contains(a) || a.is_loopback() || a.is_unspecified() || reserved.iter().any(|n| n.contains(*a));
    match r.addresses.iter().find(foreign) {
        Some(a) => Err(format!("address {a} is not the node's alone")),
        None => Ok(()),
    }
}

fn of_nodes(r: &Request) -> Result<(), String> {
    if r.organizations == [NODES] { Ok(()) } else { Err("subject organization is not system:nodes".into()) }
}
fn of_a_node(r: &Request) -> Result<(), String> {
    if r.common_name.starts_with(NODE) { Ok(()) } else { Err("subject common name does not begin with system:node:".into()) }
}
/// Keys that are no RSA keys encipher nothing.
fn purpose(usages: &[String], purpose: &str) -> Result<(), String> {
    let set: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let with = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let without = BTreeSet::from(["digital signature", purpose]);
    if set == with || set == without {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", with.into_iter().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn request(edit: impl FnOnce(&mut Request)) -> Request {
        let mut r = Request::named("system:node:n1", [NODES]);
        edit(&mut r);
        r
    }
    fn usages(u: &[&str]) -> Vec<String> {
        u.iter().map(|u| (*u).to_owned()).collect()
    }

    #[test]
    fn kubelets_ask_for_themselves_only() {
        let u = usages(&["client auth", "digital signature"]);
        assert_eq!(kubelet_client(&request(|_| {}), &u), Ok(()));
        let bad: [(fn(&mut Request), &str); 4] = [
            (|r| r.organizations.push("system:masters".into()), "subject organization is not system:nodes"),
            (|r| r.common_name = "admin".into(), "subject common name does not begin with system:node:"),
            (|r| r.dns_names.push("x".into()), "DNS subjectAltNames are not allowed"),
            (|r| r.uris.push("x".into()), "URI subjectAltNames are not allowed"),
        ];
        for (edit, why) in bad {
            assert_eq!(kubelet_client(&request(edit), &u), Err(why.to_owned()));
        }
        assert_eq!(
            kubelet_client(&request(|_| {}), &usages(&["server auth"])),
            Err("usages did not match [client auth digital signature key encipherment]".into())
        );
        assert_eq!(kubelet_serving(&request(|_| {}), &u), Err("DNS or IP subjectAltName is required".into()));
        assert_eq!(kubelet_serving(&request(|r| r.dns_names.push("n1".into())), &usages(&["server auth", "key encipherment", "digital signature"])), Ok(()));
        assert_eq!(client(&usages(&["client auth"])), Ok(()));
        assert!(client(&usages(&["digital signature"])).is_err() && client(&usages(&["client auth", "any"])).is_err());
    }

    #[test]
    fn a_node_serves_its_own_names() {
        let node = |name: &str, ip: &str| -> Node {
            skiff_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": ip}]}})).unwrap()
        };
        let nodes = [node("n1", "10.0.0.1"), node("n2", "10.0.0.2")];
        let reserved = ["10.43.0.0/16".parse().unwrap()];
        let check = |dns: &[&str], ips: &[&str], nodes: &[Node]| {
            let r = request(|r| {
                r.dns_names = usages(dns);
                r.addresses = ips.iter().map(|a| a.parse().unwrap()).collect();
            });
            own_names(&r, "n1", nodes, &reserved).is_ok()
        };
        assert!(check(&["n1"], &["10.0.0.1"], &nodes));
        assert!(!check(&["n1", "kubernetes.default"], &["10.0.0.1"], &nodes));
        assert!(!check(&["n1"], &["10.0.0.3"], &nodes));
        assert!(!check(&["n1"], &["10.0.0.1"], &nodes[1..]));
        assert!(!check(&[], &["10.0.0.2"], &[node("n1", "10.0.0.2"), node("n2", "10.0.0.2")]));
        assert!(!check(&[], &["10.43.0.1"], &[node("n1", "10.43.0.1")]));
    }
}
