//! Which networks Services get addresses from now: those of ServiceCIDRs that are ready (KEP-1880), pure.
use crate::value;
use ipnet::IpNet;
use skiff_json::Value;

/// The networks of every ready ServiceCIDR, the configured ones first. As long as there is no such object at all (a
/// cluster that is being made), the configured ones.
pub(super) fn open<'a>(cidrs: impl Iterator<Item = &'a [u8]>, configured: &[IpNet]) -> Vec<IpNet> {
    let all: Vec<Value> = cidrs.filter_map(|b| skiff_json::from_slice(b).ok()).collect();
    if all.is_empty() {
        return configured.to_vec();
    }
    let networks = |v: &Value| -> Vec<IpNet> { value::list(v, "spec.cidrs").iter().filter_map(|c| c.as_str()?.parse().ok()).collect() };
    let ready: Vec<IpNet> = all.iter().filter(|v| usable(v)).flat_map(networks).collect();
    let mut open: Vec<IpNet> = configured.iter().filter(|n| ready.contains(n)).copied().collect();
    for n in ready {
        if !open.contains(&n) {
            open.push(n);
        }
    }
    open
}

fn usable(cidr: &Value) -> bool {
    let ready = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
    value::at(cidr, "metadata.deletionTimestamp").is_none() && value::list(cidr, "status.conditions").iter().any(ready)
}

/// Whether the IPAddress is that of this Service.
pub(super) fn belongs(address: &[u8], namespace: &str, name: &str) -> bool {
    let Ok(v) = skiff_json::from_slice::<Value>(address) else { return false };
    let parent = |part: &str| value::text(&v, &format!("spec.parentRef.{part}")).to_owned();
    parent("resource") == "services" && parent("group").is_empty() && parent("namespace") == namespace && parent("name") == name
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn cidr(cidrs: &[&str], ready: &str, leaving: bool) -> Vec<u8> {
        let mut v = json!({"metadata": {"name": "x"}, "spec": {"cidrs": cidrs}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        if leaving {
            v["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        v.to_string().into_bytes()
    }

    #[test]
    fn ready_ones_give_addresses() {
        let configured: Vec<IpNet> = vec!["10.43.0.0/16".parse().unwrap()];
        let show = |objects: &[Vec<u8>]| open(objects.iter().map(Vec::as_slice), &configured).iter().map(IpNet::to_string).collect::<Vec<_>>();
        assert_eq!(show(&[]), ["10.43.0.0/16"]);
        let all = [
            cidr(&["10.1.0.0/24", "fd00::/112"], "True", false),
            cidr(&["10.2.0.0/24"], "False", false),
            cidr(&["10.3.0.0/24"], "True", true),
            cidr(&["10.43.0.0/16"], "True", false),
        ];
        assert_eq!(show(&all), ["10.43.0.0/16", "10.1.0.0/24", "fd00::/112"]);
    }

    #[test]
    fn an_address_of_somebody_else() {
        let a = json!({"spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}).to_string();
        assert!(belongs(a.as_bytes(), "n", "s"));
        assert!(!belongs(a.as_bytes(), "n", "t"));
    }
}
