//! Variables that point at Services, in the style of Docker links.
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
use k8s_openapi::api::core::v1::Service;

fn env_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// What a pod of namespace `pod_namespace` sees: with `links` its own namespace's Services, and always the API's.
pub fn visible<'a>(services: &'a [Service], pod_namespace: &str, links: bool) -> Vec<&'a Service> {
    let named = |s: &Service, namespace: &str| s.metadata.namespace.as_deref() == Some(namespace);
    let master = |s: &Service| named(s, "default") && s.metadata.name.as_deref() == Some("kubernetes");
    let own = |s: &&Service| links && named(s, pod_namespace);
    let shadowed = links && services.iter().any(|s| named(s, pod_namespace) && s.metadata.name.as_deref() == Some("kubernetes"));
    services.iter().filter(|s| own(s) || (master(s) && !shadowed)).collect()
}

/// The variables, in order; Services without a cluster address give none.
pub fn service_env(services: &[&Service]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for s in services {
        let Some(spec) = &s.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { continue };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let prefix = env_name(s.metadata.name.as_deref().unwrap_or_default());
        out.push((format!("{prefix}_SERVICE_HOST"), ip.to_owned()));
        out.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        for p in ports {
            if let Some(name) = p.name.as_deref().filter(|n| !n.is_empty()) {
                out.push((format!("{prefix}_SERVICE_PORT_{}", env_name(name)), p.port.to_string()));
            }
        }
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        for (i, p) in ports.iter().enumerate() {
            let protocol = p.protocol.as_deref().unwrap_or("TCP").to_uppercase();
            let lower = protocol.to_lowercase();
            let url = format!("{lower}://{host}:{}", p.port);
            if i == 0 {
                out.push((format!("{prefix}_PORT"), url.clone()));
            }
            let port = format!("{prefix}_PORT_{}_{protocol}", p.port);
            out.push((port.clone(), url));
            out.push((format!("{port}_PROTO"), lower));
            out.push((format!("{port}_PORT"), p.port.to_string()));
            out.push((format!("{port}_ADDR"), ip.to_owned()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn links_and_the_api() {
        let services: Vec<Service> = skiff_json::from_str(
            r#"[{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.43.0.1","ports":[{"name":"https","port":443}]}},
                {"metadata":{"name":"my-db","namespace":"ns"},"spec":{"clusterIP":"10.43.0.9","ports":[{"port":5432}]}},
                {"metadata":{"name":"head","namespace":"ns"},"spec":{"clusterIP":"None","ports":[{"port":1}]}}]"#,
        )
        .unwrap();
        let names = |links| service_env(&visible(&services, "ns", links)).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(names(false)[..3], ["KUBERNETES_SERVICE_HOST=10.43.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443"]);
        assert!(names(true).contains(&"MY_DB_PORT_5432_TCP=tcp://10.43.0.9:5432".to_owned()));
        assert!(!names(true).iter().any(|v| v.starts_with("HEAD")));
    }
}
