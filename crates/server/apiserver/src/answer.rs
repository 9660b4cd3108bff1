//! An answer of the registry as an HTTP response, in the form that was negotiated.
use crate::{
    error::status_code,
    lists,
    negotiate::{Encoding, Form, Shape},
    pieces::{self, Unfinished},
    stream, table,
};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::BoxBody};
use skiff_meta::{GroupVersionKind, Reason, Status};
use skiff_request::{Answer, ListAnswer};
use tokio_util::sync::CancellationToken;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Reply = BoxBody<Bytes, Failure>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Reply {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A backend's body, passed on as it comes; a break in it breaks ours.
pub(crate) fn relayed(body: hyper::body::Incoming) -> Reply {
    body.map_err(Failure::from).boxed()
}

/// A body of no known length that ends with the server: a log that is followed would else hold up its stop.
pub(crate) fn until(body: Reply, stop: CancellationToken) -> Reply {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let frames = BodyStream::new(body).take_until(stop.cancelled_owned());
    BodyExt::boxed(StreamBody::new(stream::SyncStream::new(frames)))
}

/// What rendering knows beside the answer.
pub(crate) struct Rendering<'a> {
    pub form: &'a Form,
    pub columns: &'a table::Source,
    /// The kind of lists, where it is not the kind with `List` behind.
    pub list_kind: Option<std::borrow::Cow<'static, str>>,
    pub stop: tokio_util::sync::CancellationToken,
    /// Where the events of a watch are counted.
    pub watched: Option<std::sync::Arc<crate::metrics::WatchCounts>>,
}

/// A body that holds something until it is sent or dropped.
pub(crate) fn holding<T: Send + Sync + 'static>(body: Reply, held: T) -> Reply {
    body.map_frame(move |frame| {
        let _ = &held;
        frame
    })
    .boxed()
}

pub(crate) fn respond(answer: Answer, r: &Rendering<'_>) -> Result<Response<Reply>, Status> {
    match answer {
        Answer::Object { code, kind, bytes, warnings } => {
            let body = match r.form.shape {
                Shape::Whole => encode(r.form, &kind, bytes)?,
                Shape::Table => encode(r.form, &table::meta_kind("Table", r.form.meta), table::of_object(r.columns, &bytes)?)?,
                Shape::Metadata => encode(r.form, &table::meta_kind("PartialObjectMetadata", r.form.meta), table::metadata_of(r.columns, &bytes)?)?,
                Shape::MetadataList => {
                    return Err(Status::new(
                        Reason::NotAcceptable,
                        format!("you requested PartialObjectMetadataList, but the requested object is not a list ({})", internal(&kind, r)),
                    ));
                }
            };
            Ok(response(code, r.form, body, &warnings))
        }
        Answer::List(list) => {
            let mut list = list;
            let warnings = std::mem::take(&mut list.warnings);
            let (body, unfinished) = list_body(list, r)?;
            let mut response = with_body(200, r.form, body, &warnings);
            if let Some(mark) = unfinished {
                response.extensions_mut().insert(mark);
            }
            Ok(response)
        }
        Answer::Status(status, warnings) => {
            let body = encode(r.form, &GroupVersionKind::new("", "v1", "Status"), status.to_json().into())?;
            Ok(response(status.code, r.form, body, &warnings))
        }
        Answer::Watch { kind, events } => Ok(stream::respond(kind, events, r)),
    }
}

fn list_body(list: ListAnswer, r: &Rendering<'_>) -> Result<(Reply, Option<Unfinished>), Status> {
    let kind = r.list_kind.clone().unwrap_or_else(|| format!("{}List", list.kind.kind).into());
    let list_kind = GroupVersionKind { kind, ..list.kind.clone() };
    match r.form.shape {
        Shape::Whole if r.form.encoding == Encoding::Protobuf => pieces::body(crate::wire::protobuf_list(&list_kind, list)?),
        Shape::Whole => rendered(r.form, &list_kind, lists::Objects::new(list, &list_kind, r.list_kind.is_some())),
        Shape::Table => rendered(r.form, &table::meta_kind("Table", r.form.meta), lists::Rows::new(r.columns, list)?),
        Shape::Metadata => Err(Status::new(
            Reason::NotAcceptable,
            format!("you requested PartialObjectMetadata, but the requested object is a list ({})", internal(&list_kind, r)),
        )),
        Shape::MetadataList => rendered(r.form, &table::meta_kind("PartialObjectMetadataList", r.form.meta), lists::Metadata::new(r.columns, list)),
    }
}

