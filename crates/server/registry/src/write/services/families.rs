//! Cluster addresses: which families a Service has, and an address of each.
use super::{Allocator, Refused, Reserved, Taken, World, invalid};
use crate::value;
use ipnet::IpNet;
use serde_json::{Value, json};
use skiff_meta::Cause;
use std::net::IpAddr;

impl Allocator {
    pub(super) fn addresses(&self, v: &mut Value, old: Option<&Value>, held: &[IpAddr], taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<(), Refused> {
        if value::text(v, "spec.type") == "ExternalName" {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                value::remove(v, &format!("spec.{key}"));
            }
            return Ok(());
        }
        let Some(families) = self.families(v, old).map_err(Refused::Invalid)? else { return Ok(()) };
        let single = value::text(v, "spec.clusterIP").to_owned();
        let mut asked: Vec<String> = value::list(v, "spec.clusterIPs").iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        match (asked.first(), single.as_str()) {
            // At a creation the two must say the same, which the rules tell.
            (Some(first), one) if old.is_none() && first != one => return Ok(()),
            (None, "") => {}
            (None, one) => asked.push(one.to_owned()),
            // An update through clusterIP alone clears or replaces the list.
            (Some(first), one) if first != one && old.is_some_and(|o| value::text(o, "spec.clusterIP") != one) => asked = if one.is_empty() { vec![] } else { vec![one.to_owned()] },
            _ => {}
        }
        if asked.first().is_some_and(|a| a == "None") {
            value::set(v, "spec.clusterIP", "None");
            value::set(v, "spec.clusterIPs", json!(["None"]));
            return Ok(());
        }
        let mut all = Vec::new();
        for (i, family) in families.iter().enumerate() {
            let address = match asked.get(i).or_else(|| asked.iter().find(|a| family_of(a) == Some(*family))) {
                Some(a) => take(a, &asked, held, taken, reserved, world).map_err(Refused::Invalid)?,
                None => pick(family, taken, reserved, world)?,
            };
            all.push(address.to_string());
        }
        value::set(v, "spec.clusterIP", all.first().cloned().unwrap_or_default());
        value::set(v, "spec.clusterIPs", all);
        Ok(())
    }

    /// Families and policy, filled in from what the cluster has; none when there are words that the rules refuse.
    fn families(&self, v: &mut Value, old: Option<&Value>) -> Result<Option<Vec<&'static str>>, Cause> {
        if !matches!(value::text(v, "spec.ipFamilyPolicy"), "" | "SingleStack" | "PreferDualStack" | "RequireDualStack") {
            return Ok(None);
        }
        let have: Vec<&'static str> = self.ranges.networks.iter().map(|n| if matches!(n, IpNet::V4(_)) { "IPv4" } else { "IPv6" }).collect();
        let mut asked: Vec<&'static str> = Vec::new();
        for (i, f) in value::list(v, "spec.ipFamilies").iter().enumerate() {
            let known = ["IPv4", "IPv6"].into_iter().find(|k| f == k);
            match known.filter(|k| have.contains(k)) {
                Some(k) => asked.push(k),
                None if known.is_none() => return Ok(None),
                None => return Err(invalid(&format!("spec.ipFamilies[{i}]"), f, "not configured on this cluster")),
            }
        }
        for a in value::list(v, "spec.clusterIPs").iter().filter_map(Value::as_str).chain([value::text(v, "spec.clusterIP")]) {
            if let Some(f) = family_of(a).filter(|f| !asked.contains(f) && have.contains(f)) {
                asked.push(f);
            }
        }
        let policy = match value::text(v, "spec.ipFamilyPolicy") {
            "" if asked.len() > 1 => "RequireDualStack",
            "" => match old.map(|o| value::text(o, "spec.ipFamilyPolicy")) {
                Some("PreferDualStack") => "PreferDualStack",
                Some("RequireDualStack") => "RequireDualStack",
                _ => "SingleStack",
            },
            "PreferDualStack" => "PreferDualStack",
            "RequireDualStack" => "RequireDualStack",
            _ => "SingleStack",
        };
        let headless_without_selector = value::text(v, "spec.clusterIP") == "None" && value::map(v, "spec.selector").is_none_or(serde_json::Map::is_empty);
        let policy = if headless_without_selector && value::text(v, "spec.ipFamilyPolicy").is_empty() && old.is_none() && asked.is_empty() { "RequireDualStack" } else { policy };
        for f in &have {
            if !asked.contains(f) && (asked.is_empty() || policy != "SingleStack") {
                asked.push(f);
            }
        }
        if headless_without_selector && policy == "RequireDualStack" && asked.len() == 1 {
            asked = vec![asked[0], if asked[0] == "IPv4" { "IPv6" } else { "IPv4" }];
        } else if policy == "RequireDualStack" && have.len() < 2 {
            return Err(invalid("spec.ipFamilyPolicy", &policy.into(), "this cluster is not configured for dual-stack services"));
        }
        if policy == "SingleStack" {
            asked.truncate(1);
        }
        value::set(v, "spec.ipFamilies", asked.clone());
        value::set(v, "spec.ipFamilyPolicy", policy);
        Ok(Some(asked))
    }
}

