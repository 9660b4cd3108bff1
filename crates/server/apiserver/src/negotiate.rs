//! Which form an answer takes: the Accept header against what can be made.
use skiff_meta::{Reason, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself.
    Whole,
    Table,
    Metadata,
    /// Metadata of a list; an object alone is none.
    MetadataList,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub encoding: Encoding,
    pub shape: Shape,
    pub pretty: bool,
    /// The version of `meta.k8s.io` that tables and bare metadata are told in.
    pub meta: &'static str,
    /// `as=APIGroupDiscoveryList`: its version.
    pub discovery: Option<String>,
    /// Told instead of the encoding's own.
    pub media: Option<&'static str>,
}

impl Form {
    pub fn media_type(&self) -> &'static str {
        self.media.unwrap_or(self.encoding.media_type())
    }
}

/// What tables and bare metadata are told in when nobody asks for another version.
const META: &str = "v1";

impl Form {
    pub const JSON: Form = Form { encoding: Encoding::Json, shape: Shape::Whole, pretty: false, meta: META, discovery: None, media: None };
}

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

struct Clause<'a> {
    media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    weight: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut all: Vec<Clause<'_>> = accept
        .split(',')
        .map(|c| {
            let mut parts = c.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let params: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
            let weight = params.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Clause { media, params, weight }
        })
        .filter(|c| !c.media.is_empty() && c.weight > 0.0)
        .collect();
    // Stable: clauses of one weight stay in the client's order.
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    all
}

fn encoding(media: &str) -> Option<Encoding> {
    Some(match media {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
        _ => return None,
    })
}

/// The shape, and of tables and bare metadata the version of their group.
fn shape(params: &[(&str, &str)]) -> Option<(Shape, &'static str, Option<String>)> {
    let param = |key| params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let version = ["v1", "v1beta1"].into_iter().find(|v| param("v") == Some(v));
    let meta = param("g") == Some("meta.k8s.io") && version.is_some();
    let version = version.unwrap_or(META);
    let converts = param("g").is_some() || param("v").is_some();
    match param("as") {
        None if converts => None,
        None => Some((Shape::Whole, META, None)),
        Some("Table") if meta => Some((Shape::Table, version, None)),
        Some("PartialObjectMetadata") if meta => Some((Shape::Metadata, version, None)),
        Some("PartialObjectMetadataList") if meta => Some((Shape::MetadataList, version, None)),
        Some("APIGroupDiscoveryList") if param("g") == Some("apidiscovery.k8s.io") && param("v") == Some("v2") => {
            Some((Shape::Whole, META, Some("v2".to_owned())))
        }
        Some(_) => None,
    }
}

/// Whether the parameters about streams and servers' versions ask for what there is.
fn streams(params: &[(&str, &str)], encoding: Encoding) -> bool {
    params.iter().all(|(k, v)| match *k {
        "stream" => v.is_empty() || (*v == "watch" && encoding != Encoding::Yaml),
        "sv" => v.is_empty(),
        _ => true,
    })
}

/// What a watch answers when its events cannot be written in the form chosen.
pub(crate) fn no_stream() -> Status {
    Status::new(
        Reason::NotAcceptable,
        "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
    )
}

/// Whether an OpenAPI document of this version goes out as protobuf; None when it can be made in no form asked for.
pub(crate) fn openapi_protobuf(accept: Option<&str>, version: u8) -> Option<bool> {
    let accept = accept.map(str::trim).filter(|a| !a.is_empty()).unwrap_or("*/*");
    clauses(accept).iter().find_map(|c| match c.media {
        "application/json" | "application/*" | "*/*" => Some(false),
        other => {
            let rest = other.strip_prefix("application/com.github.proto-openapi.spec.v")?.strip_suffix("v1.0+protobuf")?;
            ["@", "."].iter().any(|between| rest == format!("{version}{between}")).then_some(true)
        }
    })
}

/// What can be made of an answer beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shapes {
    Nothing,
    /// Metadata alone, but no Table.
    Metadata,
    All,
}

impl Shapes {
    fn has(self, shape: Shape) -> bool {
        match self {
            Shapes::Nothing => shape == Shape::Whole,
            Shapes::Metadata => shape != Shape::Table,
            Shapes::All => true,
        }
    }
}

