//! The few fields of manifests, indexes and configurations that an image store needs, and the choice of a platform.

use std::collections::BTreeMap;

use serde::Deserialize;
use skiff_cri::ImageConfig;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// What we ask registries for.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

#[derive(Clone, Debug, Deserialize)]
pub struct Descriptor {
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    #[serde(default, rename = "mediaType")]
    pub media_type: String,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: String,
}

impl Platform {
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "x86" => ("386", ""),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Whether something made for `other` runs here; a better variant is a higher number.
    fn suits(&self, other: &Platform) -> Option<u8> {
        if other.os != self.os || other.architecture != self.architecture {
            return None;
        }
        let number = |variant: &str| variant.trim_start_matches('v').parse::<u8>().ok();
        match (number(&self.variant), number(&other.variant)) {
            (_, None) => Some(0),
            // amd64/v2 and such are more than we promise.
            (None, Some(v)) => (v <= 1).then_some(1),
            (Some(ours), Some(v)) => (v <= ours).then_some(v),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

#[derive(Clone, Debug)]
pub enum Manifest {
    Image { config: Descriptor, layers: Vec<Descriptor> },
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
struct RawManifest {
    #[serde(default, rename = "schemaVersion")]
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub fn decode(what: &str, bytes: &[u8], limits: &Limits) -> Result<Self> {
        let raw: RawManifest = json(what, bytes)?;
        let malformed = |reason: String| Error::Malformed { what: what.to_owned(), reason };
        match raw {
            RawManifest { manifests: Some(manifests), .. } => Ok(Self::Index(manifests)),
            RawManifest { config: Some(config), layers: Some(layers), .. } if layers.len() <= limits.layers => Ok(Self::Image { config, layers }),
            RawManifest { layers: Some(layers), config: Some(_), .. } => {
                Err(malformed(format!("{} layers are more than the limit of {}", layers.len(), limits.layers)))
            }
            RawManifest { schema_version: 1, .. } => Err(malformed("manifests of schema version 1 are not supported".to_owned())),
            _ => Err(malformed("it is neither an image manifest nor an index".to_owned())),
        }
    }
}

/// The entry of an index that suits the platform best, the first among equals.
pub fn choose<'a>(manifests: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let mut best: Option<(u8, &Descriptor)> = None;
    for entry in manifests {
        let score = match &entry.platform {
            Some(theirs) => platform.suits(theirs),
            // An index of a single image often leaves it out.
            None => (manifests.len() == 1).then_some(0),
        };
        if let Some(score) = score
            && best.is_none_or(|(found, _)| score > found)
        {
            best = Some((score, entry));
        }
    }
    best.map(|(_, entry)| entry)
}

/// The configuration of an image: how to run it, and the digests of its expanded layers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub run: ImageConfig,
    pub diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawConfig {
    config: Option<RawRun>,
    rootfs: RawRootfs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRootfs {
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RawRun {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, skiff_json::Value>>,
    labels: Option<BTreeMap<String, String>>,
}

impl Config {
    pub fn decode(what: &str, bytes: &[u8]) -> Result<Self> {
        let raw: RawConfig = json(what, bytes)?;
        let run = raw.config.unwrap_or_default();
        Ok(Self {
            run: ImageConfig {
                entrypoint: run.entrypoint.unwrap_or_default(),
                cmd: run.cmd.unwrap_or_default(),
                env: run.env.unwrap_or_default(),
                working_dir: run.working_dir.unwrap_or_default(),
                user: run.user.unwrap_or_default(),
                stop_signal: run.stop_signal.filter(|s| !s.is_empty()),
                volumes: run.volumes.unwrap_or_default().into_keys().collect(),
                labels: run.labels.unwrap_or_default(),
            },
            diff_ids: raw.rootfs.diff_ids,
        })
    }
}

pub(crate) fn json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T> {
    skiff_json::from_slice(bytes).map_err(|source| Error::Json { what: what.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(architecture: &str, variant: &str) -> Descriptor {
        Descriptor {
            digest: Digest::of(format!("{architecture}{variant}").as_bytes()),
            size: 1,
            media_type: String::new(),
            platform: Some(Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_best_variant_that_runs_is_chosen() {
        let host = |a: &str, v: &str| Platform { os: "linux".into(), architecture: a.into(), variant: v.into() };
        let index = [entry("arm", "v5"), entry("arm", "v7"), entry("arm64", "v8"), entry("amd64", "v3"), entry("amd64", "")];
        for (platform, expected) in [
            (host("amd64", ""), Some(entry("amd64", ""))),
            (host("arm", "v7"), Some(entry("arm", "v7"))),
            (host("arm", "v6"), Some(entry("arm", "v5"))),
            (host("arm64", "v8"), Some(entry("arm64", "v8"))),
            (host("s390x", ""), None),
        ] {
            let chosen = choose(&index, &platform).map(|d| d.digest.clone());
            assert_eq!(chosen, expected.map(|d| d.digest), "{platform} {}", platform.variant);
        }
    }
}
