//! Whether the options of a request for a pod's log make sense, before anybody looks for the pod. Pure.
use skiff_meta::{Cause, Status, go};
use skiff_request::Query;

const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// 400 of what is no number, 422 of what makes no sense.
pub(super) fn check(query: &Query, pod: &str) -> Result<(), Status> {
    let given = |key: &str| query.get(key).filter(|v| !v.is_empty());
    let number = |key: &str| given(key).map(|v| go::parse_int(v).map_err(Status::bad_request)).transpose();
    let (tail, bytes, since) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    let mut causes = Vec::new();
    if let Some(n) = tail.filter(|n| *n < 0) {
        causes.push(invalid("tailLines", n, "must be greater than or equal to 0"));
    }
    if let Some(n) = bytes.filter(|n| *n < 1) {
        causes.push(invalid("limitBytes", n, "must be greater than 0"));
    }
    match since {
        Some(_) if given("sinceTime").is_some() => causes.push(forbidden("at most one of `sinceTime` or `sinceSeconds` may be specified")),
        Some(n) if n < 1 => causes.push(invalid("sinceSeconds", n, "must be greater than 0")),
        _ => {}
    }
    let stream = given("stream").unwrap_or(STREAMS[0]);
    if !STREAMS.contains(&stream) {
        let message = format!("Unsupported value: {stream:?}: supported values: {}", STREAMS.map(|s| format!("{s:?}")).join(", "));
        causes.push(Cause { reason: "FieldValueNotSupported".into(), message, field: "stream".into() });
    }
    if stream != STREAMS[0] && tail.is_some() {
        causes.push(forbidden("`tailLines` and specific `stream` are mutually exclusive for now"));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", pod, causes)) }
}

fn invalid(field: &str, bad: i64, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {bad}: {why}"), field: field.into() }
}

/// Of options that are at odds with one another: of the whole.
fn forbidden(why: &str) -> Cause {
    Cause { reason: "FieldValueForbidden".into(), message: format!("Forbidden: {why}"), field: "[]".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense() {
        for (pairs, code, told) in [
            (vec![], 0, ""),
            (vec![("tailLines", "0"), ("limitBytes", "1"), ("sinceSeconds", "1"), ("stream", "All")], 0, ""),
            (vec![("stream", "Stdout")], 0, ""),
            (vec![("tailLines", "abc")], 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            (vec![("tailLines", "-1")], 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            (vec![("limitBytes", "0")], 422, "limitBytes: Invalid value: 0: must be greater than 0"),
            (vec![("sinceSeconds", "0")], 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
            (
                vec![("sinceSeconds", "0"), ("sinceTime", "2026-01-01T00:00:00Z")],
                422,
                "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            (vec![("stream", "x")], 422, "stream: Unsupported value: \"x\": supported values: \"All\", \"Stderr\", \"Stdout\""),
            (vec![("stream", "Stdout"), ("tailLines", "1")], 422, "[]: Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"),
        ] {
            let query = Query(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            let got = check(&query, "p").err();
            assert_eq!(got.as_ref().map_or(0, |s| s.code), code, "{pairs:?}");
            assert!(got.map_or(String::new(), |s| s.message).contains(told), "{pairs:?}");
        }
    }
}
