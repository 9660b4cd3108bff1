//! What every node must know of its cluster: the server publishes it in a ConfigMap, agents read it there.
use anyhow::Context;
use ipnet::IpNet;
use skiff_meta::is_dns1123_subdomain;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const NAMESPACE: &str = "kube-system";
/// The ConfigMap, and the role that lets nodes read it.
pub const NAME: &str = "skiff-cluster";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Addresses of pods.
    pub pods: Vec<IpNet>,
    /// Addresses of Services.
    pub services: Vec<IpNet>,
    pub dns: IpAddr,
    pub domain: String,
    /// Signs the certificates of those who may ask a node agent, PEM.
    pub client_ca: String,
}

impl Facts {
    pub fn data(&self) -> BTreeMap<String, String> {
        let list = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        [
            ("cluster-cidr", list(&self.pods)),
            ("service-cidr", list(&self.services)),
            ("cluster-dns", self.dns.to_string()),
            ("cluster-domain", self.domain.clone()),
            ("client-ca.crt", self.client_ca.clone()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
    /// The error names the key.
    pub fn of(data: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let text = |key: &str| data.get(key).filter(|v| !v.is_empty()).cloned().with_context(|| format!("{key} is missing"));
        let nets = |key: &str| -> anyhow::Result<Vec<IpNet>> {
            text(key)?.split(',').map(|n| n.parse().with_context(|| format!("{key}: {n:?} is no network"))).collect()
        };
        let domain = text("cluster-domain")?;
        is_dns1123_subdomain(&domain).map_err(|_| anyhow::anyhow!("cluster-domain: {domain:?} is no domain"))?;
        let dns = text("cluster-dns")?;
        Ok(Self {
            pods: nets("cluster-cidr")?,
            services: nets("service-cidr")?,
            dns: dns.parse().with_context(|| format!("cluster-dns: {dns:?} is no address"))?,
            domain,
            client_ca: text("client-ca.crt")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let facts = Facts {
            pods: vec!["10.42.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
            services: vec!["10.43.0.0/16".parse().unwrap()],
            dns: "10.43.0.10".parse().unwrap(),
            domain: "cluster.local".into(),
            client_ca: "pem".into(),
        };
        assert_eq!(Facts::of(&facts.data()).unwrap(), facts);
        for (key, bad) in [("cluster-cidr", "10.42.0.0"), ("cluster-dns", "x"), ("cluster-domain", "a b"), ("client-ca.crt", "")] {
            let mut data = facts.data();
            data.insert(key.into(), bad.into());
            assert!(Facts::of(&data).unwrap_err().to_string().contains(key), "{key}");
        }
    }
}
