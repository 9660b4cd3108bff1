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

impl Form {
    pub const JSON: Form = Form { encoding: Encoding::Json, shape: Shape::Whole, pretty: false, discovery: None, media: None };
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

fn shape(params: &[(&str, &str)]) -> Option<(Shape, Option<String>)> {
    let param = |key| params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    let meta = param("g") == Some("meta.k8s.io") && matches!(param("v"), Some("v1" | "v1beta1"));
    match param("as") {
        None => Some((Shape::Whole, None)),
        Some("Table") if meta => Some((Shape::Table, None)),
        Some("PartialObjectMetadata") if meta => Some((Shape::Metadata, None)),
        Some("PartialObjectMetadataList") if meta => Some((Shape::MetadataList, None)),
        Some("APIGroupDiscoveryList") if param("g") == Some("apidiscovery.k8s.io") => Some((Shape::Whole, Some(param("v").unwrap_or_default().to_owned()))),
        Some(_) => None,
    }
}

/// The first clause that can be met. `protobuf`: whether the answer has a protobuf form (custom resources have none).
/// `shapes`: whether Table and the like can be made.
pub(crate) fn negotiate(accept: Option<&str>, pretty: bool, protobuf: bool, shapes: bool) -> Result<Form, Status> {
    let accept = accept.unwrap_or_default().trim();
    if accept.is_empty() {
        return Ok(Form { pretty, ..Form::JSON });
    }
    for c in clauses(accept) {
        let Some(encoding) = encoding(c.media) else { continue };
        let Some((shape, discovery)) = shape(&c.params) else { continue };
        // Tables have no protobuf form.
        if (encoding == Encoding::Protobuf && (shape == Shape::Table || (!protobuf && shape == Shape::Whole))) || (shape != Shape::Whole && !shapes) {
            continue;
        }
        let pretty = pretty || c.params.iter().any(|(k, v)| *k == "pretty" && matches!(*v, "1" | "true"));
        return Ok(Form { encoding, shape, pretty, discovery, media: None });
    }
    // Media types alone are looked at before anything knows what is asked for.
    if protobuf && clauses(accept).iter().all(|c| encoding(c.media).is_none()) {
        return Err(Status::generic(Reason::NotAcceptable, "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"));
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
            let f = negotiate(Some(accept), false, true, true).unwrap();
            assert_eq!((f.encoding, f.shape), (encoding, shape), "{accept}");
        }
        assert_eq!(negotiate(Some("text/plain"), false, true, true).unwrap_err().code, 406);
        assert_eq!(negotiate(Some("application/json;as=Table;v=v9;g=meta.k8s.io"), false, true, true).unwrap_err().code, 406);
        assert_eq!(negotiate(Some("application/vnd.kubernetes.protobuf"), false, false, true).unwrap_err().code, 406);
    }
}
