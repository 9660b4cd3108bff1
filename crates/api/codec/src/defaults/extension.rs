//! The smaller groups: networking, RBAC, storage, scheduling, admission, flow control, discovery, CRDs.

use skiff_json::{Map, Value, json};

use super::Context;
use super::fields::FieldsExt;

const RBAC: &str = "rbac.authorization.k8s.io";
const HTTPS_PORT: i64 = 443;
const HOUR_SECONDS: i64 = 3600;

pub fn of_type(name: &str, map: &mut Map, context: Context<'_>) {
    let (package, short) = name.rsplit_once('.').unwrap_or(("", name));
    match package.strip_prefix("io.k8s.api.").unwrap_or(package) {
        "networking.v1" => networking(short, map),
        "networking.v1beta1" if short == "HTTPIngressPath" => {
            map.set_nil("pathType", "ImplementationSpecific");
        }
        "rbac.v1" => rbac(short, map),
        "storage.v1" | "storage.v1beta1" => storage(short, map),
        "scheduling.v1" | "scheduling.v1beta1" if short == "PriorityClass" => {
            map.set_nil("preemptionPolicy", "PreemptLowerPriority");
        }
        "discovery.v1" if short == "EndpointPort" => {
            map.set_nil("name", "");
            map.set_nil("protocol", "TCP");
        }
        "flowcontrol.v1" => flow_control(short, map),
        "authentication.v1" if short == "TokenRequestSpec" => {
            map.set_nil("expirationSeconds", HOUR_SECONDS);
        }
        "admissionregistration.v1" => admission_v1(short, map),
        "admissionregistration.v1alpha1" | "admissionregistration.v1beta1" => {
            admission_preview(package, short, map);
        }
        "certificates.v1beta1" if short == "CertificateSigningRequestCondition" => {
            map.set_zero("status", "True");
        }
        resource if resource.starts_with("resource.") => device(resource, short, map, context),
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1" => definition(short, map),
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1" if short == "ServiceReference" => {
            map.set_nil("port", HTTPS_PORT);
        }
        _ => {}
    }
}

