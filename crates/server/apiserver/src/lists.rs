//! Lists in JSON, made item by item out of stored bytes: as they are, as rows of a Table, as bare metadata.
use crate::{
    pieces::Parts,
    sparse::Unread,
    table::{self, Source},
};
use bytes::Bytes;
use skiff_meta::{GroupVersionKind, Status};
use skiff_request::ListAnswer;
use std::vec::IntoIter;

/// What stands between, around, and how each item is written.
struct Items {
    opening: Option<String>,
    items: IntoIter<Bytes>,
    first: bool,
    closed: bool,
}

impl Items {
    fn new(opening: String, items: Vec<Bytes>) -> Self {
        Self { opening: Some(opening), items: items.into_iter(), first: true, closed: false }
    }
    /// No items, and null in the list's place.
    fn null(opening: String) -> Self {
        let opening = opening.strip_suffix('[').unwrap_or(&opening);
        Self { closed: true, ..Self::new(format!("{opening}null}}"), Vec::new()) }
    }
    fn next(&mut self, out: &mut Vec<u8>, item: impl FnOnce(&Bytes, &mut Vec<u8>) -> Result<(), Status>) -> Result<bool, Status> {
        if let Some(opening) = self.opening.take() {
            out.extend_from_slice(opening.as_bytes());
            return Ok(true);
        }
        if let Some(i) = self.items.next() {
            if !std::mem::take(&mut self.first) {
                out.push(b',');
            }
            item(&i, out)?;
            return Ok(true);
        }
        if !std::mem::replace(&mut self.closed, true) {
            out.extend_from_slice(b"]}");
            return Ok(true);
        }
        Ok(false)
    }
}

/// The objects themselves.
pub(crate) struct Objects {
    items: Items,
    /// Left out of items that begin with it.
    head: String,
    length: u64,
}

impl Objects {
    /// `kind` is the list's; items are `named` where they tell their own.
    pub fn new(list: ListAnswer, kind: &GroupVersionKind, named: bool) -> Self {
        let (opening, head) = (list.opening(kind), if named { String::new() } else { list.item_head() });
        let each = list.items.iter().map(|i| ListAnswer::item(i, &head).map_or(i.len(), |rest| rest.len() + 1) + 1).sum::<usize>();
        let length = opening.len() + (each + 2).saturating_sub(usize::from(!list.items.is_empty()));
        Self { items: Items::new(opening, list.items), head, length: length as u64 }
    }
}

impl Parts for Objects {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status> {
        let head = &self.head;
        self.items.next(out, |item, out| {
            match ListAnswer::item(item, head) {
                Some(rest) => {
                    out.push(b'{');
                    out.extend_from_slice(rest);
                }
                None => out.extend_from_slice(item),
            }
            Ok(())
        })
    }
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// A Table's rows.
pub(crate) struct Rows {
    items: Items,
    source: Source,
    unread: Unread,
}

impl Rows {
    pub fn new(source: &Source, mut list: ListAnswer) -> Result<Self, Status> {
        table::sort(source, &mut list.items)?;
        let opening = table::opening(source, &list.meta(), true);
        Ok(Self { items: Items::new(opening, list.items), source: source.clone(), unread: source.unread() })
    }
}

impl Parts for Rows {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status> {
        let Self { items, source, unread } = self;
        items.next(out, |item, out| table::row(source, unread, item, out))
    }
}

/// PartialObjectMetadataList.
pub(crate) struct Metadata {
    items: Items,
    source: Source,
}

impl Metadata {
    pub fn new(source: &Source, list: ListAnswer) -> Self {
        let opening = table::metadata_opening(&list.meta(), source.version);
        // None of them is upstream's nil.
        let items = if list.items.is_empty() { Items::null(opening) } else { Items::new(opening, list.items) };
        Self { items, source: source.clone() }
    }
}

impl Parts for Metadata {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Status> {
        let source = &self.source;
        self.items.next(out, |item, out| table::metadata(source, item, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_meta::Revision;

    fn list(items: &[&'static str]) -> ListAnswer {
        let items = items.iter().map(|i| Bytes::from_static(i.as_bytes())).collect();
        ListAnswer {
            kind: GroupVersionKind::new("", "v1", "Pod"),
            items,
            revision: Revision(7),
            continue_token: String::new(),
            remaining: None,
            warnings: Vec::new(),
        }
    }
    fn all(mut parts: impl Parts) -> String {
        let mut out = Vec::new();
        while parts.next(&mut out).unwrap() {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn objects_are_those_of_the_whole_list() {
        let kind = GroupVersionKind::new("", "v1", "PodList");
        for items in
            [&[][..], &[r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#], &[r#"{"kind":"Pod","apiVersion":"v1","a":1}"#, r#"{"kind":"Other","b":2}"#]]
        {
            for named in [false, true] {
                let parts = Objects::new(list(items), &kind, named);
                let length = parts.length().unwrap();
                let text = all(parts);
                assert_eq!(text, String::from_utf8(list(items).json_as(&kind, named).to_vec()).unwrap());
                assert_eq!(length, text.len() as u64);
            }
        }
    }

    #[test]
    fn metadata_alone() {
        for version in ["v1", "v1beta1"] {
            let source = Source {
                columns: skiff_registry::print::Columns::name_and_age(),
                now: skiff_meta::Timestamp(0),
                include: table::Include::None,
                version,
                inner: &["x"],
            };
            let pods = [r#"{"kind":"Pod","metadata":{"name":"a","annotations":{"x":"1"}},"spec":{}}"#, r#"{"kind":"Pod"}"#];
            let text = all(Metadata::new(&source, list(&pods)));
            let none = all(Metadata::new(&source, list(&[])));
            assert!(none.ends_with(r#","items":null}"#), "{none}");
            let partial = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":"#);
            assert_eq!(
                text,
                format!(
                    r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/{version}","metadata":{{"resourceVersion":"7"}},"items":[{partial}{{"name":"a"}}}},{partial}null}}]}}"#
                )
            );
        }
    }
}
