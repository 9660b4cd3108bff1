//! How errors print the value that they are about: as Go prints it.
use skiff_json::Value;
pub(crate) use skiff_meta::go::quote;
use skiff_schema::{Kind, Ty, Type};
use std::fmt::Write;

/// A value in an error; None prints none.
pub trait Show {
    fn shown(&self) -> Option<String>;
}

/// No value.
pub struct Omitted;
/// JSON text that is ready.
pub struct Json(pub String);

impl Show for Omitted {
    fn shown(&self) -> Option<String> {
        None
    }
}
impl Show for Json {
    fn shown(&self) -> Option<String> {
        Some(self.0.clone())
    }
}
impl Show for i64 {
    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }
}
impl Show for bool {
    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }
}
impl Show for &str {
    fn shown(&self) -> Option<String> {
        Some(quote(self))
    }
}
impl Show for &String {
    fn shown(&self) -> Option<String> {
        Some(quote(self))
    }
}
impl Show for &Value {
    fn shown(&self) -> Option<String> {
        Some(match self {
            Value::String(s) => quote(s),
            v => json(v),
        })
    }
}
impl Show for Value {
    fn shown(&self) -> Option<String> {
        (&self).shown()
    }
}

/// A value as errors show it.
pub fn shown(v: &Value) -> String {
    v.shown().unwrap_or_default()
}

/// Go's json.Marshal: `<`, `>` and `&` escaped. Canonical JSON has the order of keys that Go writes already.
pub(crate) fn json(v: &Value) -> String {
    let mut out = String::new();
    write_json(v, &mut out);
    out
}

fn write_json(v: &Value, out: &mut String) {
    match v {
        Value::Object(m) => {
            out.push('{');
            for (i, (k, v)) in m.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                text(k, out);
                out.push(':');
                write_json(v, out);
            }
            out.push('}');
        }
        Value::Array(a) => {
            out.push('[');
            for (i, v) in a.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json(v, out);
            }
            out.push(']');
        }
        Value::String(s) => text(s, out),
        v => {
            let _ = write!(out, "{v}");
        }
    }
}

fn text(s: &str, out: &mut String) {
    let plain = skiff_json::to_string(s).unwrap_or_default();
    for c in plain.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
}

/// JSON as upstream keeps it in fields of its own API; [`internal`] is for what it keeps in its inner types.
pub(crate) fn own(v: &Value) -> Json {
    Json(json(v))
}

/// A selector by labels: what it has empty is left out.
pub(crate) fn selector(v: &Value) -> Json {
    own(&filled(v))
}

fn hollow(v: &Value) -> bool {
    v.as_array().is_some_and(Vec::is_empty) || v.as_object().is_some_and(|m| m.is_empty())
}

/// A struct whose lists and maps are left out when they are empty.
fn filled(v: &Value) -> Value {
    match v {
        Value::Object(m) => Value::Object(m.iter().filter(|(_, v)| !hollow(v)).map(|(k, v)| (k.clone(), filled(v))).collect()),
        Value::Array(a) => a.iter().map(filled).collect(),
        v => v.clone(),
    }
}

/// A struct as upstream's inner types print it: every field, by its Go name, with zeros and nulls.
pub(crate) fn internal(name: &str, v: &Value) -> Json {
    let Some(ty) = skiff_schema::by_name(name) else { return own(v) };
    let mut out = String::new();
    structure(ty, v, &mut out);
    Json(out)
}

/// A list of structs, as [`internal`] prints one.
pub(crate) fn internals(name: &str, v: &Value) -> Json {
    let Some(list) = v.as_array() else { return Json("null".into()) };
    let all: Vec<String> = list.iter().map(|v| internal(name, v).0).collect();
    Json(format!("[{}]", all.join(",")))
}

fn structure(ty: &'static Type, v: &Value, out: &mut String) {
    // Types of the meta package are the same inside and outside.
    if ty.name.starts_with("io.k8s.apimachinery") {
        return write_json(&filled(if v.is_null() { &EMPTY } else { v }), out);
    }
    out.push('{');
    let start = out.len();
    for f in ty.fields {
        if f.name == "metadata" {
            // Embedded without a name, so that its fields stand among the others.
            for (k, v) in v.get(f.name).and_then(Value::as_object).into_iter().flatten().filter(|(_, v)| !hollow(v)) {
                separate(start, out);
                text(k, out);
                out.push(':');
                write_json(v, out);
            }
            continue;
        }
        if ty.is_kind && matches!(f.name, "kind" | "apiVersion") {
            continue;
        }
        separate(start, out);
        let _ = write!(out, "\"{}\":", go_name(ty.name, f.name));
        match v.get(f.name).filter(|v| !v.is_null()) {
            None if f.pointer => out.push_str("null"),
            given => of(&f.ty, given.unwrap_or(&Value::Null), out),
        }
    }
    out.push('}');
}

fn separate(start: usize, out: &mut String) {
    if out.len() > start {
        out.push(',');
    }
}

static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Default::default()));

