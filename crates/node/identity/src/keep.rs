//! The loops that renew a node's certificates.
use crate::{
    CLIENT, IdentityError, SERVING, Serving, client_profile, identity,
    kept::{read, write},
    obtain,
    request::PAUSE,
    serving_profile, user,
};
use k8s_openapi::api::core::v1::Node;
use skiff_client::{Client, tls::Https};
use skiff_pki::Leaf;
use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The clock is looked at this often: machines sleep, clocks are set.
const LOOK: Duration = Duration::from_secs(60);

/// Sleeps until the leaf is to be renewed. One without a readable end is to be renewed at once.
async fn ripe(leaf: &Leaf) {
    let Some((from, until)) = leaf.validity() else { return };
    let at = skiff_pki::renew_at(from, until, rand::random());
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Renews the client certificate in time, for ever.
pub async fn keep_client(client: Client, https: Arc<Https>, node: String, path: PathBuf) {
    loop {
        if let Ok(Some(leaf)) = read(&path) {
            ripe(&leaf).await;
        }
        let renewed = async {
            let leaf = obtain(&client, &CLIENT, &client_profile(&node)).await?;
            write(&path, &leaf)?;
            https.renew(identity(&leaf)).map_err(|e| IdentityError::Client(Box::new(e)))
        };
        match renewed.await {
            Ok(()) => tracing::info!(target: "skiff", "client certificate renewed"),
            Err(e) => {
                tracing::error!(target: "skiff", error = &e as &dyn Error, "client certificate not renewed, trying again");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Gets the certificate of the node agent's server and renews it in time, for ever.
pub async fn keep_serving(client: Client, serving: Arc<Serving>, node: String, address: IpAddr, path: PathBuf) {
    let profile = serving_profile(&node, address);
    loop {
        let usable = |l: &Leaf| l.common_name() == Some(user(&node)) && l.names(&profile);
        if let Some(leaf) = read(&path).ok().flatten().filter(usable) {
            ripe(&leaf).await;
        }
        registered(&client, &node, address).await;
        let renewed = async {
            let leaf = obtain(&client, &SERVING, &profile).await?;
            write(&path, &leaf)?;
            serving.replace(&leaf)
        };
        match renewed.await {
            Ok(()) => tracing::info!(target: "skiff", "serving certificate renewed"),
            Err(e) => {
                tracing::error!(target: "skiff", error = &e as &dyn Error, "serving certificate not renewed, trying again");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Waits until the node has told the API its address: only then is a request for that address approved.
async fn registered(client: &Client, node: &str, address: IpAddr) {
    let mut pause = Duration::from_millis(50);
    let told = |n: Node| n.status.and_then(|s| s.addresses).unwrap_or_default().iter().any(|a| a.address.parse() == Ok(address));
    while !client.find::<Node>("", node).await.is_ok_and(|n| n.is_some_and(told)) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}