fn take(text: &str, asked: &[String], held: &[IpAddr], taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<IpAddr, Cause> {
    let bad = |why: &str| invalid("spec.clusterIPs", &json!(asked), why);
    let address: IpAddr = text.parse().map_err(|_| bad("must be a valid IP address"))?;
    if held.contains(&address) {
        return Ok(address);
    }
    let Some(network) = world.open.iter().find(|n| n.contains(&address)) else {
        return Err(bad(&format!("failed to allocate IP {text}: the provided network does not match the current range")));
    };
    // The network's own address is nobody's, nor is the broadcast address of IPv4.
    if address == network.network() || (address.is_ipv4() && address == network.broadcast()) {
        return Err(bad(&format!("failed to allocate IP {text}: the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}")));
    }
    if (world.kept)(address) || !taken.addresses.insert(address) {
        return Err(bad(&format!("failed to allocate IP {text}: provided IP is already allocated")));
    }
    reserved.addresses.push(address);
    Ok(address)
}

fn pick(family: &str, taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<IpAddr, Refused> {
    for network in world.open.iter().filter(|n| matches!(n, IpNet::V4(_)) == (family == "IPv4")) {
        let Some(address) = free(network, taken, world) else { continue };
        taken.addresses.insert(address);
        reserved.addresses.push(address);
        return Ok(address);
    }
    Err(Refused::Full("failed to allocate a serviceIP: range is full".into()))
}

/// An address of the network that nobody has. Those above the lower part of the range are handed out first, so that
/// people can choose in the lower one (KEP-3070).
fn free(network: &IpNet, taken: &Taken, world: &World<'_>) -> Option<IpAddr> {
    let bits = network.max_prefix_len() - network.prefix_len();
    let last = if network.network().is_ipv4() { 2 } else { 1 };
    let size: u64 = if bits >= 20 { 1 << 20 } else { (1u64 << bits).saturating_sub(last) };
    let kept = (size / 16).clamp(16.min(size / 2), 256);
    let span = size.saturating_sub(kept);
    let start = u64::from((world.random)());
    let upper = (0..span).map(|i| kept + 1 + (start % span.max(1) + i) % span.max(1));
    let lower = (0..kept).map(|i| 1 + (start % kept.max(1) + i) % kept.max(1));
    upper.chain(lower).map(|n| offset(network, n)).find(|a| !taken.addresses.contains(a) && !(world.kept)(*a))
}

fn family_of(text: &str) -> Option<&'static str> {
    Some(if text.parse::<IpAddr>().ok()?.is_ipv4() { "IPv4" } else { "IPv6" })
}
fn offset(network: &IpNet, n: u64) -> IpAddr {
    match network.network() {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a).wrapping_add(n as u32)).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a).wrapping_add(u128::from(n))).into()),
    }
}