fn of(ty: &Ty, v: &Value, out: &mut String) {
    match &ty.kind {
        Kind::Ref(s) => structure(s, v, out),
        Kind::List(item) => match v.as_array() {
            None => out.push_str("null"),
            Some(list) => {
                out.push('[');
                for (i, v) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    of(item, v, out);
                }
                out.push(']');
            }
        },
        _ if !v.is_null() => write_json(v, out),
        kind => out.push_str(zero(kind)),
    }
}

fn zero(kind: &Kind) -> &'static str {
    match kind {
        Kind::String => "\"\"",
        Kind::Int32 | Kind::Int64 | Kind::Float64 | Kind::IntOrString => "0",
        Kind::Bool => "false",
        Kind::Quantity => "\"0\"",
        _ => "null",
    }
}

/// Words that Go writes in capitals where a name begins with them.
const CAPITALS: [(&str, &str); 13] = [
    ("http", "HTTP"),
    ("tcp", "TCP"),
    ("dns", "DNS"),
    ("gce", "GCE"),
    ("aws", "AWS"),
    ("ip", "IP"),
    ("api", "API"),
    ("fs", "FS"),
    ("seLinux", "SELinux"),
    ("ttl", "TTL"),
    ("gmsa", "GMSA"),
    ("qos", "QOS"),
    ("ssl", "SSL"),
];

/// The Go name that upstream's inner types give a field of a type, by its JSON name.
fn go_name(ty: &str, name: &str) -> String {
    let ty = ty.rsplit('.').next().unwrap_or_default();
    let known = match (ty, name) {
        ("GlusterfsVolumeSource" | "GlusterfsPersistentVolumeSource", "endpoints") => "EndpointsName",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "monitors") => "CephMonitors",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "image") => "RBDImage",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "pool") => "RBDPool",
        ("RBDVolumeSource" | "RBDPersistentVolumeSource", "user") => "RadosUser",
        ("IngressRuleValue", "http") => "HTTP",
        ("ContainerStatus", "lastState") => "LastTerminationState",
        (_, "pdName") => "PDName",
        (_, "iscsiInterface") => "ISCSIInterface",
        (_, "chapAuthDiscovery") => "DiscoveryCHAPAuth",
        (_, "chapAuthSession") => "SessionCHAPAuth",
        (_, "wwids") => "WWIDs",
        (_, "diskURI") => "DataDiskURI",
        (_, "externalID") => "DoNotUseExternalID",
        (_, "osImage") => "OSImage",
        (_, "reportingComponent") => "ReportingController",
        (_, "clusterIP") => "ClusterIP",
        (_, "cephfs") => "CephFS",
        (_, "storageos") => "StorageOS",
        (_, "cidrs") => "CIDRs",
        (_, "serviceAccount") => "DeprecatedServiceAccount",
        (_, "uid" | "gid" | "ip" | "tty" | "csi" | "nfs" | "rbd" | "fc" | "os" | "iscsi" | "cel" | "grpc" | "iqn" | "tls" | "cidr") => {
            return name.to_uppercase();
        }
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    for (prefix, go) in CAPITALS {
        if let Some(rest) = name.strip_prefix(prefix)
            && rest.chars().next().is_some_and(char::is_uppercase)
        {
            return format!("{go}{rest}");
        }
    }
    let mut chars = name.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json as j;

    #[test]
    fn as_go_prints() {
        assert_eq!(quote("a\"b\n\u{1}é"), "\"a\\\"b\\n\\x01é\"");
        assert_eq!(json(&j!({"b": "<", "a": [1, null]})), r#"{"b":"\u003c","a":[1,null]}"#);
        assert_eq!(internal("io.k8s.api.apps.v1.DeploymentStrategy", &j!({"type": "x"})).0, r#"{"Type":"x","RollingUpdate":null}"#);
        assert_eq!(internal("io.k8s.api.core.v1.ProbeHandler", &j!({})).0.matches("GRPC").count(), 1);
        let windows = internal("io.k8s.api.core.v1.WindowsSecurityContextOptions", &j!({"gmsaCredentialSpec": "x"})).0;
        assert_eq!(windows, r#"{"GMSACredentialSpecName":null,"GMSACredentialSpec":"x","RunAsUserName":null,"HostProcess":null}"#);
        assert!(internal("io.k8s.api.core.v1.ISCSIVolumeSource", &j!({"iqn": "q"})).0.contains(r#""IQN":"q","Lun":0,"ISCSIInterface":"""#));
        assert!(internal("io.k8s.api.core.v1.RBDVolumeSource", &j!({"user": "u"})).0.contains(r#""RadosUser":"u""#));
        // Selectors leave out what is empty, however it was sent.
        let spread = internal(
            "io.k8s.api.core.v1.TopologySpreadConstraint",
            &j!({"labelSelector": {"matchLabels": {}, "matchExpressions": [{"key": "k", "values": []}]}}),
        )
        .0;
        assert!(spread.contains(r#""LabelSelector":{"matchExpressions":[{"key":"k"}]},"#), "{spread}");
    }
}
