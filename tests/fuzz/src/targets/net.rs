//! What comes over the network, and what the kernel answers.

use hickory_proto::op::Message;
use skiff_dns::Zone;
use skiff_netlink::Attributes;

pub fn dns(data: &[u8]) {
    let Ok(message) = Message::from_vec(data) else { return };
    let Some(zone) = Zone::new("cluster.local") else { return };
    zone.read(|index| {
        for query in &message.queries {
            let _ = skiff_dns::answer(index, query.name(), query.query_type());
        }
    });
}

pub fn resolv_conf(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = skiff_dns::upstreams_of(text, &[[10, 0, 0, 1].into()]);
    }
}

fn walk(attributes: Attributes<'_>, depth: usize) {
    for a in attributes {
        let _ = (a.as_str(), a.as_u32(), a.as_be32(), a.as_ip());
        if depth < 8 {
            walk(a.nested(), depth + 1);
        }
    }
}

pub fn netlink(data: &[u8]) {
    walk(Attributes::new(data), 0);
    let _ = Attributes::new(data).find(3);
}
