//! Upstream's golden objects, in JSON, YAML and protobuf, through every path.
//!
//! They are read out of the Go module cache; without it the tests say so and pass.

use std::path::{Path, PathBuf};

use skiff_codec::{Decoded, decode_json, decode_protobuf, decode_value, encode_json, encode_protobuf, settle, type_meta, yaml_to_json};
use skiff_json::Value;
use skiff_schema::{Type, by_gvk};

fn golden_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("GOMODCACHE").map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join("go/pkg/mod")))?;
    let folder = cache.join("k8s.io/api@v0.37.2/testdata/HEAD");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is missing (go mod download k8s.io/api@v0.37.2)", folder.display());
    None
}

struct Golden {
    name: String,
    ty: &'static Type,
    json: Vec<u8>,
    decoded: Decoded,
    base: PathBuf,
}

/// The golden objects of every served kind.
fn goldens() -> Vec<Golden> {
    let Some(folder) = golden_folder() else { return Vec::new() };
    let mut goldens = Vec::new();
    let mut unserved = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("list the golden objects") {
        let path = entry.expect("a golden object").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let json = std::fs::read(&path).expect("read a golden object");
        let meta = type_meta(&json).expect("read the type");
        let Some(ty) = by_gvk(meta.group(), meta.version(), &meta.kind) else {
            unserved.push(name);
            continue;
        };
        let decoded = decode_json(ty, &json).unwrap_or_else(|e| panic!("{name}: {e}"));
        goldens.push(Golden { name, ty, json, decoded, base: path.with_extension("") });
    }
    assert!(goldens.len() > 100, "only {} kinds, unserved: {unserved:?}", goldens.len());
    goldens
}

/// White space outside strings taken out.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut inside, mut escaped) = (false, false);
    for byte in json {
        if inside {
            inside = *byte != b'"' || escaped;
            escaped = *byte == b'\\' && !escaped;
            out.push(*byte);
        } else if !byte.is_ascii_whitespace() {
            inside = *byte == b'"';
            out.push(*byte);
        }
    }
    out
}

