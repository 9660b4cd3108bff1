//! Which secrets a pod refers to, and whether its account lists them.
use crate::value;
use skiff_json::Value;

/// Whether the pod refers to any secret at all.
pub(crate) fn any(pod: &Value) -> bool {
    let containers = ["containers", "initContainers", "ephemeralContainers"].into_iter().flat_map(|k| value::list(pod, &format!("spec.{k}")));
    let by_env = containers.flat_map(references).next().is_some();
    by_env || !value::list(pod, "spec.imagePullSecrets").is_empty() || value::list(pod, "spec.volumes").iter().any(volume_refers)
}

/// Volume sources that carry the name of a secret, at whatever key their driver has it.
fn volume_refers(volume: &Value) -> bool {
    let direct = ["secret", "azureFile"].iter().any(|k| value::at(volume, k).is_some());
    let by_ref =
        volume.as_object().into_iter().flat_map(|m| m.values()).any(|s| ["secretRef", "nodePublishSecretRef"].iter().any(|k| value::at(s, k).is_some()));
    direct || by_ref || value::list(volume, "projected.sources").iter().any(|s| value::at(s, "secret").is_some())
}

/// What a container takes from secrets: the variable (empty for a whole secret) and the secret's name.
fn references(container: &Value) -> impl Iterator<Item = (&str, &str)> {
    let one = value::list(container, "env")
        .iter()
        .filter(|e| value::at(e, "valueFrom.secretKeyRef").is_some())
        .map(|e| (value::text(e, "name"), value::text(e, "valueFrom.secretKeyRef.name")));
    let whole = value::list(container, "envFrom").iter().filter(|e| value::at(e, "secretRef").is_some()).map(|e| ("", value::text(e, "secretRef.name")));
    one.chain(whole)
}

fn names<'a>(account: &'a Value, key: &str) -> Vec<&'a str> {
    value::list(account, key).iter().map(|s| value::text(s, "name")).collect()
}

/// Why the pod may not run as the account, if it mounts what the account does not list.
pub(super) fn of_pod(account: &Value, pod: &Value) -> Option<String> {
    let (allowed, who) = (names(account, "secrets"), value::text(account, "metadata.name"));
    for v in value::list(pod, "spec.volumes").iter().filter(|v| value::at(v, "secret").is_some()) {
        let secret = value::text(v, "secret.secretName");
        if !allowed.contains(&secret) {
            return Some(format!("volume with secret.secretName=\"{secret}\" is not allowed because service account {who} does not reference that secret"));
        }
    }
    of_containers(account, pod, "initContainers", "init container").or_else(|| of_containers(account, pod, "containers", "container")).or_else(|| {
        let pull = names(account, "imagePullSecrets");
        let (i, bad) = value::list(pod, "spec.imagePullSecrets").iter().map(|s| value::text(s, "name")).enumerate().find(|(_, s)| !pull.contains(s))?;
        Some(format!("imagePullSecrets[{i}].name=\"{bad}\" is not allowed because service account {who} does not reference that imagePullSecret"))
    })
}

pub(super) fn of_debugging(account: &Value, pod: &Value) -> Option<String> {
    of_containers(account, pod, "ephemeralContainers", "ephemeral container")
}

fn of_containers(account: &Value, pod: &Value, key: &str, what: &str) -> Option<String> {
    let (allowed, who) = (names(account, "secrets"), value::text(account, "metadata.name"));
    for c in value::list(pod, &format!("spec.{key}")) {
        if let Some((var, secret)) = references(c).find(|(_, s)| !allowed.contains(s)) {
            let how = if var.is_empty() { "with envFrom".to_owned() } else { format!("with envVar {var}") };
            let name = value::text(c, "name");
            return Some(format!(
                "{what} {name} {how} referencing secret.secretName=\"{secret}\" is not allowed because service account {who} does not reference that secret"
            ));
        }
    }
    None
}