/// JSON as it is made; other forms are made of the whole.
fn rendered(form: &Form, kind: &GroupVersionKind, mut parts: impl pieces::Parts) -> Result<(Reply, Option<Unfinished>), Status> {
    if form.encoding == Encoding::Json && !form.pretty {
        return pieces::body(parts);
    }
    let mut json = Vec::new();
    while parts.next(&mut json)? {}
    Ok((full(encode(form, kind, json.into())?), None))
}

/// The Go type behind a kind, as upstream's errors name it.
fn internal(kind: &GroupVersionKind, r: &Rendering<'_>) -> String {
    if r.list_kind.is_some() {
        let list = if kind.kind.ends_with("List") { "List" } else { "" };
        return format!("*unstructured.Unstructured{list}");
    }
    let package = match kind.group.split('.').next().unwrap_or_default() {
        "" | "events" => "core",
        first => first,
    };
    format!("*{package}.{}", kind.kind)
}

/// Canonical JSON in the encoding asked for.
pub(crate) fn encode(form: &Form, kind: &GroupVersionKind, json: Bytes) -> Result<Bytes, Status> {
    match form.encoding {
        Encoding::Json if form.pretty => pretty(&json),
        Encoding::Json => Ok(json),
        Encoding::Yaml => crate::wire::yaml(&json),
        Encoding::Protobuf => crate::wire::protobuf(kind, &json),
    }
}

fn pretty(json: &[u8]) -> Result<Bytes, Status> {
    let v: skiff_json::Value = skiff_json::from_slice(json).map_err(Status::internal)?;
    skiff_json::to_vec_pretty(&v).map(Bytes::from).map_err(Status::internal)
}

pub(crate) fn response(code: u16, form: &Form, body: Bytes, warnings: &[String]) -> Response<Reply> {
    with_body(code, form, full(body), warnings)
}

fn with_body(code: u16, form: &Form, body: Reply, warnings: &[String]) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status_code(code);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    warn_all(headers, warnings);
    response
}

pub(crate) fn warn(headers: &mut http::HeaderMap, text: &str) {
    if let Ok(v) = HeaderValue::from_str(&format!("299 - \"{}\"", quoted(text))) {
        headers.append(header::WARNING, v);
    }
}

/// Tells this before all that is told already.
pub(crate) fn warn_first(headers: &mut http::HeaderMap, text: &str) {
    let others: Vec<HeaderValue> = headers.get_all(header::WARNING).iter().cloned().collect();
    headers.remove(header::WARNING);
    warn(headers, text);
    for w in others {
        headers.append(header::WARNING, w);
    }
}

/// Each text once, and all of them within limits.
pub(crate) fn warn_all(headers: &mut http::HeaderMap, texts: &[String]) {
    limited(texts).iter().for_each(|w| warn(headers, w));
}

/// Characters that all warnings of an answer may have together before each is cut.
const ALL_WARNINGS: usize = 4 * 1024;
/// Characters that stay of one that is cut.
const ONE_WARNING: usize = 256;

/// What is told: whole while it all fits, else each cut, up to the first that passes the limit.
fn limited(texts: &[String]) -> Vec<String> {
    let mut told = std::collections::HashSet::new();
    let once: Vec<&String> = texts.iter().filter(|t| !t.is_empty() && told.insert(*t)).collect();
    if once.iter().map(|t| t.chars().count()).sum::<usize>() <= ALL_WARNINGS {
        return once.into_iter().cloned().collect();
    }
    let (mut all, mut written) = (Vec::new(), 0);
    for text in once {
        if written >= ALL_WARNINGS {
            break;
        }
        let cut: String = text.chars().take(ONE_WARNING).collect();
        written += cut.chars().count();
        all.push(cut);
    }
    all
}

/// A warning's text inside quotes, of printable characters.
fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;

    #[test]
    fn warnings_are_cut_when_they_are_too_many() {
        let long = |c: char, n: usize| c.to_string().repeat(n);
        let lengths = |texts: &[String]| limited(texts).iter().map(String::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[long('a', 300), long('a', 300), String::new(), long('b', 3796)]), [300, 3796]);
        assert_eq!(lengths(&[long('a', 300), long('b', 3797), "c".into()]), [256, 256, 1]);
        let many: Vec<String> = (0..30).map(|i| format!("{i:02}{}", long('x', 298))).collect();
        assert_eq!(lengths(&many), [256; 16]);
    }

    #[tokio::test]
    async fn a_body_without_end_ends_with_the_server() {
        let stop = CancellationToken::new();
        let endless = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"a")))]).chain(futures::stream::pending());
        let mut body = until(BodyExt::boxed(StreamBody::new(stream::SyncStream::new(endless))), stop.clone());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        stop.cancel();
        assert!(body.frame().await.is_none());
        let whole = until(full("known"), stop).collect().await.unwrap().to_bytes();
        assert_eq!(whole, "known");
    }
}
