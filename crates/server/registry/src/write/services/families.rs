//! Cluster addresses: which families a Service has, and an address of each. In upstream's order: what is wrong is told
//! before anything is taken, and the first thing that is wrong ends it.
use super::{Allocator, Refused, Reserved, Taken, World, invalid, settle::has_address};
use crate::value::{self, list, map, same, set, text};
use ipnet::IpNet;
use skiff_json::{Value, json};
use skiff_meta::Cause;
use std::net::IpAddr;

const POLICY: &str = "spec.ipFamilyPolicy";
const FAMILIES: &str = "spec.ipFamilies";
const ADDRESSES: &str = "spec.clusterIPs";

fn texts(v: &Value, path: &str) -> Vec<String> {
    list(v, path).iter().map(|x| x.as_str().unwrap_or_default().to_owned()).collect()
}
fn headless(v: &Value) -> bool {
    list(v, ADDRESSES).first().is_some_and(|a| a == "None")
}
/// The family that is not this one.
fn other(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

impl Allocator {
    fn configured(&self) -> Vec<&'static str> {
        self.ranges.networks.iter().map(|n| if matches!(n, IpNet::V4(_)) { "IPv4" } else { "IPv6" }).collect()
    }

    /// Addresses of the families that it has none of; of a Service that is changed only those that are new.
    pub(super) fn addresses(&self, v: &mut Value, old: Option<&Value>, taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<(), Refused> {
        if unchanged(v, old) || !has_address(v) {
            return Ok(());
        }
        let (families, mut all) = (texts(v, FAMILIES), texts(v, ADDRESSES));
        let first = match old {
            Some(old) if !has_address(old) => 0,
            Some(old) if headless(old) || list(old, FAMILIES).len() != 1 || families.len() != 2 => return Ok(()),
            Some(_) => 1,
            None => 0,
        };
        if first == 0 && headless(v) {
            return Ok(());
        }
        all.resize(all.len().max(families.len()), String::new());
        for (i, family) in families.iter().enumerate().skip(first) {
            let shown = json!(all);
            let given = match all.get(i).filter(|a| !a.is_empty()) {
                Some(one) => take(one, &shown, taken, reserved, world)?,
                None => pick(family, &shown, taken, reserved, world)?,
            };
            if let Some(slot) = all.get_mut(i) {
                *slot = given;
            }
        }
        set(v, "spec.clusterIP", all.first().cloned().unwrap_or_default());
        set(v, ADDRESSES, all);
        Ok(())
    }

    /// Families and policy, filled in from what the cluster has.
    pub(super) fn families(&self, v: &mut Value, old: Option<&Value>) -> Result<(), Vec<Cause>> {
        if !has_address(v) || unchanged(v, old) {
            return Ok(());
        }
        let selectorless = text(v, "spec.clusterIP") == "None" && map(v, "spec.selector").is_none_or(skiff_json::Map::is_empty);
        if value::at(v, POLICY).is_none() {
            let policy = match old.map(|o| text(o, POLICY)).filter(|p| !p.is_empty()) {
                Some(before) => before.to_owned(),
                None => if selectorless { "RequireDualStack" } else { "SingleStack" }.to_owned(),
            };
            set(v, POLICY, policy);
        }
        none(skiff_validation::service_addresses(v, old))?;
        let single = text(v, POLICY) == "SingleStack";
        let mut wrong = Vec::new();
        if let Some(old) = old {
            reduce(v, old, single, &mut wrong);
        }
        if single {
            for (path, what) in [(ADDRESSES, "cluster IPs"), (FAMILIES, "IP families")] {
                if list(v, path).len() == 2 {
                    wrong.push(policy_is(v, &format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified")));
                }
            }
        }
        let configured = self.configured();
        let mut families = texts(v, FAMILIES);
        infer(v, &mut families, &configured, &mut wrong);
        none(wrong)?;
        if selectorless {
            // Nobody knows where its endpoints will be: any family may be named.
            if families.is_empty() {
                families.extend(configured.first().map(|f| (*f).to_owned()));
            }
        } else {
            none(unconfigured(v, &families, &configured))?;
            if families.is_empty() {
                families.extend(configured.first().map(|f| (*f).to_owned()));
            }
        }
        if let ([one], false) = (families.as_slice(), single)
            && (selectorless || configured.len() == 2)
        {
            let second = other(one).to_owned();
            families.push(second);
        }
        set(v, FAMILIES, families);
        Ok(())
    }
}

fn none(causes: Vec<Cause>) -> Result<(), Vec<Cause>> {
    if causes.is_empty() { Ok(()) } else { Err(causes) }
}
fn policy_is(v: &Value, why: &str) -> Cause {
    invalid(POLICY, value::at(v, POLICY).unwrap_or(&Value::Null), why)
}

/// A Service that prefers two families is not moved by a cluster that has more or fewer of them now.
fn unchanged(v: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else { return false };
    let prefers = |v: &Value| text(v, POLICY) == "PreferDualStack";
    let alike = |path: &str| list(v, path) == list(old, path);
    has_address(v)
        && text(v, "spec.type") == text(old, "spec.type")
        && prefers(v)
        && (prefers(old) || value::at(old, POLICY).is_none())
        && alike(ADDRESSES)
        && alike(FAMILIES)
}

/// Who says that one family is enough lets go of the second; who takes it out must say so.
fn reduce(v: &mut Value, old: &Value, single: bool, wrong: &mut Vec<Cause>) {
    for (path, what) in [(ADDRESSES, "cluster IP"), (FAMILIES, "IP family")] {
        let count = list(v, path).len();
        if single {
            if count > 1 && same(value::at(v, path), value::at(old, path)) {
                let first = list(v, path).first().cloned();
                set(v, path, Value::from_iter(first));
            }
        } else if count > 0 && count < list(old, path).len() {
            wrong.push(policy_is(v, &format!("must be 'SingleStack' to release the secondary {what}")));
        }
    }
}

/// The families of addresses that come without.
fn infer(v: &Value, families: &mut Vec<String>, configured: &[&'static str], wrong: &mut Vec<Cause>) {
    let addresses = texts(v, ADDRESSES);
    for (i, address) in addresses.iter().enumerate().take_while(|(_, a)| *a != "None") {
        let Some(family) = family_of(address).filter(|_| i >= families.len()) else { continue };
        if configured.contains(&family) {
            families.push(family.to_owned());
        } else {
            wrong.push(invalid(&format!("{ADDRESSES}[{i}]"), &json!(addresses), &format!("{family} is not configured on this cluster")));
        }
    }
}

fn unconfigured(v: &Value, families: &[String], configured: &[&'static str]) -> Vec<Cause> {
    let mut wrong = Vec::new();
    if text(v, POLICY) == "RequireDualStack" && configured.len() < 2 {
        wrong.push(policy_is(v, "this cluster is not configured for dual-stack services"));
    }
    for (i, family) in families.iter().enumerate().filter(|(_, f)| !configured.contains(&f.as_str())) {
        wrong.push(invalid(&format!("{FAMILIES}[{i}]"), &json!(family), "not configured on this cluster"));
    }
    wrong
}

/// Takes the address that is asked for; `all` is what the Service asks for altogether.
fn take(text: &str, all: &Value, taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<String, Refused> {
    let bad = |why: String| Refused::Invalid(vec![invalid(ADDRESSES, all, &format!("failed to allocate IP {text}: {why}"))]);
    let Some(address) = skiff_validation::sloppy_address(text) else { return Err(Refused::Failed(format!("failed to parse service IP {text:?}"))) };
    let Some(network) = world.open.iter().find(|n| n.contains(&address)) else {
        return Err(bad("the provided network does not match the current range".into()));
    };
    // The network's own address is nobody's, nor is the broadcast address of IPv4.
    if address == network.network() || (address.is_ipv4() && address == network.broadcast()) {
        return Err(bad(format!("the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}")));
    }
    if world.dry_run {
        return Ok(text.to_owned());
    }
    if world.nameless {
        return Err(bad(nobodys(address)));
    }
    if (world.kept)(address) || !taken.addresses.insert(address) {
        return Err(bad("provided IP is already allocated".into()));
    }
    reserved.addresses.push(address);
    Ok(text.to_owned())
}

/// An address is kept for a Service by its name.
fn nobodys(address: IpAddr) -> String {
    format!("IPAddress.networking.k8s.io {:?} is invalid: spec.parentRef.name: Required value", address.to_string())
}

/// A free address. For a dry run it is the network's own, which nobody has.
fn pick(family: &str, all: &Value, taken: &mut Taken, reserved: &mut Reserved, world: &World<'_>) -> Result<String, Refused> {
    for network in world.open.iter().filter(|n| matches!(n, IpNet::V4(_)) == (family == "IPv4")) {
        if world.dry_run {
            return Ok(network.network().to_string());
        }
        let Some(address) = free(network, taken, world) else { continue };
        if world.nameless {
            return Err(Refused::Invalid(vec![invalid(ADDRESSES, all, &format!("failed to allocate IP: {}", nobodys(address)))]));
        }
        taken.addresses.insert(address);
        reserved.addresses.push(address);
        return Ok(address.to_string());
    }
    Err(Refused::Failed(format!("failed to allocate a serviceIP for Service {:?}: range is full", world.name)))
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
