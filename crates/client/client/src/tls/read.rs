//! Answers, read out of HTTP responses.
use super::frames::{Frames, failed};
use crate::{Answer, Verb, WatchKind, WatchStream};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use hyper::{Response, body::Incoming, header};
use serde::Deserialize;
use skiff_json::RawValue;
use skiff_meta::{GroupVersionKind, Reason, Revision, Status};
use skiff_request::ListAnswer;

/// Of an answer that is no stream: a list of 50,000 pods fits.
const MOST: usize = 512 << 20;

pub(super) async fn answer(verb: Verb, response: Response<Incoming>) -> Result<Answer, Status> {
    let code = response.status().as_u16();
    if verb == Verb::Watch && response.status().is_success() {
        return Ok(Answer::Watch { kind: GroupVersionKind::new("", "v1", ""), events: events(response.into_body()) });
    }
    let warnings = warnings(&response);
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|e| Status::new(Reason::ServiceUnavailable, format!("read the answer: {e}")))?.to_bytes();
    if code >= 400 {
        return Err(Status::from_json(code, &body));
    }
    match verb {
        Verb::List => list(&body).map(Answer::List),
        _ => object(code, body, warnings),
    }
}

/// `299 - "text"`.
fn warnings(response: &Response<Incoming>) -> Vec<String> {
    let texts = response.headers().get_all(header::WARNING).iter().filter_map(|v| v.to_str().ok());
    texts.filter_map(|t| Some(t.split_once('"')?.1.rsplit_once('"')?.0.replace("\\\"", "\""))).collect()
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Kind {
    api_version: String,
    kind: String,
}

impl Kind {
    fn full(self) -> GroupVersionKind {
        match self.api_version.split_once('/') {
            Some((group, version)) => GroupVersionKind::new(group.to_owned(), version.to_owned(), self.kind),
            None => GroupVersionKind::new("", self.api_version, self.kind),
        }
    }
}

fn unreadable(e: skiff_json::Error) -> Status {
    Status::internal(format!("read the answer: {e}"))
}

fn object(code: u16, bytes: Bytes, warnings: Vec<String>) -> Result<Answer, Status> {
    let kind = skiff_json::from_slice::<Kind>(&bytes).map_err(unreadable)?.full();
    if kind.kind == "Status" && kind.group.is_empty() {
        return Ok(Answer::Status(Status::from_json(code, &bytes), warnings));
    }
    Ok(Answer::Object { code, kind, bytes, warnings })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    token: String,
    remaining_item_count: Option<u64>,
}

fn list(body: &Bytes) -> Result<ListAnswer, Status> {
    let l: List<'_> = skiff_json::from_slice(body).map_err(unreadable)?;
    let kind = l.kind.strip_suffix("List").unwrap_or(&l.kind).to_owned();
    let items = l.items.unwrap_or_default().into_iter().map(|raw| item(raw, &l.api_version, &kind)).collect::<Result<_, _>>()?;
    Ok(ListAnswer {
        kind: Kind { api_version: l.api_version.clone(), kind }.full(),
        items,
        revision: l.metadata.resource_version.parse().unwrap_or(Revision::ZERO),
        continue_token: l.metadata.token,
        remaining: l.metadata.remaining_item_count,
        warnings: Vec::new(),
    })
}

/// An item with its own apiVersion and kind, which servers leave out of lists. A copy, so that one object does not keep
/// the whole list in memory.
fn item(raw: &RawValue, api_version: &str, kind: &str) -> Result<Bytes, Status> {
    let text = raw.get();
    let own: Kind = skiff_json::from_str(text).map_err(unreadable)?;
    if !own.kind.is_empty() && !own.api_version.is_empty() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let inner = text.trim_start().trim_start_matches('{');
    let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
    Ok(Bytes::from(format!("{{\"apiVersion\":{api_version:?},\"kind\":{kind:?}{comma}{inner}")))
}

fn events(body: Incoming) -> WatchStream {
    let state = (body, Frames::default(), false);
    let events = stream::unfold(state, |(mut body, mut frames, done)| async move {
        if done {
            return None;
        }
        loop {
            if let Some(e) = frames.next() {
                let done = e.kind == WatchKind::Error;
                return Some((e, (body, frames, done)));
            }
            match body.frame().await {
                Some(Ok(f)) => {
                    if let Some(data) = f.data_ref() {
                        frames.push(data);
                    }
                }
                Some(Err(e)) => return Some((failed(format!("read a watch: {e}")), (body, frames, true))),
                None => return None,
            }
        }
    });
    events.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn items_get_their_kind() {
        let body = Bytes::from_static(br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5","continue":"c","remainingItemCount":2},"items":[{"metadata":{"name":"a"}},{},{"kind":"X","apiVersion":"v2","a":1}]}"#);
        let l = list(&body).unwrap();
        assert_eq!((l.kind.kind.as_ref(), l.revision.0, l.continue_token.as_str(), l.remaining), ("Pod", 5, "c", Some(2)));
        let items: Vec<&str> = l.items.iter().map(|b| std::str::from_utf8(b).unwrap()).collect();
        assert_eq!(
            items,
            [r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#, r#"{"apiVersion":"v1","kind":"Pod"}"#, r#"{"kind":"X","apiVersion":"v2","a":1}"#]
        );
        assert!(list(&Bytes::from_static(br#"{"kind":"PodList","items":null}"#)).unwrap().items.is_empty());
    }
}
