//! IP addresses and networks, as fields take them: strictly, with upstream's words for what is wrong.
use crate::field::Field;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address like Go's old parser: IPv4 may have leading zeros, IPv6 no zone.
pub fn sloppy(s: &str) -> Option<IpAddr> {
    s.parse::<IpAddr>().ok().or_else(|| sloppy_v4(s).map(IpAddr::V4)).or_else(|| {
        let (head, tail) = s.rsplit_once(':')?;
        format!("{head}:{}", sloppy_v4(tail)?).parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    })
}

fn sloppy_v4(s: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u8> = s.split('.').map(|p| p.bytes().all(|b| b.is_ascii_digit()).then(|| p.parse::<u8>().ok()).flatten()).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(Ipv4Addr::from)
}

fn mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v) if v.to_ipv4_mapped().is_some())
}

/// What Go's net.IP is: an IPv4 address in IPv6 clothes is IPv4.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v) => v.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

pub(crate) fn is_v6(s: &str) -> bool {
    sloppy(s).map(plain).is_some_and(|ip| ip.is_ipv6())
}

/// One address of each family, and nothing else.
pub(crate) fn dual_stack(list: &[&str]) -> bool {
    list.iter().any(|s| is_v6(s)) && list.iter().any(|s| sloppy(s).is_some_and(|ip| plain(ip).is_ipv4()))
}

/// An address in a field that once took any spelling; what the old object has may stay.
pub(crate) fn legacy(f: &Field<'_>, text: &str, old: &[&str]) {
    if !old.contains(&text) {
        strict(f, text);
    }
}

/// Whether the text is an address that [`strict`] accepts; tells what is wrong with it.
fn strict(f: &Field<'_>, text: &str) -> bool {
    let Some(ip) = sloppy(text) else {
        f.invalid(text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return false;
    };
    if text.parse::<IpAddr>().is_err() {
        f.invalid(text, "must not have leading 0s");
        return false;
    }
    if mapped(ip) {
        f.invalid(text, "must not be an IPv4-mapped IPv6 address");
        return false;
    }
    true
}

/// What upstream tells a client about an address that it accepts, but would not today.
pub(crate) fn warn(f: &Field<'_>) {
    let text = f.str();
    let Some(ip) = sloppy(text) else { return };
    match text.parse::<IpAddr>() {
        Ok(ip) if !mapped(ip) => {
            if ip.is_ipv6() && ip.to_string() != text {
                f.warn(&format!("IPv6 address {text:?} should be in RFC 5952 canonical format ({:?})", ip.to_string()));
            }
        }
        _ => f.warn(&format!("non-standard IP address {text:?} is invalid: use {:?}", plain(ip).to_string())),
    }
}

/// The same of a network.
pub(crate) fn warn_cidr(f: &Field<'_>) {
    let text = f.str();
    let Some((ip, bits)) = sloppy_cidr(text) else { return };
    let (net, strict) = (network(ip, bits), text.split_once('/').and_then(|(ip, _)| ip.parse::<IpAddr>().ok()));
    let shown = format!("{}/{bits}", plain(net));
    if net != ip {
        let single = if plain(ip).is_ipv4() { 32 } else { 128 };
        f.warn(&format!("CIDR value {text:?} is ambiguous in this context (should be {shown:?} or {:?}?)", format!("{}/{single}", plain(ip))));
    }
    let odd = strict.is_none_or(mapped) || text.split_once('/').is_some_and(|(_, bits)| bits.len() > 1 && bits.starts_with('0'));
    if odd {
        f.warn(&format!("non-standard CIDR value {text:?} is invalid: use {shown:?}"));
    } else if net == ip && ip.is_ipv6() && shown != text {
        f.warn(&format!("IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({shown:?})"));
    }
}

/// An address in its canonical spelling.
pub(crate) fn canonical(f: &Field<'_>, text: &str) {
    if strict(f, text)
        && let Ok(ip) = text.parse::<IpAddr>()
        && ip.to_string() != text
    {
        f.invalid(text, &format!("must be in canonical form ({:?})", ip.to_string()));
    }
}

/// An address and a prefix length, as Go's old parser reads them.
pub(crate) fn sloppy_cidr(s: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = s.split_once('/')?;
    let ip = sloppy(ip)?;
    let max = if ip.is_ipv4() { 32 } else { 128 };
    let bits = (bits.bytes().all(|b| b.is_ascii_digit()) && bits.len() < 10).then(|| bits.parse::<u32>().ok()).flatten().filter(|b| *b <= max)?;
    Some((ip, bits as u8))
}

fn network(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v) => IpAddr::V4(Ipv4Addr::from(u32::from(v) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0))),
        IpAddr::V6(v) => IpAddr::V6(Ipv6Addr::from(u128::from(v) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0))),
    }
}

