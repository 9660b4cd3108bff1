//! Authentication and authorisation by files that are followed: who else is believed, and who is asked.
use crate::server::outside::Outside;
use crate::server::reload::{self, File};
use anyhow::Context;
use parking_lot::RwLock;
use skiff_auth::{Chain, Named};
use skiff_delegate::{AccessWebhook, Anonymous, AuthenticationConfig, AuthorizationConfig, AuthorizerEntry, Connection, Issuers, TokenWebhook};
use skiff_policy::Authenticator;
use skiff_request::User;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// An issuer that could not be reached is not tried again so soon, nor asked for keys more often.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Access {
    issuers: Arc<Issuers>,
    webhook: Option<Arc<TokenWebhook>>,
    anonymous: Arc<RwLock<Option<Anonymous>>>,
    chain: Arc<Chain>,
    /// The server's own issuer, which nobody else can be.
    own: Vec<String>,
    authentication: Option<PathBuf>,
    authorization: Option<PathBuf>,
    /// Upstream's `--anonymous-auth=false`.
    nobody: bool,
}

impl Access {
    /// Reads the files; those that are wrong are an error.
    pub fn new(o: &Outside, chain: Arc<Chain>, own: Vec<String>, now: Arc<dyn Fn() -> SystemTime + Send + Sync>) -> anyhow::Result<Arc<Self>> {
        let issuers = Arc::new(Issuers::new(now, PATIENCE));
        if let Some(flags) = o.oidc.clone() {
            let made = flags.authenticator(&own).context("read the oidc flags")?;
            issuers.configure(vec![made]).map_err(anyhow::Error::msg)?;
        }
        let webhook = match &o.token_webhook {
            Some(w) => {
                let connection = Connection::of_kubeconfig(&w.kubeconfig).context("read the token webhook's kubeconfig")?;
                Some(Arc::new(TokenWebhook::new(connection, w.version, own.clone(), w.holds)))
            }
            None => None,
        };
        let this = Self {
            issuers,
            webhook,
            anonymous: Arc::default(),
            chain,
            own,
            authentication: o.authentication.clone(),
            authorization: o.authorization.clone(),
            nobody: o.anonymous == Some(false),
        };
        if let Some(path) = &this.authentication {
            this.authentication(path)?;
        }
        if let Some(path) = &this.authorization {
            this.authorization(path)?;
        }
        Ok(Arc::new(this))
    }

    /// Those who recognise bearer tokens that this server did not give out.
    pub fn authenticators(&self) -> Vec<Arc<dyn Authenticator>> {
        let webhook = self.webhook.clone().map(|w| w as Arc<dyn Authenticator>);
        std::iter::once(self.issuers.clone() as Arc<dyn Authenticator>).chain(webhook).collect()
    }

    /// Who comes without credentials, by path.
    pub fn anonymous(&self) -> Arc<dyn Fn(&str) -> Option<User> + Send + Sync> {
        let (rule, nobody) = (self.anonymous.clone(), self.nobody);
        Arc::new(move |path| match rule.read().as_ref() {
            Some(rule) => rule.user(path),
            None if nobody => None,
            None => skiff_auth::anonymous(path),
        })
    }

    fn authentication(&self, path: &Path) -> anyhow::Result<()> {
        let told = || format!("read the authentication configuration {}", path.display());
        let config = AuthenticationConfig::parse(&File::read(path).with_context(told)?, &self.own).with_context(told)?;
        self.issuers.configure(config.jwt).map_err(anyhow::Error::msg).with_context(told)?;
        *self.anonymous.write() = config.anonymous;
        Ok(())
    }

    fn authorization(&self, path: &Path) -> anyhow::Result<()> {
        let told = || format!("read the authorization configuration {}", path.display());
        let config = AuthorizationConfig::parse(&File::read(path).with_context(told)?).with_context(told)?;
        let mut order: Vec<Named> = Vec::new();
        for entry in config.authorizers {
            order.push(match entry {
                AuthorizerEntry::Node(name) => (name, self.chain.nodes.clone()),
                AuthorizerEntry::Rbac(name) => (name, self.chain.rbac.clone()),
                AuthorizerEntry::Webhook(settings) => (settings.name.clone(), Arc::new(AccessWebhook::new(*settings).with_context(told)?)),
            });
        }
        self.chain.set_order(order);
        Ok(())
    }

    /// Follows the files; what is wrong changes nothing.
    pub fn follow(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let this = self.clone();
        let files = [
            (self.authentication.clone(), Access::authentication as fn(&Access, &Path) -> anyhow::Result<()>),
            (self.authorization.clone(), Access::authorization),
        ];
        for (path, take) in files {
            let Some(path) = path else { continue };
            let (this, mut file) = (this.clone(), File::new(path));
            tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    tokio::time::sleep(reload::EVERY).await;
                    if !file.changed() {
                        continue;
                    }
                    match take(&this, file.path()) {
                        Ok(()) => tracing::info!(target: "auth", file = %file.path().display(), "a configuration was read anew"),
                        Err(e) => tracing::error!(target: "auth", error = format!("{e:#}"), "a configuration is not taken, the one before holds"),
                    }
                }
            }));
        }
    }
}
