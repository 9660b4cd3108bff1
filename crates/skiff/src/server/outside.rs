//! What is configured by upstream's own files and flags: encryption, authentication, authorisation.
use crate::cli::ServerArgs;
use anyhow::{Context, bail};
use skiff_delegate::OidcFlags;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Default, Debug)]
pub struct Outside {
    pub encryption: Option<PathBuf>,
    pub authentication: Option<PathBuf>,
    pub authorization: Option<PathBuf>,
    pub oidc: Option<OidcFlags>,
    pub token_webhook: Option<TokenWebhookFlags>,
    /// Upstream's `--anonymous-auth`: false lets nobody in without credentials.
    pub anonymous: Option<bool>,
}

#[derive(Debug, PartialEq)]
pub struct TokenWebhookFlags {
    pub kubeconfig: PathBuf,
    pub version: &'static str,
    pub holds: Duration,
}

/// The names of `--kube-apiserver-arg` that are understood.
const KNOWN: [&str; 15] = [
    "encryption-provider-config",
    "authentication-config",
    "authorization-config",
    "anonymous-auth",
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-required-claim",
    "oidc-ca-file",
    "oidc-signing-algs",
    "authentication-token-webhook-config-file",
    "authentication-token-webhook-cache-ttl",
];

impl Outside {
    pub fn of(a: &ServerArgs) -> anyhow::Result<Self> {
        let mut out = Self::parse(&a.kube_apiserver_arg)?;
        for (own, flag) in [
            (&mut out.encryption, &a.encryption_provider_config),
            (&mut out.authentication, &a.authentication_config),
            (&mut out.authorization, &a.authorization_config),
        ] {
            if flag.is_some() {
                own.clone_from(flag);
            }
        }
        if out.authentication.is_some() && out.oidc.is_some() {
            bail!("--authentication-config and oidc-* flags exclude each other: move the issuer into the file");
        }
        if out.authentication.is_some() && out.anonymous.is_some() {
            bail!("--authentication-config and anonymous-auth exclude each other: say it in the file");
        }
        Ok(out)
    }

    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut out = Self::default();
        let (mut oidc, mut any) = (OidcFlags::default(), false);
        let (mut webhook, mut holds, mut version) = (None, Duration::from_secs(120), "v1beta1");
        for arg in args {
            let (name, value) =
                arg.trim_start_matches("--").split_once('=').with_context(|| format!("--kube-apiserver-arg {arg:?} is not of the form name=value"))?;
            let text = || value.to_owned();
            any |= name.starts_with("oidc-");
            match name {
                "encryption-provider-config" => out.encryption = Some(value.into()),
                "authentication-config" => out.authentication = Some(value.into()),
                "authorization-config" => out.authorization = Some(value.into()),
                "anonymous-auth" => out.anonymous = Some(value.parse().with_context(|| format!("--kube-apiserver-arg {arg:?} must be true or false"))?),
                "oidc-issuer-url" => oidc.issuer = text(),
                "oidc-client-id" => oidc.client_id = text(),
                "oidc-username-claim" => oidc.username_claim = text(),
                "oidc-username-prefix" => oidc.username_prefix = text(),
                "oidc-groups-claim" => oidc.groups_claim = text(),
                "oidc-groups-prefix" => oidc.groups_prefix = text(),
                "oidc-required-claim" => {
                    for pair in value.split(',') {
                        let (k, v) = pair.split_once('=').with_context(|| format!("--kube-apiserver-arg {arg:?} must name claim=value"))?;
                        oidc.required.push((k.to_owned(), v.to_owned()));
                    }
                }
                "oidc-ca-file" => oidc.ca = Some(std::fs::read_to_string(value).with_context(|| format!("read {value}"))?),
                "oidc-signing-algs" => oidc.algorithms = value.split(',').map(str::to_owned).collect(),
                "authentication-token-webhook-config-file" => webhook = Some(PathBuf::from(value)),
                "authentication-token-webhook-cache-ttl" => {
                    holds = seconds(value).with_context(|| format!("--kube-apiserver-arg {arg:?} is no duration such as 2m"))?
                }
                "authentication-token-webhook-version" if value == "v1" => version = "v1",
                "authentication-token-webhook-version" if value == "v1beta1" => version = "v1beta1",
                _ => bail!("--kube-apiserver-arg {name:?} is not known; known are {}", KNOWN.join(", ")),
            }
        }
        out.oidc = any.then_some(oidc);
        out.token_webhook = webhook.map(|kubeconfig| TokenWebhookFlags { kubeconfig, version, holds });
        Ok(out)
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> anyhow::Result<Outside> {
        Outside::parse(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn upstreams_flags() {
        let o =
            of(&["oidc-issuer-url=https://a", "--oidc-client-id=c", "oidc-required-claim=a=b,c=d", "oidc-signing-algs=RS256,ES256", "anonymous-auth=false"])
                .unwrap();
        let oidc = o.oidc.unwrap();
        assert_eq!(
            (oidc.issuer.as_str(), oidc.client_id.as_str(), oidc.required.len(), oidc.algorithms.len(), o.anonymous),
            ("https://a", "c", 2, 2, Some(false))
        );
        let o = of(&["authentication-token-webhook-config-file=/k", "authentication-token-webhook-cache-ttl=10s"]).unwrap();
        assert_eq!(o.token_webhook, Some(TokenWebhookFlags { kubeconfig: "/k".into(), version: "v1beta1", holds: Duration::from_secs(10) }));
        assert!(o.oidc.is_none());
        for bad in ["oidc", "etcd-servers=x", "anonymous-auth=maybe", "authentication-token-webhook-cache-ttl=soon", "oidc-required-claim=a"] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }
}
