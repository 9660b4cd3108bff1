//! Reads generated.proto: which messages there are, and which number each field has.

use std::collections::BTreeMap;

/// Messages by name, their field numbers by proto name.
pub type Messages = BTreeMap<String, BTreeMap<String, u32>>;

/// Parses the subset of proto2 that go-to-protobuf writes.
pub fn parse(text: &str) -> Messages {
    let mut messages = Messages::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("message ") {
            let name = rest.trim_end_matches('{').trim().to_owned();
            messages.entry(name.clone()).or_default();
            current = Some(name);
        } else if line == "}" {
            current = None;
        } else if let (Some(name), Some((field, parsed))) = (&current, parse_field(line)) {
            messages.entry(name.clone()).or_default().insert(field, parsed);
        }
    }
    messages
}

fn parse_field(line: &str) -> Option<(String, u32)> {
    let (left, right) = line.split_once('=')?;
    let digits: String = right.trim().chars().take_while(char::is_ascii_digit).collect();
    let tag = digits.parse().ok()?;
    let name = left.split_whitespace().next_back()?.to_owned();
    Some((name, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_maps_and_comments() {
        let messages = parse("message A {\n  // text = 3;\n  optional string message = 6;\n  map<string, B> m = 7;\n  repeated C c = 8;\n}\n");
        let fields = &messages["A"];
        assert_eq!(fields["message"], 6);
        assert_eq!(fields["m"], 7);
        assert_eq!(fields["c"], 8);
        assert_eq!(fields.len(), 3);
    }
}