fn differences(name: &str, got: &Value, want: &Value) -> Option<String> {
    fn walk(path: &str, got: &Value, want: &Value) -> Option<String> {
        match (got, want) {
            (Value::Object(g), Value::Object(w)) => {
                let keys = g.keys().chain(w.keys().filter(|k| !g.contains_key(k)));
                keys.into_iter().find_map(|key| {
                    let nothing = Value::String("<absent>".to_owned());
                    let (g, w) = (g.get(key).unwrap_or(&nothing), w.get(key).unwrap_or(&nothing));
                    walk(&format!("{path}.{key}"), g, w)
                })
            }
            (Value::Array(g), Value::Array(w)) if g.len() == w.len() => g.iter().zip(w).enumerate().find_map(|(i, (g, w))| walk(&format!("{path}[{i}]"), g, w)),
            _ if got == want => None,
            _ => Some(format!("{path}: got {got}, want {want}")),
        }
    }
    walk(name, got, want)
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn json_comes_out_as_it_went_in() {
    let mut failures = Vec::new();
    for golden in goldens() {
        if !golden.decoded.strict.is_empty() {
            failures.push(format!("{}: {:?}", golden.name, golden.decoded.strict));
        }
        let bytes = encode_json(golden.ty, &golden.decoded.object);
        if bytes != compact(&golden.json) {
            let want: Value = skiff_json::from_slice(&golden.json).expect("golden JSON");
            let got: Value = skiff_json::from_slice(&bytes).expect("our JSON");
            let difference = differences(&golden.name, &got, &want);
            failures.push(difference.unwrap_or_else(|| format!("{}: order", golden.name)));
        }
    }
    report(&failures);
}

#[test]
fn protobuf_reads_as_the_same_object() {
    let mut failures = Vec::new();
    for golden in goldens() {
        let Ok(bytes) = std::fs::read(golden.base.with_extension(with(&golden.base, "pb"))) else {
            failures.push(format!("{}: no protobuf", golden.name));
            continue;
        };
        match decode_protobuf(&bytes, None) {
            Ok(read) => failures.extend(differences(&golden.name, &read.object, &golden.decoded.object)),
            Err(error) => failures.push(format!("{}: {error}", golden.name)),
        }
    }
    report(&failures);
}

#[test]
fn protobuf_that_we_write_reads_back() {
    let mut failures = Vec::new();
    for golden in goldens() {
        let json = encode_json(golden.ty, &golden.decoded.object);
        let meta = type_meta(&json).expect("read the type");
        let written = encode_protobuf(golden.ty, &meta.api_version, &meta.kind, &json).and_then(|bytes| decode_protobuf(&bytes, None));
        match written {
            Ok(read) => failures.extend(differences(&golden.name, &read.object, &golden.decoded.object)),
            Err(error) => failures.push(format!("{}: {error}", golden.name)),
        }
    }
    report(&failures);
}

#[test]
fn yaml_reads_as_the_same_object() {
    let mut failures = Vec::new();
    for golden in goldens() {
        let yaml = std::fs::read(golden.base.with_extension(with(&golden.base, "yaml")));
        let Ok(yaml) = yaml else {
            failures.push(format!("{}: no YAML", golden.name));
            continue;
        };
        let read = yaml_to_json(&yaml).and_then(|(json, _)| decode_json(golden.ty, &json));
        match read {
            Ok(read) => failures.extend(differences(&golden.name, &read.object, &golden.decoded.object)),
            Err(error) => failures.push(format!("{}: {error}", golden.name)),
        }
    }
    report(&failures);
}

/// The names have dots: what `with_extension` takes for an extension stays.
fn with(base: &Path, extension: &str) -> String {
    let kept = base.extension().map(|e| e.to_string_lossy().into_owned());
    kept.map_or(extension.to_owned(), |kept| format!("{kept}.{extension}"))
}

/// Calls `change` with the value at a place, counted in the order of a walk. False: there are fewer.
fn at(v: &mut Value, place: &mut usize, change: &mut dyn FnMut(&mut Value)) -> bool {
    if *place == 0 {
        change(v);
        return true;
    }
    *place -= 1;
    match v {
        Value::Object(m) => m.values_mut().any(|v| at(v, place, change)),
        Value::Array(l) => l.iter_mut().any(|v| at(v, place, change)),
        _ => false,
    }
}

fn reversed(v: &Value) -> Value {
    match v {
        Value::Object(m) => Value::Object(m.iter().rev().map(|(k, v)| (k.clone(), reversed(v))).collect()),
        Value::Array(l) => Value::Array(l.iter().map(reversed).collect()),
        v => v.clone(),
    }
}

/// Settling gives what decoding gives, to the order of fields, or leaves what decodes to the same.
fn settles_like_decoding(name: &str, ty: &'static Type, v: &Value) -> bool {
    let decoded = decode_value(ty, v);
    let mut settled = v.clone();
    let done = settle(ty, &mut settled);
    if done {
        let decoded = decoded.unwrap_or_else(|e| panic!("{name}: settled, but {e}: {v}"));
        assert_eq!(settled.to_string(), decoded.object.to_string(), "{name}");
        assert!(decoded.strict.is_empty(), "{name}: {:?}", decoded.strict);
    } else {
        let text = |r: Result<Decoded, skiff_codec::DecodeError>| r.map(|d| (d.object.to_string(), d.strict)).map_err(|e| e.to_string());
        assert_eq!(text(decode_value(ty, &settled)), text(decoded), "{name}");
    }
    done
}

#[test]
fn values_are_settled_where_they_stand() {
    let odd = [
        Value::Null,
        "".into(),
        0.into(),
        false.into(),
        skiff_json::json!([]),
        skiff_json::json!({}),
        "x".into(),
        1.5.into(),
        skiff_json::json!({"z": null, "a": 1}),
        skiff_json::json!([null]),
        u64::MAX.into(),
        2.0.into(),
    ];
    let mut done = 0;
    let all = goldens();
    for g in &all {
        let v: Value = skiff_json::from_slice(&g.json).expect("JSON");
        done += usize::from(settles_like_decoding(&g.name, g.ty, &v)) + usize::from(settles_like_decoding(&g.name, g.ty, &reversed(&g.decoded.object)));
        for i in 0..60 {
            let mut changed = g.decoded.object.clone();
            let (mut place, with) = (1 + i * 7 % 400 + i, &odd[i % odd.len()]);
            at(&mut changed, &mut place, &mut |v| *v = with.clone());
            settles_like_decoding(&g.name, g.ty, &changed);
        }
    }
    assert!(done > all.len(), "most are settled: {done} of {}", 2 * all.len());
}
