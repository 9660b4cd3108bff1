//! The group autoscaling.

use skiff_json::{Map, Value, json};

use super::fields::FieldsExt;

const CPU_PERCENT: i64 = 80;
/// Where autoscaling/v1 keeps metrics that it has no field for.
const METRICS_ANNOTATION: &str = "autoscaling.alpha.kubernetes.io/metrics";

pub fn of_type(name: &str, map: &mut Map) {
    match name {
        "v1.HorizontalPodAutoscaler" => v1(map),
        "v2.HorizontalPodAutoscaler" => v2(map.object_mut("spec")),
        _ => {}
    }
}

fn v1(map: &mut Map) {
    let annotations = map.object("metadata").and_then(|m| m.object("annotations"));
    let has_metrics = annotations.is_some_and(|a| !a.is_zero(METRICS_ANNOTATION));
    let spec = map.object_mut("spec");
    spec.set_nil("minReplicas", 1);
    if !has_metrics {
        spec.set_nil("targetCPUUtilizationPercentage", CPU_PERCENT);
    }
}

fn v2(spec: &mut Map) {
    spec.set_nil("minReplicas", 1);
    let target = json!({"type": "Utilization", "averageUtilization": CPU_PERCENT});
    let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    spec.set_zero("metrics", cpu);
    if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
        let up = behavior.object_mut("scaleUp");
        up.set_nil("stabilizationWindowSeconds", 0);
        rules(
            up,
            json!([
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ]),
        );
        let down = behavior.object_mut("scaleDown");
        rules(down, json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn rules(rules: &mut Map, policies: Value) {
    rules.set_nil("selectPolicy", "Max");
    rules.set_nil("policies", policies);
}
