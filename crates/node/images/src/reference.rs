//! Image references: parsed as the distribution project defines them, made canonical as container runtimes store them
//! (`nginx` is `docker.io/library/nginx:latest`).

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Longest repository name that registries accept.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host and optional port.
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses a familiar or full name; without tag and digest the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason| Error::Reference { reference: text.chars().take(300).collect(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| bad("the digest is not sha256:<64 hex>"))?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest);
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !valid_registry(registry) {
            return Err(bad("the registry is not a host name"));
        }
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            return Err(bad("the tag has a character that is not allowed, or is too long"));
        }
        if repository.is_empty() || repository.len() > MAX_REPOSITORY || !repository.split('/').all(valid_component) {
            return Err(bad("the repository has to be lower-case path components"));
        }
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let repository = if registry == "docker.io" && !repository.contains('/') { format!("library/{repository}") } else { repository.to_owned() };
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// `registry/repository`
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name under which a pull of this reference is recorded: a digest wins over a tag.
    pub fn canonical(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.name()),
            (None, Some(tag)) => format!("{}:{tag}", self.name()),
            (None, None) => self.name(),
        }
    }

    /// What is asked of a registry: the digest, or else the tag.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The first component is a registry only when it looks like a host.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase()) => (first, rest),
        _ => ("docker.io", text),
    }
}

fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                let port = if after.is_empty() { None } else { after.strip_prefix(':').or(Some("x")) };
                return address.parse::<std::net::Ipv6Addr>().is_ok() && port.is_none_or(valid_port);
            }
            None => return false,
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !l.starts_with('-') && !l.ends_with('-');
    host.split('.').all(label) && port.is_none_or(valid_port)
}

fn valid_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn valid_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Alphanumeric runs separated by `.`, `_`, `__` or dashes.
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(*first)
        && alphanumeric(*last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_canonical() {
        let hex = "a".repeat(64);
        for (given, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.29", "docker.io/library/nginx:1.29".to_owned()),
            ("org/app", "docker.io/org/app:latest".to_owned()),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("localhost/app:x", "localhost/app:x".to_owned()),
            ("127.0.0.1:5000/a/b__c:v1", "127.0.0.1:5000/a/b__c:v1".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            (&format!("quay.io/a/b@sha256:{hex}"), format!("quay.io/a/b@sha256:{hex}")),
            (&format!("quay.io/a/b:v1@sha256:{hex}"), format!("quay.io/a/b@sha256:{hex}")),
        ] {
            assert_eq!(Reference::parse(given).map(|r| r.canonical()).ok(), Some(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "Nginx", "a//b", "a/../b", "a:", "a@sha256:12", "a b", "-a", "reg.io:99999/a", "a:-x", "../x", "/x"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
