//! When an image is pulled. <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Use the one that is here.
    Present,
    Fetch,
    /// It isn't here and may not be fetched.
    Refuse,
}

/// `policy` empty: Always for `:latest` or no tag, otherwise IfNotPresent.
pub fn decide(policy: Option<&str>, image: &str, present: bool) -> Pull {
    let policy = policy.filter(|p| !p.is_empty()).unwrap_or_else(|| default_policy(image));
    match (policy, present) {
        ("Always", _) => Pull::Fetch,
        ("Never", false) => Pull::Refuse,
        (_, true) => Pull::Present,
        (_, false) => Pull::Fetch,
    }
}

pub fn default_policy(image: &str) -> &'static str {
    match tag(image) {
        Tag::None | Tag::Named("latest") => "Always",
        _ => "IfNotPresent",
    }
}

enum Tag<'a> {
    None,
    Named(&'a str),
    Digest,
}
fn tag(image: &str) -> Tag<'_> {
    if image.contains('@') {
        return Tag::Digest;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or(Tag::None, |(_, t)| Tag::Named(t))
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("couldn't parse image name {image:?}: {why}")]
pub struct ImageNameError {
    pub image: String,
    pub why: &'static str,
}

/// The name as it is looked for: with `:latest` when it has neither tag nor digest.
pub fn full_name(image: &str) -> Result<String, ImageNameError> {
    let bad = |why| Err(ImageNameError { image: image.to_owned(), why });
    if image.is_empty() || image.len() > 1024 {
        return bad("invalid reference format");
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(n, d)| (n, Some(d)));
    let slash = name.rfind('/').map_or(0, |i| i + 1);
    let (repository, tag) = match name[slash..].find(':') {
        Some(i) => (&name[..slash + i], Some(&name[slash + i + 1..])),
        None => (name, None),
    };
    let path_ok = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    let mut parts = repository.split('/');
    let host_like = |s: &str| s.contains(['.', ':']) || s == "localhost" || s.starts_with('[');
    if repository.contains('/') && repository.split('/').next().is_some_and(host_like) {
        parts.next();
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) && !repository.split('/').next().is_some_and(host_like) {
        return bad("repository name must be lowercase");
    }
    if !parts.all(path_ok) {
        return bad("invalid reference format");
    }
    if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || !t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))) {
        return bad("invalid reference format");
    }
    if digest.is_some_and(|d| !d.split_once(':').is_some_and(|(_, hex)| hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))) {
        return bad("invalid reference format");
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn policies() {
        for (policy, image, present, want) in [
            (None, "nginx", true, Pull::Fetch),
            (None, "nginx:1.29", true, Pull::Present),
            (None, "nginx:1.29", false, Pull::Fetch),
            (None, "h:5000/nginx", true, Pull::Fetch),
            (Some("Never"), "nginx", false, Pull::Refuse),
            (Some("Never"), "nginx", true, Pull::Present),
            (Some("IfNotPresent"), "nginx", true, Pull::Present),
        ] {
            assert_eq!(decide(policy, image, present), want, "{policy:?} {image}");
        }
    }
    #[test]
    fn names() {
        assert_eq!(full_name("localhost:5000/a/b").unwrap(), "localhost:5000/a/b:latest");
        assert_eq!(full_name("nginx:1").unwrap(), "nginx:1");
        for bad in ["", "Nginx", "a//b", "a:", "a:b c", "busybox@sha256:zz", "invalid.com/Up/x", "some image"] {
            assert!(full_name(bad).is_err(), "{bad}");
        }
    }
}
