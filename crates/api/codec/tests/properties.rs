//! No decoder panics, whatever the bytes; what one decodes is a fixed point of the canonical form.

use proptest::prelude::*;
use skiff_codec::{
    decode_custom_json, decode_json, decode_protobuf, decode_value, encode_json, encode_protobuf, json_to_yaml, split_frames, type_meta, yaml_to_json,
    yaml_to_value,
};
use skiff_schema::{Type, by_gvk};

fn pod() -> &'static Type {
    by_gvk("", "v1", "Pod").expect("Pod")
}

/// Text that is nearly a Pod.
fn pod_like() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("null".to_owned()),
        Just("1e9".to_owned()),
        Just("-0.5".to_owned()),
        Just("\"metadata\"".to_owned()),
        Just("\"spec\"".to_owned()),
        Just("\"containers\"".to_owned()),
        Just("\"creationTimestamp\"".to_owned()),
        Just("\"resources\"".to_owned()),
        Just("\"limits\"".to_owned()),
        "\"[a-z0-9\\\\.]{0,8}\"",
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// Text of what a YAML writer has to take care of.
fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,9}",
        " {1,3}",
        "\n{1,2}",
        "[\t\r:#'\"\\\\{}\\[\\],&*!|>%@`?~.0-9-]",
        Just(": ".to_owned()),
        Just(" #".to_owned()),
        "[\u{85}\u{A0}\u{2028}\u{2029}\u{FEFF}\u{9F}\u{7}\u{1B}é\u{1F600}]",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn yaml_says_what_json_said(key in awkward(), text in awkward()) {
        let value = skiff_json::json!({"a": {key: [text.as_str(), {"b": text.as_str()}]}, "c": text.as_str()});
        let yaml = json_to_yaml(&value);
        let (back, _) = yaml_to_value(yaml.as_bytes()).map_err(|e| TestCaseError::fail(format!("{e}: {yaml}")))?;
        prop_assert_eq!(back, value, "{}", yaml);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_json(pod(), &bytes);
        let _ = decode_custom_json(&bytes);
        let _ = type_meta(&bytes);
        let _ = yaml_to_json(&bytes);
        let _ = split_frames(&bytes, 1000);
        let mut enveloped = b"k8s\0".to_vec();
        enveloped.extend_from_slice(&bytes);
        let _ = decode_protobuf(&enveloped, None);
        let mut typed = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12".to_vec();
        typed.push(bytes.len().min(127) as u8);
        typed.extend_from_slice(&bytes);
        let _ = decode_protobuf(&typed, None);
    }

    #[test]
    fn nearly_pods(text in pod_like()) {
        let _ = decode_json(pod(), text.as_bytes());
        let _ = decode_custom_json(text.as_bytes());
        let _ = yaml_to_json(text.as_bytes());
    }

    #[test]
    fn canonical_form_is_a_fixed_point(
        name in "[a-z]{1,8}",
        cpu in prop_oneof![Just("0.5"), Just("1500m"), Just("2"), Just("1e3")],
        grace in prop::option::of(0i64..100),
        labels in prop::collection::hash_map("[a-z]{1,4}", "[a-z<>&\"é]{0,4}", 0..4),
        empty in any::<bool>(),
    ) {
        let body = skiff_json::json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": name, "labels": labels, "annotations": if empty { Some(skiff_json::json!({})) } else { None }},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu}}}], "terminationGracePeriodSeconds": grace},
        });
        let first = decode_value(pod(), &body).expect("a pod").object;
        let bytes = encode_json(pod(), &first);
        let second = decode_json(pod(), &bytes).expect("canonical bytes").object;
        prop_assert_eq!(&encode_json(pod(), &second), &bytes);
        prop_assert_eq!(&first, &second);
        let wire = encode_protobuf(pod(), "v1", "Pod", &bytes).expect("protobuf");
        let back = decode_protobuf(&wire, None).expect("read back").object;
        prop_assert_eq!(&back, &second);
    }
}

#[test]
fn nesting_has_a_limit() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let error = decode_custom_json(format!("{{\"x\":{text}}}").as_bytes()).expect_err("too deep");
        assert!(error.to_string().contains("exceeded max depth"), "{error}");
    }
}
