//! Services, endpoints, ingresses and their like.
use super::{Columns, cells::*};
use crate::value::{at, int, list, text};
use skiff_json::Value;

pub fn service() -> Columns {
    Columns::of("Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*", |v, now| {
        let ip = list(v, "spec.clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
        vec![name(v), text(v, "spec.type").into(), ip.into(), external(v).into(), ports(v).into(), age(v, now).into(), labels(v, "spec.selector").into()]
    })
}

/// Addresses or names that a load balancer gave, sorted.
fn balancer(v: &Value) -> Vec<String> {
    let mut all: Vec<String> =
        list(v, "status.loadBalancer.ingress").iter().map(|i| text_or(i, "ip", text(i, "hostname")).to_owned()).filter(|s| !s.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}

fn external(v: &Value) -> String {
    let given: Vec<String> = list(v, "spec.externalIPs").iter().filter_map(|i| i.as_str().map(str::to_owned)).collect();
    let (all, none) = match text(v, "spec.type") {
        "LoadBalancer" => ([balancer(v), given].concat(), "<pending>"),
        "ExternalName" => return text(v, "spec.externalName").to_owned(),
        "ClusterIP" | "NodePort" => (given, "<none>"),
        _ => return "<unknown>".into(),
    };
    or(&joined(all), none).to_owned()
}

fn ports(v: &Value) -> String {
    let all = list(v, "spec.ports").iter().map(|p| match int(p, "nodePort") {
        0 => format!("{}/{}", int(p, "port"), text(p, "protocol")),
        n => format!("{}:{n}/{}", int(p, "port"), text(p, "protocol")),
    });
    or(&joined(all), "<none>").to_owned()
}

pub fn endpoints() -> Columns {
    Columns::of("Name|Endpoints|Age", |v, now| {
        let mut all = Vec::new();
        for s in list(v, "subsets") {
            let addresses = || list(s, "addresses").iter().map(|a| text(a, "ip"));
            let ports = list(s, "ports");
            if ports.is_empty() {
                all.extend(addresses().map(str::to_owned));
            }
            for p in ports {
                all.extend(addresses().map(|a| socket(a, int(p, "port"))));
            }
        }
        vec![name(v), first_three(&all, "<none>").into(), age(v, now).into()]
    })
}
fn socket(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub fn endpoint_slice() -> Columns {
    Columns::of("Name|AddressType|Ports|Endpoints|Age", |v, now| {
        let port = |p: &Value| at(p, "port").map_or_else(|| text_or(p, "name", "*").to_owned(), Value::to_string);
        let ports: Vec<String> = list(v, "ports").iter().map(port).collect();
        let all: Vec<String> = list(v, "endpoints").iter().flat_map(|e| list(e, "addresses")).filter_map(|a| a.as_str().map(str::to_owned)).collect();
        vec![name(v), text(v, "addressType").into(), first_three(&ports, "<unset>").into(), first_three(&all, "<unset>").into(), age(v, now).into()]
    })
}

pub fn ingress() -> Columns {
    Columns::of("Name|Class|Hosts|Address|Ports|Age", |v, now| {
        let rules = list(v, "spec.rules");
        let hosts: Vec<String> = rules.iter().map(|r| text(r, "host").to_owned()).filter(|h| !h.is_empty()).collect();
        let hosts = if hosts.len() > 3 || (rules.len() > 3 && hosts.len() == 3) {
            format!("{} + {} more...", hosts[..3].join(","), rules.len() - 3)
        } else {
            or(&hosts.join(","), "*").to_owned()
        };
        let ports = if list(v, "spec.tls").is_empty() { "80" } else { "80, 443" };
        vec![name(v), text_or(v, "spec.ingressClassName", "<none>").into(), hosts.into(), joined(balancer(v)).into(), ports.into(), age(v, now).into()]
    })
}

pub fn ingress_class() -> Columns {
    Columns::of("Name|Controller|Parameters|Age", |v, now| {
        let default = v["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"] == "true";
        let shown = format!("{}{}", text(v, "metadata.name"), if default { " (default)" } else { "" });
        let parameters = at(v, "spec.parameters").map_or_else(
            || "<none>".to_owned(),
            |p| {
                let group = text(p, "apiGroup");
                let kind = if group.is_empty() { text(p, "kind").to_owned() } else { format!("{}.{group}", text(p, "kind")) };
                format!("{kind}/{}", text(p, "name"))
            },
        );
        vec![shown.into(), text(v, "spec.controller").into(), parameters.into(), age(v, now).into()]
    })
}

pub fn network_policy() -> Columns {
    Columns::of("Name|Pod-Selector|Age", |v, now| vec![name(v), selector(v, "spec.podSelector").into(), age(v, now).into()])
}

pub fn service_cidr() -> Columns {
    Columns::of("Name|CIDRs|Age", |v, now| vec![name(v), joined(list(v, "spec.cidrs").iter().filter_map(Value::as_str)).into(), age(v, now).into()])
}

/// Upstream prints an age and declares no column for it.
pub fn ip_address() -> Columns {
    Columns::of("Name|ParentRef|Age", |v, now| {
        let parent = at(v, "spec.parentRef").map_or_else(
            || "<none>".to_owned(),
            |p| {
                let (resource, group) = (text(p, "resource").to_lowercase(), text(p, "group").to_lowercase());
                let mut s = if group.is_empty() { resource } else { format!("{resource}.{group}") };
                for key in ["namespace", "name"] {
                    if !text(p, key).is_empty() || key == "name" {
                        s = format!("{s}/{}", text(p, key));
                    }
                }
                s
            },
        );
        vec![name(v), parent.into(), age(v, now).into()]
    })
    .declared(2)
}
