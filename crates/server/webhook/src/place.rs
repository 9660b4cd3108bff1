//! Where a webhook is, as its declaration says it.
use base64::Engine as _;
use skiff_json::Value;
use std::sync::Arc;

/// Where a Service's port is at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Finds a ready backend of a Service; the error is what clients are told.
pub trait Resolve: Send + Sync + 'static {
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<Endpoint, String>;
}

/// The `clientConfig` of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: At,
    /// PEM; empty: the machine's trust store.
    pub ca: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Url(String),
    Service { namespace: String, name: String, port: u16, path: String },
    Nowhere,
}

impl Place {
    /// Reads a `clientConfig`.
    pub fn read(config: &Value) -> Self {
        let ca = base64::engine::general_purpose::STANDARD.decode(config["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        let ca: Arc<[u8]> = if ca.iter().all(u8::is_ascii_whitespace) { Arc::new([]) } else { ca.into() };
        Self { at: At::read(config), ca }
    }

    /// The address as errors show it; `query` is the request's.
    pub fn shown(&self, query: &str) -> Result<String, String> {
        match &self.at {
            At::Nowhere => Err("could not get REST client: webhook configuration must have either service or URL".into()),
            At::Url(url) => Ok(format!("{}?{query}", url.trim_end_matches('?'))),
            At::Service { namespace, name, port, path } => Ok(format!("https://{name}.{namespace}.svc:{port}{path}?{query}")),
        }
    }
}

impl At {
    fn read(config: &Value) -> Self {
        let service = &config["service"];
        if service.is_object() {
            let port = service["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443);
            let text = |k: &str| service[k].as_str().unwrap_or_default().to_owned();
            let path = text("path");
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            return At::Service { namespace: text("namespace"), name: text("name"), port, path };
        }
        match config["url"].as_str().unwrap_or_default() {
            "" => At::Nowhere,
            url => At::Url(url.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn client_configurations() {
        let service = Place::read(&json!({"caBundle": "Cg==", "service": {"namespace": "n", "name": "s", "path": "x"}}));
        assert_eq!(service.at, At::Service { namespace: "n".into(), name: "s".into(), port: 443, path: "/x".into() });
        assert_eq!(service.ca.len(), 0, "white space is no authority");
        assert_eq!(service.shown("timeout=3s").unwrap(), "https://s.n.svc:443/x?timeout=3s");
        let url = Place::read(&json!({"caBundle": "YQ==", "url": "https://a/b"}));
        assert_eq!((url.shown("t=1").unwrap().as_str(), &*url.ca), ("https://a/b?t=1", b"a".as_slice()));
        assert!(Place::read(&Value::Null).shown("").is_err());
    }
}
