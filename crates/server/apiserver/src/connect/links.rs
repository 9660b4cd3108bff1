//! Links that a backend behind the proxy writes to its own paths, led through the proxy. Pure.
//!
//! What upstream's proxy transport does: `Location` headers, and the attributes of HTML tags that hold a URL. A tag that
//! changes keeps everything else as it was written; scripts, styles and comments are not looked into.

/// Attributes that hold a URL, by tag.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];
/// What is inside is text up to the end tag.
const TEXT_ONLY: [&str; 8] = ["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"];

/// Where the proxy is.
pub(super) struct Base {
    /// The path up to and with `…/proxy`.
    pub prefix: String,
    /// Host and port of the backend, and of the server as the client called it: links to them are the backend's own.
    pub hosts: [String; 2],
}

impl Base {
    /// The link through the proxy; None when it stays as it is: relative, of another host, or led through already.
    pub fn rewritten(&self, link: &str) -> Option<String> {
        let path = match link.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => self.of_own_host(rest)?,
            _ => match link.strip_prefix("//") {
                Some(rest) => self.of_own_host(rest)?,
                None => link,
            },
        };
        let end = path.find(['?', '#']).unwrap_or(path.len());
        let (plain, tail) = path.split_at(end);
        if !plain.starts_with('/') {
            return None;
        }
        if plain.starts_with(&self.prefix) {
            return (path != link).then(|| path.to_owned());
        }
        Some(format!("{}{}{tail}", self.prefix, cleaned(plain)))
    }

    /// The path of a link with a host, which begins behind the slashes.
    fn of_own_host<'l>(&self, rest: &'l str) -> Option<&'l str> {
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        self.hosts.iter().any(|h| h == host).then_some(path)
    }

    /// The page with its links led through the proxy.
    pub fn html(&self, page: &str) -> String {
        let mut out = String::with_capacity(page.len() + page.len() / 8);
        let mut rest = page;
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            out.push_str(text);
            let length = if let Some(comment) = tag.strip_prefix("<!--") { comment.find("-->").map_or(tag.len(), |end| end + 7) } else { tag_length(tag) };
            let (tag, after) = tag.split_at(length);
            let name = tag_name(tag);
            self.tag(tag, &name, &mut out);
            rest = after;
            if TEXT_ONLY.contains(&name.as_str()) && !tag.ends_with("/>") {
                let end = text_end(rest, &name);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        out
    }

    fn tag(&self, tag: &str, name: &str, out: &mut String) {
        let Some((_, attributes)) = ATTRIBUTES.iter().find(|(n, _)| *n == name) else { return out.push_str(tag) };
        let mut written = 0;
        for (key, start, end) in values(tag, 1 + name.len()) {
            let link = tag[start..end].replace("&amp;", "&");
            if attributes.contains(&key.to_ascii_lowercase().as_str())
                && let Some(link) = self.rewritten(&link)
            {
                out.push_str(&tag[written..start]);
                out.push_str(&link.replace('&', "&amp;"));
                written = end;
            }
        }
        out.push_str(&tag[written..]);
    }
}

/// Without empty and dot steps; a slash at the end stays.
fn cleaned(path: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    let slash = if path.ends_with('/') && !steps.is_empty() { "/" } else { "" };
    format!("/{}{slash}", steps.join("/"))
}

