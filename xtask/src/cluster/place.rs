//! Numbers that must differ between two clusters of one machine.

/// First of the second bytes that clusters on other ports than the default share.
const FIRST: u16 = 100;
/// How many clusters fit.
const MANY: u16 = 60;

/// The port of the node agent beside an API on `port`, never a port below 1024.
pub fn kubelet_port(port: u16) -> u16 {
    match port.checked_add(4000) {
        Some(p) => p,
        None => port - 4000,
    }
}

/// The second byte of a cluster's pod addresses, 10.<n>.0.0/16; its Services have the next. Nodes of several have 198.18.<n>.0/24. The port decides where to
/// look first, so that the same port gives the same addresses; what `routes` (/proc/net/route) already has is passed by.
pub fn network(port: u16, routes: &str) -> u8 {
    let taken = taken(routes);
    let pair = |i: u16| (FIRST + (port % MANY + i) % MANY * 2) as u8;
    let first = if port == super::DEFAULT_PORT { Some(42) } else { None };
    let free = |n: &u8| !taken.contains(n) && !taken.contains(&(n + 1));
    first.into_iter().chain((0..MANY).map(pair)).find(free).unwrap_or_else(|| pair(0))
}

/// The second bytes of routes into 10.0.0.0/8, and the third ones of routes into 198.18.0.0/16, which nodes of several have. Addresses are little-endian hexadecimal there.
fn taken(routes: &str) -> Vec<u8> {
    let destinations = routes.lines().skip(1).filter_map(|l| u32::from_str_radix(l.split_whitespace().nth(1)?, 16).ok());
    destinations
        .map(u32::to_le_bytes)
        .filter_map(|a| match a {
            [10, n, ..] | [198, 18, n, _] => Some(n),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_taken_are_passed_by() {
        let routes = "Iface\tDestination\tGateway\neth0\t00000000\t0100000A\nskiff\t00002A0A\t00000000\nother\t0000670A\t0\n";
        assert_eq!(taken(routes), [42, 103]);
        assert_eq!(taken("Iface\tDestination\ns1-up\t006612C6\n"), [102]);
        assert_eq!(network(6443, ""), 42);
        assert_ne!(network(6443, routes), 42);
        assert_eq!(network(7201, ""), 102);
        assert_eq!(network(7201, routes), 104);
        assert!((0..=u16::MAX).all(|p| network(p, "") <= 254));
    }

    #[test]
    fn ports() {
        assert_eq!(kubelet_port(6443), 10443);
        assert_eq!(kubelet_port(65000), 61000);
    }
}
