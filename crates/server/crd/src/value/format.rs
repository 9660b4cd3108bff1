//! Formats of strings, as the OpenAPI library of upstream knows them. Unknown ones are no rule.
use regex::Regex;
use std::{net::Ipv6Addr, sync::LazyLock};

const FORMATS: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format of strings is known; dashes don't count.
pub fn known(format: &str) -> bool {
    FORMATS.contains(&format.replace('-', "").as_str())
}

/// The format that counts for values of a schema's type; None: there is none, or the type does not know it.
pub fn of_type<'f>(kind: Option<&str>, format: &'f str) -> Option<&'f str> {
    let counts = match kind {
        None | Some("string") => known(format),
        Some("integer") => matches!(format, "int32" | "int64"),
        Some("number") => matches!(format, "float" | "double"),
        _ => false,
    };
    counts.then_some(format)
}

static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let all = [
        ("bsonobjectid", r"^[0-9a-fA-F]{24}$"),
        (
            "hostname",
            r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
        ),
        ("uuid", r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"),
        ("uuid3", r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$"),
        ("uuid4", r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
        ("uuid5", r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
        (
            "creditcard",
            r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$",
        ),
        ("ssn", r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"),
        ("hexcolor", r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        (
            "rgbcolor",
            r"^rgb\([ \t\n\f\r]*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])[ \t\n\f\r]*,[ \t\n\f\r]*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])[ \t\n\f\r]*,[ \t\n\f\r]*(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])[ \t\n\f\r]*\)$",
        ),
        ("byte", r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"),
        ("time", r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$"),
        ("k8sshortname", r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
        ("k8slongname", r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
        ("duration", r"([0-9]+)[ \t\n\f\r]*([A-Za-zµ]+)"),
    ];
    all.into_iter().filter_map(|(name, p)| Some((name, Regex::new(p).ok()?))).collect()
});

fn matches(name: &str, s: &str) -> bool {
    PATTERNS.iter().find(|(n, _)| *n == name).is_none_or(|(_, r)| r.is_match(s))
}

/// Whether a string has the format.
pub fn holds(format: &str, s: &str) -> bool {
    let format = format.replace('-', "");
    match format.as_str() {
        "uri" => uri(s),
        "email" => email(s),
        "hostname" => matches("hostname", s) && s.len() <= 255 && s.split('.').all(|p| p.len() <= 63),
        "ipv4" => s.contains('.') && skiff_validation::sloppy_address(s).is_some(),
        "ipv6" => s.contains(':') && s.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(s),
        "mac" => mac(s),
        "isbn" => isbn10(s) || isbn13(s),
        "isbn10" => isbn10(s),
        "isbn13" => isbn13(s),
        "creditcard" => card(s),
        "ssn" => s.len() == 11 && matches("ssn", s),
        "date" => date(s),
        "datetime" => date_time(s),
        "duration" => duration(s),
        "k8sshortname" => s.len() <= 63 && matches("k8sshortname", s),
        "k8slongname" => s.len() <= 253 && matches("k8slongname", s),
        "password" => true,
        other => matches(other, s),
    }
}

/// A URI as Go reads one of a request line: absolute, or a path from the root.
fn uri(s: &str) -> bool {
    if s.is_empty() || s.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if s == "*" {
        return true;
    }
    let scheme = s.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    let rest = scheme.map_or(s, |(_, rest)| rest);
    if scheme.is_none() && !s.starts_with('/') {
        return false;
    }
    let host = rest.strip_prefix("//").map(|r| r.split(['/', '?']).next().unwrap_or_default());
    if let Some(h) = host {
        let h = h.rsplit_once('@').map_or(h, |(_, h)| h);
        let port = if h.starts_with('[') { h.split_once(']').map(|(_, p)| p) } else { h.rfind(':').map(|i| &h[i..]) };
        if port.is_some_and(|p| !p.is_empty() && !p.strip_prefix(':').is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())))
            || h.contains([' ', '<', '>', '"'])
        {
            return false;
        }
    }
    escapes_hold(rest)
}

fn escapes_hold(s: &str) -> bool {
    s.split('%').skip(1).all(|part| part.as_bytes().get(..2).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)))
}

/// `local@domain`, maybe with a name before it.
fn email(s: &str) -> bool {
    let s = s.trim();
    let address = match s.strip_suffix('>').and_then(|r| r.rsplit_once('<')) {
        Some((_, inside)) => inside,
        None => s,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c));
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let literal = domain.starts_with('[') && domain.ends_with(']');
    (quoted || local.split('.').all(atom)) && (literal || domain.split('.').all(atom))
}

fn cidr(s: &str) -> bool {
    let Some((ip, bits)) = s.split_once('/') else { return false };
    let Some(ip) = skiff_validation::sloppy_address(ip) else { return false };
    let digits = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
    digits && bits.parse::<u8>().is_ok_and(|b| b <= if ip.is_ipv4() { 32 } else { 128 })
}

/// 6, 8 or 20 octets: in pairs by colons or dashes, or in fours by dots.
fn mac(s: &str) -> bool {
    let hex = |p: &str, n: usize| p.len() == n && p.bytes().all(|b| b.is_ascii_hexdigit());
    let by = |sep: char, n: usize, counts: &[usize]| {
        let parts: Vec<&str> = s.split(sep).collect();
        counts.contains(&parts.len()) && parts.iter().all(|p| hex(p, n))
    };
    by(':', 2, &[6, 8, 20]) || by('-', 2, &[6, 8, 20]) || by('.', 4, &[3, 4, 10])
}

fn digits(s: &str) -> Vec<u32> {
    s.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-').map(|c| c.to_digit(10).unwrap_or(if c == 'X' { 10 } else { 99 })).collect()
}
fn isbn10(s: &str) -> bool {
    let d = digits(s);
    d.len() == 10 && d.iter().take(9).all(|d| *d <= 9) && d[9] <= 10 && (1..).zip(&d).map(|(i, d)| i * d).sum::<u32>() % 11 == 0
}
fn isbn13(s: &str) -> bool {
    let d = digits(s);
    d.len() == 13 && d.iter().all(|d| *d <= 9) && d.iter().enumerate().map(|(i, d)| if i % 2 == 0 { *d } else { 3 * d }).sum::<u32>() % 10 == 0
}
fn card(s: &str) -> bool {
    let plain: String = s.chars().filter(char::is_ascii_digit).collect();
    let double = |d: u32| if d * 2 >= 10 { (d * 2) % 10 + 1 } else { d * 2 };
    let sum: u32 = plain.chars().rev().filter_map(|c| c.to_digit(10)).enumerate().map(|(i, d)| if i % 2 == 1 { double(d) } else { d }).sum();
    matches("creditcard", &plain) && sum.is_multiple_of(10)
}

fn date(s: &str) -> bool {
    let part = |range: std::ops::Range<usize>| s.get(range).filter(|p| p.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (part(0..4), part(5..7), part(8..10)) else { return false };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    s.len() == 10 && s.as_bytes()[4] == b'-' && s.as_bytes()[7] == b'-' && (1..=days).contains(&day)
}

fn date_time(s: &str) -> bool {
    let lower = s.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(day), Some(time)) = (parts.next(), parts.next()) else { return false };
    let within = |range: std::ops::Range<usize>, max: &str| time.get(range).is_some_and(|p| p <= max);
    date(day) && matches("time", time) && within(0..2, "23") && within(3..5, "59") && within(6..8, "59")
}

const UNITS: [&[&str]; 8] =
    [&["ns", "nano"], &["us", "µs", "micro"], &["ms", "milli"], &["s", "sec"], &["m", "min"], &["h", "hr", "hour"], &["d", "day"], &["w", "wk", "week"]];

/// As Go writes them (`1h30m`), or numbers with a unit in words.
fn duration(s: &str) -> bool {
    if skiff_meta::go::parse_duration(s).is_ok() {
        return true;
    }
    let Some((_, r)) = PATTERNS.iter().find(|(n, _)| *n == "duration") else { return false };
    r.captures_iter(s).any(|c| {
        let unit = c.get(2).map(|m| m.as_str().to_lowercase()).unwrap_or_default();
        UNITS.iter().any(|variants| variants.contains(&unit.as_str()) || variants.last().is_some_and(|v| unit.starts_with(v)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn formats_accept_what_upstream_accepts() {
        let cases: [(&str, &[&str], &[&str]); 20] = [
            (
                "uri",
                &["http://foobar.com", "xyz://foobar.com", "/abs/test/dir", "mailto:a@b.c", "http://localhost:3000/"],
                &["", "foobar.com", "./rel", "http://a:b/"],
            ),
            ("email", &["a@b.c", "Jo <a@b>"], &["a", "@b", "a b@c"]),
            ("hostname", &["somewhere.com", "a-b.example.org", "localhost"], &["-a.com", "a_b.com", ""]),
            ("ipv4", &["1.2.3.4", "010.1.1.1"], &["1.2.3", "::1", "1.2.3.256"]),
            ("ipv6", &["::1", "2001:db8::1", "::ffff:1.2.3.4"], &["1.2.3.4", ":::"]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/"]),
            ("mac", &["01:02:03:04:05:06", "0102.0304.0506"], &["01:02", "01-02-03-04-05-0g"]),
            ("uuid", &["a8098c1a-f86e-11da-bd1a-00112444be1e", "A8098C1AF86E11DABD1A00112444BE1E"], &["a8098c1a"]),
            ("uuid4", &["025b0d74-00a2-4048-bf57-227c5111bb34"], &["a8098c1a-f86e-11da-bd1a-00112444be1e"]),
            ("isbn", &["3836221195", "1-61729-085-8", "9784873113685"], &["", "foo", "3423214121"]),
            ("creditcard", &["4220855426222389", "4220-8554-2622-2389"], &["", "4220855426213389"]),
            ("ssn", &["111-11-1111"], &["111111111", "00-1-1"]),
            ("hexcolor", &["#f00", "CCccCC"], &["#ff", "#ff12FG"]),
            ("rgbcolor", &["rgb(0,31,255)", "rgb(0,  31, 255)"], &["rgb(1,349,275)", "rgb(01,31,255)"]),
            ("byte", &["TG9yZW0gaXBzdW0=", "Vml2YW11cw=="], &["12345", "abc*"]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-13-01", "24-01-01"]),
            ("date-time", &["2014-12-15T08:00:00.000Z", "2014-12-15t08:00:00+01:00"], &["2014-12-15", "2014-12-15T25:00:00Z"]),
            ("duration", &["22 ns", "1h30m", "3 weeks", "0"], &["", "one", "5 x"]),
            ("k8s-short-name", &["a-b"], &["A", "-a", "a.b"]),
            ("k8s-long-name", &["a.b"], &["a..b", "A.b"]),
        ];
        for (format, good, bad) in cases {
            assert!(known(format), "{format}");
            good.iter().for_each(|s| assert!(holds(format, s), "{format}: {s}"));
            bad.iter().for_each(|s| assert!(!holds(format, s), "{format}: {s}"));
        }
        assert!(!known("nope") && of_type(Some("integer"), "date").is_none());
    }
}