/// A network in a field that once took any spelling; what the old object has may stay.
pub(crate) fn legacy_cidr(f: &Field<'_>, text: &str, old: &[&str]) {
    if !old.contains(&text) {
        strict_cidr(f, text);
    }
}

fn strict_cidr(f: &Field<'_>, text: &str) -> bool {
    let Some((ip, bits)) = sloppy_cidr(text) else {
        f.invalid(text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return false;
    };
    let (address, length) = text.split_once('/').unwrap_or_default();
    let why = if address.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0')) {
        "must not have leading 0s in IP or prefix length"
    } else if mapped(ip) {
        "must not have an IPv4-mapped IPv6 address"
    } else if network(ip, bits) != ip {
        "must not have bits set beyond the prefix length"
    } else {
        return true;
    };
    f.invalid(text, why);
    false
}

/// An address with the length of its network's prefix, in its canonical spelling.
pub(crate) fn interface(f: &Field<'_>, text: &str) {
    let Some((ip, bits)) = sloppy_cidr(text) else { return f.invalid(text, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)") };
    let (ip, bits) = if ip.is_ipv6() && plain(ip).is_ipv4() { (plain(ip), bits.saturating_sub(96)) } else { (ip, bits) };
    if format!("{ip}/{bits}") != text {
        f.invalid(text, &format!("must be in canonical form ({:?})", format!("{ip}/{bits}")));
    }
}

/// A network in its canonical spelling.
pub(crate) fn canonical_cidr(f: &Field<'_>, text: &str) {
    if strict_cidr(f, text)
        && let Some((ip, bits)) = sloppy_cidr(text)
        && format!("{ip}/{bits}") != text
    {
        f.invalid(text, &format!("must be in canonical form ({:?})", format!("{ip}/{bits}")));
    }
}

pub(crate) fn cidrs_dual_stack(list: &[&str]) -> bool {
    let families: Vec<bool> = list.iter().filter_map(|s| sloppy_cidr(s)).map(|(ip, _)| plain(ip).is_ipv6()).collect();
    families.contains(&true) && families.contains(&false)
}

/// Whether the first network is a part of the second, and smaller.
pub(crate) fn strictly_inside(inner: &str, outer: &str) -> bool {
    let (Some((i, bits)), Some((o, size))) = (sloppy_cidr(inner), sloppy_cidr(outer)) else { return false };
    i.is_ipv4() == o.is_ipv4() && bits > size && network(i, size) == network(o, size)
}

/// An address that traffic can be sent to.
pub(crate) fn endpoint(f: &Field<'_>, text: &str) {
    let Some(ip) = sloppy(text).map(plain) else {
        return f.invalid(text, "must be a valid IP address");
    };
    if ip.is_unspecified() {
        f.invalid(text, &format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        f.invalid(text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, multicast) = match ip {
        IpAddr::V4(v) => (v.is_link_local(), v.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v) => (v.segments()[0] & 0xffc0 == 0xfe80, v.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        f.invalid(text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        f.invalid(text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::passes;
    use skiff_json::Value;

    #[test]
    fn addresses() {
        let address = |s: &str| passes(&Value::Null, |f| legacy(f, s, &[]));
        let net = |s: &str| passes(&Value::Null, |f| canonical_cidr(f, s));
        assert!(address("10.0.0.1") && address("fd00::1") && address("FD00::0:1"));
        assert!(!address("010.0.0.1") && !address("::ffff:1.2.3.4") && !address("1.2.3") && !address(""));
        assert!(sloppy("010.000.0.1") == "10.0.0.1".parse().ok() && sloppy("::ffff:01.2.3.4").is_some());
        assert!(net("10.0.0.0/8") && net("::/0") && !net("10.0.0.1/8") && !net("10.0.0.0/33") && !net("fd00:0::/16"));
        assert!(dual_stack(&["1.2.3.4", "fd00::1"]) && !dual_stack(&["1.2.3.4", "1.2.3.5"]));
    }
}
