//! Paths and queries.
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/').remove(b':').remove(b'@').remove(b'$').remove(b'+').remove(b',').remove(b'=');

pub(super) fn path_and_query(path: &str, query: &[(String, String)]) -> String {
    let mut out = utf8_percent_encode(path, PATH).to_string();
    for (i, (key, value)) in query.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.extend(utf8_percent_encode(key, VALUE));
        out.push('=');
        out.extend(utf8_percent_encode(value, VALUE));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn special_letters_are_escaped() {
        let q = [("labelSelector".to_owned(), "a in (b,c)".to_owned()), ("limit".to_owned(), "5".to_owned())];
        assert_eq!(path_and_query("/api/v1/pods", &q), "/api/v1/pods?labelSelector=a%20in%20%28b%2Cc%29&limit=5");
        assert_eq!(path_and_query("/apis/rbac/clusterroles/system:node", &[]), "/apis/rbac/clusterroles/system:node");
        assert_eq!(path_and_query("/a b?", &[]), "/a%20b%3F");
    }
}