/// The first clause that can be met. `protobuf`: whether the answer has a protobuf form (custom resources have none).
pub(crate) fn negotiate(accept: Option<&str>, pretty: bool, protobuf: bool, shapes: Shapes) -> Result<Form, Status> {
    let accept = accept.unwrap_or_default().trim();
    if accept.is_empty() {
        return Ok(Form { pretty, ..Form::JSON });
    }
    // Media types alone are looked at before anything knows what is asked for.
    if protobuf && clauses(accept).iter().all(|c| c.media == "application/*" || encoding(c.media).is_none()) {
        return Err(Status::generic(
            Reason::NotAcceptable,
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ));
    }
    for c in clauses(accept) {
        let Some(encoding) = encoding(c.media) else { continue };
        let Some((shape, meta, discovery)) = shape(&c.params) else { continue };
        if !streams(&c.params, encoding) {
            continue;
        }
        // Tables have no protobuf form.
        if (encoding == Encoding::Protobuf && (shape == Shape::Table || (!protobuf && shape == Shape::Whole))) || !shapes.has(shape) {
            continue;
        }
        let pretty = pretty || c.params.iter().any(|(k, v)| *k == "pretty" && *v == "1");
        return Ok(Form { encoding, shape, pretty, meta, discovery, media: None });
    }
    let media = if protobuf { "application/json, application/yaml, application/vnd.kubernetes.protobuf" } else { "application/json, application/yaml" };
    Err(Status::new(Reason::NotAcceptable, format!("only the following media types are accepted: {media}")))
}

/// A refused watch is told of the streams, too.
pub(crate) fn name_streams(refusal: &mut Status) {
    if refusal.message.starts_with("406: ") {
        refusal.message += ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn accept_headers() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (accept, encoding, shape) in [
            ("", Encoding::Json, Shape::Whole),
            ("*/*", Encoding::Json, Shape::Whole),
            (table, Encoding::Json, Shape::Table),
            ("application/json;q=0.5, application/yaml", Encoding::Yaml, Shape::Whole),
            ("application/vnd.kubernetes.protobuf,application/json", Encoding::Protobuf, Shape::Whole),
            ("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Encoding::Protobuf, Shape::Metadata),
        ] {
            let f = negotiate(Some(accept), false, true, Shapes::All).unwrap();
            assert_eq!((f.encoding, f.shape), (encoding, shape), "{accept}");
        }
        for (version, like) in [("v1", "Table"), ("v1beta1", "Table"), ("v1beta1", "PartialObjectMetadata"), ("v1beta1", "PartialObjectMetadataList")] {
            let accept = format!("application/json;as={like};v={version};g=meta.k8s.io");
            assert_eq!(negotiate(Some(&accept), false, true, Shapes::All).unwrap().meta, version, "{accept}");
        }
        for refused in [
            "text/plain",
            "application/*",
            "application/json;stream=foo",
            "application/yaml;stream=watch",
            "application/json;sv=v1",
            "application/json;g=meta.k8s.io;v=v1",
            "application/json;as=Table;v=v9;g=meta.k8s.io",
        ] {
            assert_eq!(negotiate(Some(refused), false, true, Shapes::All).unwrap_err().code, 406, "{refused}");
        }
        for taken in ["application/json;stream=watch", "text/plain, */*;q=0.1", "application/*, application/json"] {
            assert_eq!(negotiate(Some(taken), false, true, Shapes::All).unwrap().encoding, Encoding::Json, "{taken}");
        }
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(negotiate(Some(table), false, true, Shapes::Metadata).unwrap_err().code, 406);
        assert_eq!(negotiate(Some(&table.replace("Table", "PartialObjectMetadata")), false, true, Shapes::Metadata).unwrap().shape, Shape::Metadata);
        assert_eq!(openapi_protobuf(Some("text/plain"), 2), None);
        for (media, version, want) in
            [("v2@v1.0", 2, Some(true)), ("v2.v1.0", 2, Some(true)), ("v3.v1.0", 3, Some(true)), ("v3@v1.0", 3, Some(true)), ("v2.v1.0", 3, Some(false))]
        {
            let accept = format!("application/com.github.proto-openapi.spec.{media}+protobuf,application/json");
            assert_eq!(openapi_protobuf(Some(&accept), version), want, "{accept}");
        }
        assert_eq!((openapi_protobuf(None, 2), openapi_protobuf(Some("*/*"), 3)), (Some(false), Some(false)));
        let discovery = |v: &str| {
            negotiate(Some(&format!("application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList")), false, false, Shapes::Nothing)
                .map(|f| f.discovery)
        };
        assert_eq!(discovery("v2").unwrap().as_deref(), Some("v2"));
        assert_eq!(discovery("v2beta1").unwrap_err().code, 406);
        assert_eq!(negotiate(Some("application/*"), false, false, Shapes::All).unwrap().encoding, Encoding::Json);
        assert_eq!(negotiate(Some("application/vnd.kubernetes.protobuf"), false, false, Shapes::All).unwrap_err().code, 406);
    }
}
