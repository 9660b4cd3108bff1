//! Files of a volume that would lie on or under each other.
use crate::field::Field;

/// A path, and what it is made of where a volume has several sources.
#[derive(Clone, PartialEq)]
struct Place {
    path: String,
    source: String,
}

impl Place {
    fn shown(&self) -> String {
        if self.source.is_empty() { format!("{:?}", self.path) } else { format!("{:?} ({})", self.path, self.source) }
    }
    fn meets(&self, other: &Place) -> bool {
        let (a, b) = (format!("{}/", self.path), format!("{}/", other.path));
        !self.path.is_empty() && !other.path.is_empty() && (self == other || a.starts_with(&b) || b.starts_with(&a))
    }
}

pub(super) fn warn(volumes: &Field<'_>) {
    for v in volumes.items() {
        let name = v.inside("name").str();
        for (member, naming, kind) in [("configMap", "name", "ConfigMap"), ("secret", "secretName", "Secret"), ("downwardAPI", "", "DownwardAPI")] {
            let source = v.at(member);
            let what = if naming.is_empty() { kind.to_owned() } else { format!("{kind} {:?}", source.inside(naming).str()) };
            overlaps(volumes, name, &what, items(&source, ""));
        }
        projected(volumes, name, &v.at("projected").at("sources"));
    }
}

fn projected(volumes: &Field<'_>, name: &str, sources: &Field<'_>) {
    let mut all = Vec::new();
    for s in sources.items() {
        if s.value().as_object().is_none_or(|m| m.values().all(skiff_json::Value::is_null)) {
            volumes.warn_whole(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        all.extend(places(&s));
    }
    overlaps(volumes, name, "Projected", all);
}

fn places(s: &Field<'_>) -> Vec<Place> {
    let one = |path: Field<'_>, source: String| vec![Place { path: path.str().to_owned(), source }];
    let member = |m: &'static str| Some(s.at(m)).filter(Field::exists);
    if let Some(m) = member("configMap").filter(|m| m.at("items").exists()) {
        return items(&m, &format!("ConfigMap {:?}", m.inside("name").str()));
    }
    if let Some(m) = member("secret").filter(|m| m.at("items").exists()) {
        return items(&m, &format!("Secret {:?}", m.inside("name").str()));
    }
    if let Some(m) = member("downwardAPI").filter(|m| m.at("items").exists()) {
        return items(&m, "DownwardAPI");
    }
    if let Some(m) = member("serviceAccountToken") {
        return one(m.at("path"), "ServiceAccountToken".into());
    }
    if let Some(m) = member("clusterTrustBundle") {
        let name = m.inside("name").text().unwrap_or(m.inside("signerName").str());
        return one(m.at("path"), format!("ClusterTrustBundle {name:?}"));
    }
    let Some(m) = member("podCertificate") else { return Vec::new() };
    let files =
        [("certificateChainPath", "PodCertificate chain"), ("keyPath", "PodCertificate key"), ("credentialBundlePath", "PodCertificate credential bundle")];
    files.into_iter().filter(|(f, _)| !m.at(f).str().is_empty()).flat_map(|(f, source)| one(m.at(f), source.into())).collect()
}

fn items(source: &Field<'_>, what: &str) -> Vec<Place> {
    source.at("items").items().map(|i| Place { path: i.inside("path").str().to_owned(), source: what.to_owned() }).collect()
}

fn overlaps(volumes: &Field<'_>, name: &str, what: &str, places: Vec<Place>) {
    let mut before: Vec<Place> = Vec::new();
    for mut p in places {
        p.path.truncate(p.path.trim_end_matches('/').len());
        for other in before.iter().filter(|o| p.meets(o)) {
            volumes.warn_whole(format!("volume {name:?} ({what}): overlapping paths: {} with {}", p.shown(), other.shown()));
        }
        before.push(p);
    }
}