/// Up to and with the `>` that ends the tag; a `>` in quotes does not.
fn tag_length(tag: &str) -> usize {
    let mut quote = None;
    for (at, b) in tag.bytes().enumerate().skip(1) {
        match (quote, b) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(q), b) if q == b => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// In lower case; empty for an end tag, a declaration, or a `<` that begins no tag.
fn tag_name(tag: &str) -> String {
    let end = tag[1..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(tag.len(), |at| at + 1);
    tag[1..end].to_ascii_lowercase()
}

/// Where the end tag of a text-only element begins.
fn text_end(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| from + at) {
        let found = text.get(at + 2..at + 2 + name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name));
        if found {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

/// The attributes of a tag from byte `at` on: name, and where the value is.
fn values(tag: &str, at: usize) -> Vec<(&str, usize, usize)> {
    let bytes = tag.as_bytes();
    let (mut at, mut out) = (at, Vec::new());
    let skip = |mut at: usize, stop: &dyn Fn(u8) -> bool| {
        while bytes.get(at).is_some_and(|b| !stop(*b)) {
            at += 1;
        }
        at
    };
    loop {
        let start = skip(at, &|b| !b.is_ascii_whitespace() && b != b'/');
        if bytes.get(start).is_none_or(|b| *b == b'>') {
            return out;
        }
        let end = skip(start + 1, &|b| b.is_ascii_whitespace() || matches!(b, b'=' | b'>' | b'/'));
        let equals = skip(end, &|b| !b.is_ascii_whitespace());
        if bytes.get(equals) != Some(&b'=') {
            at = end;
            continue;
        }
        let value = skip(equals + 1, &|b| !b.is_ascii_whitespace());
        let (from, to, next) = match bytes.get(value) {
            Some(q @ (b'"' | b'\'')) => {
                let to = skip(value + 1, &|b| b == *q);
                (value + 1, to, to + 1)
            }
            _ => {
                let to = skip(value, &|b| b.is_ascii_whitespace() || b == b'>');
                (value, to, to)
            }
        };
        out.push((&tag[start..end], from.min(tag.len()), to));
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        Base { prefix: "/api/v1/namespaces/n/services/s:80/proxy".into(), hosts: ["10.0.0.1:8080".into(), "127.0.0.1:8001".into()] }
    }

    #[test]
    fn links_to_own_paths_go_through_the_proxy() {
        for (link, want) in [
            ("/x", Some("/api/v1/namespaces/n/services/s:80/proxy/x")),
            ("/x/?q=/y#z", Some("/api/v1/namespaces/n/services/s:80/proxy/x/?q=/y#z")),
            ("/a//../b", Some("/api/v1/namespaces/n/services/s:80/proxy/b")),
            ("http://10.0.0.1:8080/x", Some("/api/v1/namespaces/n/services/s:80/proxy/x")),
            ("//127.0.0.1:8001/x", Some("/api/v1/namespaces/n/services/s:80/proxy/x")),
            ("http://127.0.0.1:8001/api/v1/namespaces/n/services/s:80/proxy/x", Some("/api/v1/namespaces/n/services/s:80/proxy/x")),
            ("/api/v1/namespaces/n/services/s:80/proxy/x", None),
            ("https://example.com/x", None),
            ("x/y", None),
            ("?q", None),
            ("mailto:a@b", None),
        ] {
            assert_eq!(base().rewritten(link).as_deref(), want, "{link}");
        }
    }

    #[test]
    fn pages_keep_all_but_their_links() {
        let p = base().prefix;
        for (page, want) in [
            ("<a href=\"/rewriteme\">test</a>".to_owned(), format!("<a href=\"{p}/rewriteme\">test</a>")),
            ("<IMG alt='>' SRC=/i.png><p id=\"/p\">".into(), format!("<IMG alt='>' SRC={p}/i.png><p id=\"/p\">")),
            (
                "<script src='/s.js'>if (a</b/) '<a href=\"/no\">'</script><a href=/y>".into(),
                format!("<script src='{p}/s.js'>if (a</b/) '<a href=\"/no\">'</script><a href={p}/y>"),
            ),
            ("<!-- <a href=\"/no\"> --><a href=\"/?a=1&amp;b\">".into(), format!("<!-- <a href=\"/no\"> --><a href=\"{p}/?a=1&amp;b\">")),
            ("<a href=\"rel\">1 < 2</a><a href=\"/open".into(), format!("<a href=\"rel\">1 < 2</a><a href=\"{p}/open")),
        ] {
            assert_eq!(base().html(&page), want, "{page}");
        }
    }

    /// Any bytes come out, and without links they come out as they went in.
    #[test]
    fn odd_pages_pass() {
        for page in ["<", "<<", "<a", "<a href", "<a href=", "<a href='", "</", "<!--", "<script>", "<é ü=\"ß\">", "a<b>c", "<a =>", "<a / href=x>"] {
            assert_eq!(base().html(page), page);
        }
    }
}