fn networking(short: &str, map: &mut Map) {
    match short {
        "NetworkPolicyPort" => map.set_nil("protocol", "TCP"),
        "NetworkPolicy" => {
            let spec = map.object_mut("spec");
            let types = if spec.is_zero("egress") { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            spec.set_zero("policyTypes", types);
        }
        "IngressClass" => {
            let spec = map.object_mut("spec");
            if let Some(Value::Object(parameters)) = spec.get_mut("parameters") {
                parameters.set_nil("scope", "Cluster");
            }
        }
        _ => {}
    }
}

fn rbac(short: &str, map: &mut Map) {
    match short {
        "ClusterRoleBinding" | "RoleBinding" => {
            map.object_mut("roleRef").set_zero("apiGroup", RBAC);
        }
        "Subject" if matches!(map.text("kind"), "User" | "Group") => {
            map.set_zero("apiGroup", RBAC);
        }
        _ => {}
    }
}

fn storage(short: &str, map: &mut Map) {
    match short {
        "StorageClass" => {
            map.set_nil("reclaimPolicy", "Delete");
            map.set_nil("volumeBindingMode", "Immediate");
        }
        "CSIDriver" => {
            let spec = map.object_mut("spec");
            spec.set_nil("attachRequired", true);
            spec.set_nil("podInfoOnMount", false);
            spec.set_nil("storageCapacity", false);
            spec.set_nil("fsGroupPolicy", "ReadWriteOnceWithFSType");
            spec.set_zero("volumeLifecycleModes", json!(["Persistent"]));
            spec.set_nil("requiresRepublish", false);
            spec.set_nil("seLinuxMount", false);
            spec.set_nil("preventPodSchedulingIfMissing", false);
        }
        _ => {}
    }
}

fn flow_control(short: &str, map: &mut Map) {
    match short {
        "FlowSchemaSpec" => map.set_zero("matchingPrecedence", 1000),
        "ExemptPriorityLevelConfiguration" => {
            map.set_nil("nominalConcurrencyShares", 0);
            map.set_nil("lendablePercent", 0);
        }
        "LimitedPriorityLevelConfiguration" => {
            map.set_nil("nominalConcurrencyShares", 30);
            map.set_nil("lendablePercent", 0);
        }
        "QueuingConfiguration" => {
            map.set_zero("handSize", 8);
            map.set_zero("queues", 64);
            map.set_zero("queueLengthLimit", 50);
        }
        _ => {}
    }
}

fn admission_v1(short: &str, map: &mut Map) {
    match short {
        "ValidatingWebhook" | "MutatingWebhook" => {
            map.set_nil("failurePolicy", "Fail");
            matching(map, "Equivalent");
            map.set_nil("timeoutSeconds", 10);
            if short == "MutatingWebhook" {
                map.set_nil("reinvocationPolicy", "Never");
            }
        }
        // Rules stand inside RuleWithOperations, whose fields they share in JSON.
        "Rule" | "RuleWithOperations" | "NamedRuleWithOperations" => map.set_nil("scope", "*"),
        "ServiceReference" => map.set_nil("port", HTTPS_PORT),
        _ => policy(short, map),
    }
}

fn admission_preview(package: &str, short: &str, map: &mut Map) {
    match short {
        "ValidatingWebhook" | "MutatingWebhook" => {
            map.set_nil("failurePolicy", "Ignore");
            matching(map, "Exact");
            map.set_nil("sideEffects", "Unknown");
            map.set_nil("timeoutSeconds", 30);
            if short == "MutatingWebhook" {
                map.set_nil("reinvocationPolicy", "Never");
            }
            map.set_zero("admissionReviewVersions", json!(["v1beta1"]));
        }
        "ServiceReference" => map.set_nil("port", HTTPS_PORT),
        "NamedRuleWithOperations" => map.set_nil("scope", "*"),
        "ParamRef" if package.ends_with("v1alpha1") => {
            map.set_nil("parameterNotFoundAction", "Deny");
        }
        _ => policy(short, map),
    }
}

fn policy(short: &str, map: &mut Map) {
    match short {
        "ValidatingAdmissionPolicySpec" | "MutatingAdmissionPolicySpec" => {
            map.set_nil("failurePolicy", "Fail");
        }
        "MatchResources" => matching(map, "Equivalent"),
        _ => {}
    }
}

fn matching(map: &mut Map, policy: &str) {
    map.set_nil("matchPolicy", policy);
    map.set_nil("namespaceSelector", json!({}));
    map.set_nil("objectSelector", json!({}));
}

fn device(package: &str, short: &str, map: &mut Map, context: Context<'_>) {
    match short {
        "ExactDeviceRequest" | "DeviceSubRequest" => device_count(map),
        // In v1beta1 a request without a class holds alternatives instead.
        "DeviceRequest" if package == "resource.v1beta1" && !map.is_zero("deviceClassName") => {
            device_count(map);
        }
        "DeviceTaint" => map.set_nil("timeAdded", context.now),
        "ResourcePoolStatusRequestSpec" => map.set_nil("limit", 100),
        _ => {}
    }
}

fn device_count(map: &mut Map) {
    map.set_zero("allocationMode", "ExactCount");
    if map.text("allocationMode") == "ExactCount" {
        map.set_zero("count", 1);
    }
}

fn definition(short: &str, map: &mut Map) {
    match short {
        "CustomResourceDefinition" => {
            definition_spec(map.object_mut("spec"));
            stored_version(map);
        }
        "ServiceReference" => map.set_nil("port", HTTPS_PORT),
        _ => {}
    }
}

fn definition_spec(spec: &mut Map) {
    let names = spec.object_mut("names");
    let kind = names.text("kind").to_owned();
    names.set_zero("singular", kind.to_lowercase());
    if !kind.is_empty() {
        names.set_zero("listKind", format!("{kind}List"));
    }
    spec.set_nil("conversion", json!({"strategy": "None"}));
}

fn stored_version(map: &mut Map) {
    let spec = map.object("spec");
    let versions = spec.and_then(|s| s.get("versions")).and_then(Value::as_array);
    let stored = versions.and_then(|versions| {
        let objects = versions.iter().filter_map(Value::as_object);
        objects.filter(|v| !v.is_zero("storage")).map(|v| v.text("name").to_owned()).next()
    });
    if let Some(stored) = stored {
        map.object_mut("status").set_zero("storedVersions", json!([stored]));
    }
}
