//! Versions of a definition: their names, schemas, subresources and columns.
use super::{joined, openapi, print, selectable};
use skiff_json::Value;
use skiff_validation::{Field, Json, names};

static NULL: Value = Value::Null;

/// Whether all versions say the same about `key`: upstream's internal form has it once, at the top.
fn shared(versions: &[Value], key: &str) -> bool {
    let empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let mut all = versions.iter().map(|v| v.get(key).filter(|v| !empty(v)).unwrap_or(&NULL));
    all.next().is_none_or(|first| all.all(|v| v == first))
}

/// What upstream calls a key once it stands at the top.
fn top(key: &'static str) -> &'static str {
    if key == "schema" { "validation" } else { key }
}

/// The versions as errors show them.
fn internal(f: &Field<'_>) -> Json {
    if f.exists() { print::versions(f.list(), |key| shared(f.list(), key)) } else { Json("null".into()) }
}

pub fn check(spec: &Field<'_>, old: Option<&Value>) {
    let list = spec.at("versions");
    let versions = list.list();
    // A part that all versions share is checked once, in the place that upstream has it.
    let part = |i: usize, key: &'static str| {
        let value = versions.get(i).and_then(|v| v.get(key)).unwrap_or(&NULL);
        if shared(versions, key) { spec.child(top(key)).with(value) } else { list.index(i).at(key) }
    };
    for f in list.items().enumerate().filter(|(i, _)| part(*i, "schema").at("openAPIV3Schema").value().is_null()).map(|(_, f)| f) {
        f.at("schema").at("openAPIV3Schema").required("");
    }
    let each = |key: &str| if shared(versions, key) { versions.len().min(1) } else { versions.len() };
    for f in list.items() {
        let found = names::dns1035_label(f.at("name").str());
        if !found.is_empty() {
            f.at("name").invalid(f.at("name").str(), &joined(&found));
        }
        deprecation(&f);
    }
    // The internal form names the first version once more.
    if let Some(first) = versions.first().and_then(|v| v["name"].as_str()) {
        let (f, found) = (spec.child("version"), names::dns1035_label(first));
        if !first.is_empty() && !found.is_empty() {
            f.invalid(first, &joined(&found));
        }
    }
    for i in 0..each("schema") {
        let status = if shared(versions, "schema") {
            versions.iter().any(|v| !v["subresources"]["status"].is_null())
        } else {
            !versions[i]["subresources"]["status"].is_null()
        };
        let unchanged =
            old.and_then(|o| o["versions"].as_array()?.iter().find(|v| v["name"] == versions[i]["name"])).is_some_and(|o| o["schema"] == versions[i]["schema"]);
        openapi::check(&part(i, "schema").at("openAPIV3Schema"), &openapi::Options { status, unchanged });
    }
    (0..each("subresources")).for_each(|i| scale(&part(i, "subresources")));
    (0..each("additionalPrinterColumns")).for_each(|i| part(i, "additionalPrinterColumns").items().for_each(|c| column(&c)));
    for i in 0..each("selectableFields") {
        let fields = part(i, "selectableFields");
        // Upstream finds no schema in a version whose schema all share.
        let schema = versions.get(i).map_or(&NULL, |v| &v["schema"]["openAPIV3Schema"]);
        if !fields.is_empty() && !shared(versions, "selectableFields") && (shared(versions, "schema") || !schema.is_object()) {
            fields.invalid("", "may only be set when `version.schema.openAPIV3Schema` is not included");
            continue;
        }
        selectable::check(&fields, schema);
    }
    let mut seen: Vec<&str> = versions.iter().filter_map(|v| v["name"].as_str()).collect();
    seen.sort_unstable();
    if seen.windows(2).any(|w| w[0] == w[1]) {
        list.invalid(internal(&list), "must contain unique version names");
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        list.invalid(internal(&list), "must have exactly one version marked as storage version");
    }
}

fn deprecation(version: &Field<'_>) {
    let warning = version.at("deprecationWarning");
    if !warning.exists() {
        return;
    }
    let text = warning.str();
    if !version.at("deprecated").flag() {
        return warning.invalid(text, "can only be set for deprecated versions");
    }
    if text.len() > 256 {
        warning.invalid(text, "must be <= 256 characters long");
    }
    if text.is_empty() {
        warning.invalid(text, "must not be an empty string");
    }
    if let Some((i, _)) = text.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        warning.invalid(text, &format!("must only contain printable UTF-8 characters; non-printable character found at index {i}"));
    }
}

/// A path of fields with a dot before each.
fn simple(f: &Field<'_>) -> bool {
    let dotted = f.str().starts_with('.');
    if !dotted {
        f.invalid(f.str(), "must be a simple json path starting with .");
    }
    dotted
}

fn scale(subresources: &Field<'_>) {
    let scale = subresources.at("scale");
    if !scale.exists() {
        return;
    }
    for (key, shown, below) in [("specReplicasPath", "scale.specReplicasPath", "spec"), ("statusReplicasPath", "scale.statusReplicasPath", "status")] {
        let f = subresources.child(shown).with(scale.child(key).value());
        if f.str().is_empty() {
            f.required("");
        } else if simple(&f) && !f.str().starts_with(&format!(".{below}.")) {
            f.invalid(f.str(), &format!("should be a json path under .{below}"));
        }
    }
    let f = subresources.child("scale.labelSelectorPath").with(scale.child("labelSelectorPath").value());
    if !f.str().is_empty() && simple(&f) && ![".spec.", ".status."].iter().any(|p| f.str().starts_with(p)) {
        f.invalid(f.str(), "should be a json path under either .spec or .status");
    }
}

const TYPES: &str = "boolean,date,integer,number,string";
const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";

fn column(c: &Field<'_>) {
    let one = |text: &str, of: &str| of.split(',').any(|t| t == text);
    let (kind, format, path) = (c.at("type"), c.at("format"), c.child("JSONPath").with(c.at("jsonPath").value()));
    if c.at("name").str().is_empty() {
        c.at("name").required("");
    }
    if kind.str().is_empty() {
        kind.required(&format!("must be one of {TYPES}"));
    } else if !one(kind.str(), TYPES) {
        kind.invalid(kind.str(), &format!("must be one of {TYPES}"));
    }
    if !format.str().is_empty() && !one(format.str(), FORMATS) {
        format.invalid(format.str(), &format!("must be one of {FORMATS}"));
    }
    if path.str().is_empty() {
        path.required("");
    } else {
        simple(&path);
    }
}
