//! Sources of volumes, of pods and of PersistentVolumes.
use crate::{
    field::{Field, range},
    names,
    show::own,
    volume,
};

/// No step of the path leads up.
pub(crate) fn no_backsteps(f: &Field<'_>, path: &str) {
    if path.split('/').any(|p| p == "..") {
        f.invalid(path, "must not contain '..'");
    }
}
/// A relative path that stays below.
pub(crate) fn descending(f: &Field<'_>, path: &str) {
    if path.starts_with('/') {
        f.invalid(path, "must be a relative path");
    }
    no_backsteps(f, path);
}
/// A relative path whose name is not reserved either.
pub(crate) fn local_path(f: &Field<'_>) {
    descending(f, f.str());
    if f.str().starts_with("..") && !f.str().starts_with("../") {
        f.invalid(f.str(), "must not start with '..'");
    }
}
pub(crate) fn mode(f: &Field<'_>) {
    if f.exists() && !(0..=0o777).contains(&f.int()) {
        f.invalid(f.int(), "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
fn given(f: &Field<'_>) {
    if f.is_empty() {
        f.required("");
    }
}

pub(super) fn empty_dir(f: &Field<'_>) {
    let limit = f.at("sizeLimit");
    if limit.str().parse::<skiff_meta::Quantity>().is_ok_and(|q| q < skiff_meta::Quantity::ZERO) {
        limit.forbidden("SizeLimit field must be a valid resource quantity");
    }
}

pub(super) fn ephemeral(f: &Field<'_>) {
    let template = f.at("volumeClaimTemplate");
    if !template.exists() {
        return template.required("");
    }
    let meta = template.at("metadata");
    crate::labels::annotations(&meta.at("annotations"));
    crate::labels::labels(&meta.at("labels"));
    for (shown, key) in
        [("name", "name"), ("generateName", "generateName"), ("namespace", "namespace"), ("ownerReferences", "ownerReferences"), ("finalizers", "finalizers")]
    {
        if meta.at(key).exists() {
            meta.under(key, shown).forbidden("cannot be set");
        }
    }
    volume::claim_spec(&template.at("spec"), false);
}

pub(super) fn key_to_path(f: &Field<'_>) {
    given(&f.at("key"));
    given(&f.at("path"));
    local_path(&f.at("path"));
    mode(&f.at("mode"));
}

fn items(f: &Field<'_>) {
    mode(&f.at("defaultMode"));
    for i in f.at("items").items() {
        key_to_path(&i);
    }
}

/// Fields that a source must have, and nothing more.
const NEEDED: [(&str, &[&str]); 15] = [
    ("persistentVolumeClaim", &["claimName"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cephfs", &["monitors"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("azureFile", &["secretName", "shareName"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("configMap", &["name"]),
    ("cinder", &["volumeID"]),
    ("gitRepo", &["repository"]),
];

/// The rules of the source of kind `kind` at `f`.
pub(crate) fn of(f: &Field<'_>, kind: &str) {
    for part in NEEDED.iter().filter(|(k, _)| *k == kind).flat_map(|(_, parts)| *parts) {
        given(&f.at(part));
    }
    match kind {
        "hostPath" => host_path(f),
        "gitRepo" => descending(&f.at("directory"), f.at("directory").str()),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let p = f.at("partition");
            if !(0..=255).contains(&p.int()) {
                p.invalid(p.int(), &range(1, 255));
            }
        }
        "secret" | "configMap" => items(f),
        "nfs" => {
            given(&f.at("server"));
            given(&f.at("path"));
            if !f.at("path").str().starts_with('/') {
                f.at("path").invalid(f.at("path").str(), "must be an absolute path");
            }
        }
        "iscsi" => iscsi(f, "must be valid format starting with iqn, eui, or naa"),
        "cinder" => secret_name(f),
        "flocker" => flocker(f),
        "quobyte" => quobyte(f),
        "fc" => fc(f),
        "flexVolume" => flex(f),
        "azureDisk" => azure_disk(f),
        "storageos" => {
            storage_os(f);
            secret_name(f);
        }
        "csi" => {
            driver(&f.at("driver"));
            let secret = f.at("nodePublishSecretRef");
            if secret.exists() && secret.at("name").str().is_empty() {
                secret.at("name").required("");
            } else if secret.exists() {
                f.at("name").check_text(secret.at("name").str(), names::dns1123_subdomain);
            }
        }
        _ => {}
    }
}

fn secret_name(f: &Field<'_>) {
    if f.at("secretRef").exists() {
        given(&f.at("secretRef").at("name"));
    }
}

pub(crate) fn host_path(f: &Field<'_>) {
    let path = f.at("path");
    if path.str().is_empty() {
        return path.required("");
    }
    no_backsteps(&path, path.str());
    f.at("type").optional_of(&["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"]);
}

pub(crate) fn iscsi(f: &Field<'_>, unknown: &str) {
    given(&f.at("targetPortal"));
    let iqn = f.at("iqn");
    if iqn.str().is_empty() {
        iqn.required("");
    } else {
        initiator(&iqn, iqn.str(), unknown);
    }
    f.at("lun").in_range(0, 255);
    if (f.at("chapAuthDiscovery").flag() || f.at("chapAuthSession").flag()) && !f.at("secretRef").exists() {
        f.at("secretRef").required("");
    }
    if let Some(name) = f.at("initiatorName").text() {
        initiator(&f.at("initiatorname"), name, unknown);
    }
}

fn initiator(f: &Field<'_>, text: &str, unknown: &str) {
    let alphanumeric = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric());
    let fixed = |n: usize| text.chars().count() == n + 4 && text.char_indices().nth(4).is_some_and(|(i, _)| alphanumeric(&text[i..]));
    let fits = match text.get(..3) {
        Some("iqn") => iqn(text),
        Some("eui") => fixed(16),
        Some("naa") => fixed(32),
        _ => return f.invalid(text, unknown),
    };
    if !fits {
        f.invalid(text, "must be valid format");
    }
}

/// `iqn.2001-04.com.example:storage`.
fn iqn(text: &str) -> bool {
    static SHAPE: std::sync::LazyLock<Option<regex::Regex>> =
        std::sync::LazyLock::new(|| regex::Regex::new(r"iqn\.\d{4}-\d{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\s]+)$").ok());
    SHAPE.as_ref().is_none_or(|r| r.is_match(text))
}

fn flocker(f: &Field<'_>) {
    let (name, uuid) = (f.at("datasetName"), f.at("datasetUUID"));
    if name.str().is_empty() && uuid.str().is_empty() {
        f.required("one of datasetName and datasetUUID is required");
    }
    if !name.str().is_empty() && !uuid.str().is_empty() {
        f.invalid("resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.str().contains('/') {
        name.invalid(name.str(), "must not contain '/'");
    }
}

fn quobyte(f: &Field<'_>) {
    let registry = f.at("registry");
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    if registry.str().is_empty() {
        registry.required(PAIRS);
    } else if f.at("tenant").str().len() >= 65 {
        f.at("tenant").required("must be a UUID and may not exceed a length of 64 characters");
    } else if registry.str().split(',').any(|p| p.rsplit_once(':').is_none_or(|(h, _)| h.contains(':') && !(h.starts_with('[') && h.ends_with(']')))) {
        registry.invalid(registry.str(), PAIRS);
    }
    given(&f.at("volume"));
}

fn fc(f: &Field<'_>) {
    let (wwns, wwids, lun) = (f.at("targetWWNs"), f.at("wwids"), f.at("lun"));
    if wwns.list().is_empty() && wwids.list().is_empty() {
        wwns.required("must specify either targetWWNs or wwids, but not both");
    }
    if !wwns.list().is_empty() && !wwids.list().is_empty() {
        wwns.invalid(own(wwns.value()), "targetWWNs and wwids can not be specified simultaneously");
    }
    if !wwns.list().is_empty() {
        if !lun.exists() {
            lun.required("lun is required if targetWWNs is specified");
        } else {
            lun.in_range(0, 255);
        }
    }
}

pub(crate) fn flex(f: &Field<'_>) {
    given(&f.at("driver"));
    for (k, o) in f.at("options").entries() {
        let domain = format!(".{}", k.split('/').next().unwrap_or(k).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            o.invalid(k, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn azure_disk(f: &Field<'_>) {
    given(&f.at("diskName"));
    given(&f.at("diskURI"));
    f.at("cachingMode").optional_of(&["None", "ReadOnly", "ReadWrite"]);
    f.at("kind").optional_of(&["Dedicated", "Managed", "Shared"]);
    let uri = f.at("diskURI");
    match f.at("kind").text() {
        Some("Managed") if !uri.str().starts_with("/subscriptions/") => {
            uri.unsupported(uri.str(), &["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"])
        }
        Some(k) if k != "Managed" && !uri.str().starts_with("https://") => {
            uri.unsupported(uri.str(), &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"])
        }
        _ => {}
    }
}

pub(crate) fn storage_os(f: &Field<'_>) {
    let (name, namespace) = (f.at("volumeName"), f.at("volumeNamespace"));
    if name.str().is_empty() {
        name.required("");
    } else {
        name.check(names::dns1123_label);
    }
    if !namespace.str().is_empty() {
        namespace.check(names::dns1123_label);
    }
}

/// The name of a CSI driver.
pub(crate) fn driver(f: &Field<'_>) {
    let name = f.str();
    if name.is_empty() {
        return f.required("");
    }
    if name.len() > 63 {
        f.too_long(63);
    }
    for m in names::dns1123_subdomain(&name.to_lowercase()) {
        f.invalid(name, &m);
    }
}
