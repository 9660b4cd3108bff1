//! The Container Device Interface: what a device's name means for a container. Pure, but for [`read`].
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>
use serde::Deserialize;
use skiff_cri::{ContainerConfig, Device, Mount};
use std::path::{Path, PathBuf};

/// Where drivers put their specifications; later folders win.
pub const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A specification is read up to so many bytes.
const LIMIT: u64 = 4 << 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    kind: String,
    devices: Vec<Named>,
    container_edits: Edits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    name: String,
    container_edits: Edits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Bind>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
    permissions: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bind {
    host_path: PathBuf,
    container_path: PathBuf,
    options: Vec<String>,
}

/// All specifications of the folders. A file that is none is told of and left out.
pub fn read(folders: &[PathBuf]) -> Vec<Spec> {
    let mut all = Vec::new();
    for folder in folders {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.retain(|p| p.extension().is_some_and(|e| e == "json" || e == "yaml" || e == "yml"));
        files.sort();
        for file in files {
            match parse(&file) {
                Ok(spec) => all.push(spec),
                Err(why) => tracing::warn!(target: "node", file = %file.display(), why, "no specification of devices"),
            }
        }
    }
    all
}

fn parse(file: &Path) -> Result<Spec, String> {
    if std::fs::metadata(file).map_err(|e| e.to_string())?.len() > LIMIT {
        return Err(format!("it is larger than {LIMIT} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    serde_saphyr::from_str(&text).map_err(|e| e.to_string())
}

/// Gives a container the devices of these names. The error names one that nobody specifies.
pub fn apply(config: &mut ContainerConfig, names: &[String], specs: &[Spec]) -> Result<(), String> {
    let mut general: Vec<&str> = Vec::new();
    for name in names {
        let unknown = || format!("unresolvable CDI devices {name}");
        let (kind, device) = name.split_once('=').ok_or_else(unknown)?;
        let found = specs.iter().rev().filter(|s| s.kind == kind).find_map(|s| Some((s, s.devices.iter().find(|d| d.name == device)?)));
        let (spec, device) = found.ok_or_else(unknown)?;
        if !general.contains(&kind) {
            general.push(kind);
            edit(config, &spec.container_edits);
        }
        edit(config, &device.container_edits);
    }
    Ok(())
}

fn edit(config: &mut ContainerConfig, e: &Edits) {
    config.env.extend(e.env.iter().filter_map(|v| v.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
    config.devices.extend(e.device_nodes.iter().map(|n| Device {
        host_path: n.host_path.clone().unwrap_or_else(|| n.path.clone()),
        container_path: n.path.clone(),
        permissions: n.permissions.clone().filter(|p| !p.is_empty()).unwrap_or_else(|| "rwm".into()),
    }));
    let has = |m: &Bind, option: &str| m.options.iter().any(|o| o == option);
    config.mounts.extend(e.mounts.iter().map(|m| Mount {
        host_path: m.host_path.clone(),
        container_path: m.container_path.clone(),
        readonly: has(m, "ro"),
        ..Mount::default()
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_cri::ImageId;

    #[test]
    fn a_device_edits_its_container() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("gpu.json"),
            r#"{"cdiVersion":"0.6.0","kind":"gpu.example.com/gpu","containerEdits":{"env":["ALL=1"]},"devices":[{"name":"a","containerEdits":{"env":["GPU=a"],"deviceNodes":[{"path":"/dev/gpu","hostPath":"/dev/null"}],"mounts":[{"hostPath":"/lib/gpu","containerPath":"/lib/gpu","options":["ro","bind"]}]}},{"name":"b","containerEdits":{}}]}"#,
        )
        .unwrap();
        std::fs::write(dir.path().join("bad.yaml"), "kind: [").unwrap();
        let specs = read(&[dir.path().to_owned(), "/nowhere".into()]);
        let mut config = ContainerConfig::new("c", ImageId::new("i"));
        apply(&mut config, &["gpu.example.com/gpu=a".into(), "gpu.example.com/gpu=b".into()], &specs).unwrap();
        assert_eq!(config.env, [("ALL".to_owned(), "1".to_owned()), ("GPU".to_owned(), "a".to_owned())]);
        assert_eq!((config.devices[0].host_path.to_str(), config.devices[0].permissions.as_str()), (Some("/dev/null"), "rwm"));
        assert!(config.mounts[0].readonly);
        assert_eq!(apply(&mut config, &["gpu.example.com/gpu=c".into()], &specs), Err("unresolvable CDI devices gpu.example.com/gpu=c".into()));
    }
}
