//! What extends the API or its trust: APIServices, ClusterTrustBundles.
use crate::{certificates, field::Field, names};

/// Largest trust bundle, in bytes.
const BUNDLE: usize = 1 << 20;

pub(crate) fn service(v: &Field<'_>) {
    let (spec, name) = (v.at("spec"), v.at("metadata").at("name"));
    let (group, version) = (spec.at("group"), spec.at("version"));
    let required = format!("{}.{}", version.str(), group.str());
    for given in [v.at("metadata").at("generateName"), name] {
        if !given.str().is_empty() && given.str() != required {
            given.invalid(given.str(), &format!("must be `spec.version+\".\"+spec.group`: {required:?}"));
        }
    }
    if group.str().is_empty() {
        if !version.is("v1") {
            group.required("only v1 may have an empty group and it better be legacy kube");
        }
    } else {
        group.check(names::dns1123_subdomain);
    }
    version.check(names::dns1035_label);
    for (path, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.at(path);
        if !(1..=most).contains(&priority.int()) {
            priority.invalid(priority.int(), &format!("must be positive and less than {most}"));
        }
    }
    backend(&spec);
}

/// Where the group version is served: in this server, or by a Service.
fn backend(spec: &Field<'_>) {
    let (service, bundle, insecure) = (spec.at("service"), spec.at("caBundle"), spec.at("insecureSkipTLSVerify"));
    if !service.exists() {
        if !bundle.str().is_empty() {
            bundle.invalid(format!("{} bytes", bundle.str().len() / 4 * 3).as_str(), "local APIServices may not have a caBundle");
        }
        if insecure.flag() {
            insecure.invalid(true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for key in ["namespace", "name"] {
        if service.at(key).str().is_empty() {
            service.at(key).required("");
        }
    }
    let port = service.at("port");
    if !(1..=65_535).contains(&port.int()) {
        port.invalid(port.int(), "port is not valid: must be between 1 and 65535, inclusive");
    }
    if insecure.flag() && !bundle.str().is_empty() {
        insecure.invalid(true, "may not be true if caBundle is present");
    }
}

pub(crate) fn service_status(new: &Field<'_>, _old: &Field<'_>) {
    for c in new.at("status").at("conditions").items() {
        c.at("status").if_any_of(&["True", "False", "Unknown"]);
    }
}

pub(crate) fn bundle(v: &Field<'_>) {
    named(v);
    let anchors = v.at("spec").at("trustBundle");
    if anchors.str().len() > BUNDLE {
        anchors.too_long(BUNDLE);
        return;
    }
    for why in skiff_pki::check_anchors(anchors.str()) {
        anchors.invalid("<value omitted>", &why);
    }
}

pub(crate) fn bundle_update(new: &Field<'_>, old: &Field<'_>) {
    if new.inside("spec.trustBundle").str() == old.inside("spec.trustBundle").str() {
        named(new);
    } else {
        bundle(new);
    }
    let signer = new.at("spec").at("signerName");
    if signer.str() != old.inside("spec.signerName").str() {
        signer.invalid(signer.str(), "field is immutable");
    }
}

/// The name begins with the signer's, if there is one; so does what a name is generated from.
fn named(v: &Field<'_>) {
    let signer = v.at("spec").at("signerName");
    for part in ["generateName", "name"] {
        let name = v.at("metadata").at(part);
        if !name.str().is_empty() {
            prefixed(&name, signer.str());
        }
    }
    if !signer.str().is_empty() {
        certificates::signer_name(&signer);
    }
}

fn prefixed(name: &Field<'_>, signer: &str) {
    let prefix = format!("{}:", signer.replace('/', ":"));
    let rest = match name.str().strip_prefix(&prefix) {
        _ if signer.is_empty() && name.str().contains(':') => {
            return name.invalid(name.str(), "ClusterTrustBundle without signer name must not have \":\" in its name");
        }
        _ if signer.is_empty() => name.str(),
        None => return name.invalid(name.str(), &format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")),
        Some(rest) => rest,
    };
    for message in names::dns1123_subdomain(rest) {
        name.invalid(name.str(), &message);
    }
}

#[cfg(test)]
mod tests {
    use crate::validate_create;
    use skiff_json::json;

    const ANCHOR: &str = "-----BEGIN CERTIFICATE-----\n\
         MIIBcTCCARegAwIBAgIUVxIS0/liAUWX5bOX8EAmHulXF68wCgYIKoZIzj0EAwIw\n\
         DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI1MjIyMjM5WhgPMjEyNjExMDEyMjIyMzla\n\
         MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElvBpcNXp\n\
         E3TqQYQqRHwmlr+H5Ukwy4JQr5AxoG7HRyelEcAf0jjlARCCCaEneQ+og3Hob1Om\n\
         IyV5esZUq4HnuqNTMFEwHQYDVR0OBBYEFLE+Cn2xQ5E8L6LsQQBl4h3p/7gzMB8G\n\
         A1UdIwQYMBaAFLE+Cn2xQ5E8L6LsQQBl4h3p/7gzMA8GA1UdEwEB/wQFMAMBAf8w\n\
         CgYIKoZIzj0EAwIDSAAwRQIhAI5IzCz/yuX+0ROGRALbLoRWPLunbm/Y5N+3Hl6P\n\
         BBZ8AiAassOh02xGvMYISK/kVa/4NGqiRem7fHbwAaZRjMogRw==\n\
         -----END CERTIFICATE-----\n";

    #[test]
    fn anchors_are_there_once() {
        let bundle = json!({"metadata": {"name": "x"}, "spec": {"trustBundle": format!("{ANCHOR}{ANCHOR}")}});
        let told: Vec<String> = validate_create("certificates.k8s.io", "ClusterTrustBundle", &bundle).into_iter().map(|c| c.message).collect();
        assert_eq!(told, ["Invalid value: \"<value omitted>\": duplicate trust anchor (indices [0 1])"]);
    }

    #[test]
    fn names_say_what_they_are_for() {
        let service =
            |name: &str| json!({"metadata": {"name": name}, "spec": {"group": "g.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}});
        assert!(validate_create("apiregistration.k8s.io", "APIService", &service("v1.g.example")).is_empty());
        assert_eq!(validate_create("apiregistration.k8s.io", "APIService", &service("v2.g.example")).len(), 1);
        let bundle = |name: &str| json!({"metadata": {"name": name}, "spec": {"signerName": "e.example/s", "trustBundle": ANCHOR}});
        assert!(validate_create("certificates.k8s.io", "ClusterTrustBundle", &bundle("e.example:s:x")).is_empty());
        assert_eq!(validate_create("certificates.k8s.io", "ClusterTrustBundle", &bundle("x")).len(), 1);
    }
}
