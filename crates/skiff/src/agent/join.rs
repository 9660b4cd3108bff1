//! From a token to a way to the server: who the server is, who this node is, what the cluster is like.
use crate::cli::AgentArgs;
use crate::facts::{self, Facts};
use crate::node::settings::NodeSettings;
use crate::token::Token;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use rustls::CertificateError;
use skiff_client::{
    Client,
    tls::{Endpoint, Https, HttpsError, authority_of},
};
use skiff_identity::{CLIENT, IdentityError, client_profile, identity, kept};
use skiff_meta::{Reason, Status};
use skiff_pki::Leaf;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest pause between two tries to reach the server.
const PAUSE: Duration = Duration::from_secs(5);

/// The token of the command line, the environment or a file. Later starts need none.
pub fn token(args: &AgentArgs) -> anyhow::Result<Option<Token>> {
    match (&args.token, &args.token_file) {
        (Some(text), _) => Token::parse(text.reveal()).context("read --token").map(Some),
        (None, Some(path)) => Token::read(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// What an agent keeps between starts, all in `<data>/agent`.
pub struct Kept(PathBuf);

impl Kept {
    pub fn new(data: &Path) -> Self {
        Self(data.join("agent"))
    }
    fn authority(&self) -> PathBuf {
        self.0.join("tls/server-ca.crt")
    }
    /// Certificate and key in one file, so that they change together.
    pub fn client(&self) -> PathBuf {
        self.0.join("tls/client-kubelet.pem")
    }
    pub fn serving(&self) -> PathBuf {
        self.0.join("tls/serving-kubelet.pem")
    }
    fn facts(&self) -> PathBuf {
        self.0.join("cluster.json")
    }
}

/// Where the server is and as whom to speak to it. Waits for a server that does not answer; a server or a token that is
/// wrong is an error.
pub async fn endpoint(server: &str, n: &NodeSettings, kept: &Kept, token: Option<&Token>) -> anyhow::Result<Endpoint> {
    let authorities = authority(server, kept, token).await?.into_bytes();
    let endpoint = Endpoint { server: server.to_owned(), authorities, server_name: None, identity: None, token: None };
    let user = skiff_identity::user(&n.name);
    let usable = |l: &Leaf| l.common_name().as_deref() == Some(&user) && l.validity().is_some_and(|(_, until)| until > SystemTime::now());
    if let Some(leaf) = kept::read(&kept.client())?.filter(usable) {
        return Ok(Endpoint { identity: Some(identity(&leaf)), ..endpoint });
    }
    let token = token.context("this node has no certificate (any more): it needs --token-file or --token to get one")?;
    let bearer = token.bearer();
    let asking = Endpoint { token: Some(Arc::new(move || Some(bearer.clone()))), ..endpoint.clone() };
    let client = Client::new(Arc::new(Https::new(asking)?), "skiff-agent");
    let leaf = skiff_identity::obtain(&client, &CLIENT, &client_profile(&n.name)).await.map_err(unknown_token).context("get this node's certificate")?;
    kept::write(&kept.client(), &leaf)?;
    tracing::info!(target: "skiff", node = n.name, "joined");
    Ok(Endpoint { identity: Some(identity(&leaf)), ..endpoint })
}

/// Says what to do where nothing but the token can be wrong.
fn unknown_token(e: IdentityError) -> anyhow::Error {
    let unknown = matches!(&e, IdentityError::Refused(s) if s.is(Reason::Unauthorized));
    let e = anyhow::Error::from(e);
    if unknown { e.context("the server does not know the token, or it has expired; `skiff token create` on the server makes another") } else { e }
}

/// The server's certificate authority: the kept one, unless the token names another.
async fn authority(server: &str, kept: &Kept, token: Option<&Token>) -> anyhow::Result<String> {
    let path = kept.authority();
    let of = |pem: &str| skiff_pki::der_of(pem).map(|der| skiff_pki::fingerprint(&der));
    if let Ok(pem) = std::fs::read_to_string(&path)
        && token.is_none_or(|t| of(&pem).as_ref() == Some(&t.fingerprint))
    {
        return Ok(pem);
    }
    let token = token.context("this node does not know its server yet: it needs --token-file or --token")?;
    let mut pause = Duration::from_millis(200);
    loop {
        let wanted = token.fingerprint.clone();
        match authority_of(server, move |der| skiff_pki::fingerprint(der) == wanted).await {
            Ok(der) => {
                let pem = skiff_pki::pem_of(&der);
                skiff_pki::write_public(&path, pem.as_bytes())?;
                return Ok(pem);
            }
            Err(e) if let Some(why) = distrust(&e) => return Err(e).with_context(|| format!("{server} {why}")),
            Err(e @ (HttpsError::Connect { .. } | HttpsError::Silent { .. } | HttpsError::Http { .. })) => {
                tracing::warn!(target: "skiff", server, error = %Status::from(e), "server not reached, trying again");
            }
            Err(e) => return Err(e).with_context(|| format!("reach {server}")),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// Why what the server shows does not prove that it is the server; None when it is not for that that the connection failed.
fn distrust(e: &HttpsError) -> Option<String> {
    let HttpsError::Connect { source, .. } = e else { return None };
    let tls = source.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(why) = tls else { return None };
    Some(match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } | CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "shows a certificate that is not valid now: is this machine's clock right? It says {}",
                skiff_meta::Timestamp::from_system(SystemTime::now())
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "shows a certificate for other names and addresses: start the server with --tls-san and the one that is used here".to_owned()
        }
        _ => "is not the server that the token was made by: its certificate authority is another one".to_owned(),
    })
}

/// The facts of the cluster, as published now; the kept ones while the server does not answer.
pub async fn facts(client: &Client, kept: &Kept) -> anyhow::Result<Facts> {
    let path = kept.facts();
    let mut pause = Duration::from_millis(200);
    loop {
        let e = match client.get::<ConfigMap>(facts::NAMESPACE, facts::NAME).await {
            Ok(map) => {
                let data = map.data.unwrap_or_default();
                let facts = Facts::of(&data).with_context(|| format!("read the ConfigMap {}/{}", facts::NAMESPACE, facts::NAME))?;
                skiff_pki::write_private(&path, &skiff_json::to_vec(&data)?)?;
                return Ok(facts);
            }
            Err(e) => e,
        };
        if e.is(Reason::Unauthorized) {
            bail!("the server no longer takes this node's certificate: {e}");
        }
        if let Ok(bytes) = std::fs::read(&path) {
            let data: BTreeMap<String, String> = skiff_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
            tracing::warn!(target: "skiff", error = %e, "server not reached; going on with what is known of the cluster");
            return Facts::of(&data).with_context(|| format!("read {}", path.display()));
        }
        tracing::warn!(target: "skiff", error = %e, "the cluster's facts cannot be read, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}
