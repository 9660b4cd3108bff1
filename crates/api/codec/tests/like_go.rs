//! What Go does with unusual input, case by case: canonical form, strict findings, error texts.

use skiff_codec::{decode_json, encode_json, strict_message};
use skiff_schema::by_gvk;

/// Decodes as a kind and gives the canonical bytes, the findings after ` # `, or the error.
fn outcome(gvk: (&str, &str, &str), body: &str) -> String {
    let ty = by_gvk(gvk.0, gvk.1, gvk.2).expect("a known kind");
    match decode_json(ty, body.as_bytes()) {
        Err(error) => format!("ERROR {error}"),
        Ok(decoded) => {
            let bytes = encode_json(ty, &decoded.object);
            let text = String::from_utf8(bytes).expect("UTF-8");
            if decoded.strict.is_empty() { text } else { format!("{text} # {}", strict_message(&decoded.strict)) }
        }
    }
}

const CONFIG_MAP: (&str, &str, &str) = ("", "v1", "ConfigMap");
const POD: (&str, &str, &str) = ("", "v1", "Pod");
const DEFINITION: (&str, &str, &str) = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");

#[test]
fn canonical_forms() {
    for (gvk, body, want) in [
        (CONFIG_MAP, r#"{"metadata":{"labels":{"b":null,"a":"1"},"name":"x"},"data":{}}"#, r#"{"metadata":{"name":"x","labels":{"a":"1","b":""}}}"#),
        (CONFIG_MAP, r#"{"binaryData":{"k":"YQ\n=="},"immutable":false}"#, r#"{"metadata":{},"immutable":false,"binaryData":{"k":"YQ=="}}"#),
        (
            POD,
            r#"{"kind":"Pod","apiVersion":"v1","spec":{"containers":null,"hostNetwork":false}}"#,
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":null},"status":{}}"#,
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":0.5,"memory":"1024Mi"}}}]}}"#,
            r#"{"metadata":{},"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"500m","memory":"1Gi"}}}]},"status":{}}"#,
        ),
        (
            POD,
            r#"{"metadata":{"creationTimestamp":null,"deletionTimestamp":"2024-05-01T12:00:00+02:00"},"spec":{"containers":[]}}"#,
            r#"{"metadata":{"deletionTimestamp":"2024-05-01T10:00:00Z"},"spec":{"containers":[]},"status":{}}"#,
        ),
        (
            POD,
            r#"{"spec":{"volumes":[{"emptyDir":{},"name":"v"}],"containers":[{"image":"i","name":"<&>"}]}}"#,
            r#"{"metadata":{},"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"\u003c\u0026\u003e","image":"i","resources":{}}]},"status":{}}"#,
        ),
        (
            DEPLOYMENT,
            r#"{"spec":{"replicas":0}}"#,
            r#"{"metadata":{},"spec":{"replicas":0,"selector":null,"template":{"metadata":{},"spec":{"containers":null}},"strategy":{}},"status":{}}"#,
        ),
    ] {
        assert_eq!(outcome(gvk, body), want, "{body}");
    }
}

#[test]
fn strict_findings() {
    for (body, want) in [
        (
            r#"{"spec":{"foo":1,"containers":[{"name":"a","imagee":"x"}]},"Metadata":{}}"#,
            r#"strict decoding error: unknown field "spec.foo", unknown field "spec.containers[0].imagee", unknown field "Metadata""#,
        ),
        (
            r#"{"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}}}"#,
            r#"strict decoding error: duplicate field "metadata.name", duplicate field "metadata.labels.x""#,
        ),
    ] {
        let got = outcome(POD, body);
        assert_eq!(got.split_once(" # ").map(|(_, s)| s), Some(want), "{got}");
    }
}

#[test]
fn error_texts() {
    for (gvk, body, want) in [
        (DEPLOYMENT, r#"{"spec":{"replicas":"3"}}"#, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (DEPLOYMENT, r#"{"spec":{"replicas":1.5}}"#, "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (
            DEPLOYMENT,
            r#"{"spec":{"replicas":4294967296}}"#,
            "json: cannot unmarshal number 4294967296 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (POD, r#"{"spec":{"containers":{"name":"a"}}}"#, "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
        (POD, r#"{"spec":{"restartPolicy":true}}"#, "json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"),
        (POD, r#"{"metadata":{"labels":{"a":1}}}"#, "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"),
        (
            POD,
            r#"{"spec":{"volumes":[{"name":"v","emptyDir":"x"}]}}"#,
            "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource",
        ),
        (
            POD,
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"abc"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            POD,
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#,
        ),
        (
            POD,
            r#"{"metadata":{"creationTimestamp":5}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (CONFIG_MAP, r#"{"binaryData":{"k":"***"}}"#, "illegal base64 data at input byte 0"),
        (
            DEFINITION,
            r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"properties":{"l":{"items":{"properties":{"k":{"type":7}}}}}}}}]}}"#,
            "json: cannot unmarshal number into Go struct field JSONSchemaProps.spec.versions.schema.openAPIV3Schema.properties.items.properties.type of type string",
        ),
        (POD, r#"[]"#, "json: cannot unmarshal array into Go value of type v1.Pod"),
        (POD, r#"{"a":}"#, "couldn't get version/kind; json parse error: invalid character '}' looking for beginning of value"),
        (POD, r#"{"a":1"#, "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        (POD, r#"{a:1}"#, "couldn't get version/kind; json parse error: invalid character 'a' looking for beginning of object key string"),
        (POD, r#"{} x"#, "couldn't get version/kind; json parse error: invalid character 'x' after top-level value"),
        (POD, r#"{"a":nul}"#, "couldn't get version/kind; json parse error: invalid character '}' in literal null (expecting 'l')"),
        (POD, "", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
    ] {
        assert_eq!(outcome(gvk, body), format!("ERROR {want}"), "{body}");
    }
}
