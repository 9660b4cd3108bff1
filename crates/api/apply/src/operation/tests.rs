use super::*;
use skiff_json::json;

const T0: &str = "2026-01-01T00:00:00Z";
const T1: &str = "2026-01-01T00:00:01Z";

fn tracker() -> Tracker<'static> {
    let t = skiff_schema::by_gvk("apps", "v1", "Deployment").unwrap();
    Tracker::new(Shape::Struct(t), "apps/v1", "", &["status"])
}
fn deployment(replicas: u32, containers: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}}, "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
}
fn owners(v: &Value) -> Vec<String> {
    v["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| format!("{}/{}", e["manager"].as_str().unwrap(), e["operation"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_apply_creates_and_a_second_of_the_same_changes_nothing() {
    let c = deployment(1, json!([{"name": "c", "image": "i"}]));
    let (live, changed) = tracker().apply(&Value::Null, &c, "m", false, T0).unwrap();
    assert!(changed);
    assert_eq!(
        live["metadata"]["managedFields"][0]["fieldsV1"].to_string(),
        r#"{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#
    );
    let (again, changed) = tracker().apply(&live, &c, "m", false, T1).unwrap();
    assert!(!changed);
    assert_eq!(again, live);
}

#[test]
fn a_field_of_another_is_a_conflict_and_force_takes_it() {
    let (live, _) = tracker().apply(&Value::Null, &deployment(1, json!([{"name": "c", "image": "i"}])), "one", false, T0).unwrap();
    let two = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3}});
    let Err(ApplyError::Conflict(s)) = tracker().apply(&live, &two, "two", false, T1) else { panic!("no conflict") };
    assert_eq!(s.message, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
    assert_eq!(s.details.unwrap().causes[0].field, ".spec.replicas");
    let (live, _) = tracker().apply(&live, &two, "two", true, T1).unwrap();
    assert_eq!(live["spec"]["replicas"], 3);
    assert!(!live["metadata"]["managedFields"][0]["fieldsV1"].to_string().contains("f:replicas"));
}

#[test]
fn what_an_applier_no_longer_sets_goes_unless_another_owns_it() {
    let both = deployment(1, json!([{"name": "c", "image": "i"}, {"name": "side", "image": "s"}]));
    let (live, _) = tracker().apply(&Value::Null, &both, "one", false, T0).unwrap();
    let one = deployment(1, json!([{"name": "c", "image": "i"}]));
    let (gone, _) = tracker().apply(&live, &one, "one", false, T1).unwrap();
    assert_eq!(gone["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let (shared, _) = tracker().apply(&live, &both, "two", false, T1).unwrap();
    let (kept, _) = tracker().apply(&shared, &one, "one", false, T1).unwrap();
    assert_eq!(kept["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
}

#[test]
fn items_without_keys_leave_managers_as_they_were() {
    let mut fresh = deployment(1, json!([{"image": "i"}]));
    tracker().update(&json!({}), &mut fresh, "m", T0);
    assert_eq!(owners(&fresh), Vec::<String>::new());
    let (live, _) = tracker().apply(&Value::Null, &deployment(1, json!([{"name": "c", "image": "i"}])), "one", false, T0).unwrap();
    let mut new = live.clone();
    new["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("name");
    new["spec"]["replicas"] = json!(9);
    tracker().update(&live, &mut new, "two", T1);
    assert_eq!(new["metadata"]["managedFields"], live["metadata"]["managedFields"]);
}

#[test]
fn an_update_owns_what_it_changed() {
    let (live, _) = tracker().apply(&Value::Null, &deployment(1, json!([{"name": "c", "image": "i"}])), "one", false, T0).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = 5.into();
    tracker().update(&live, &mut new, "kubectl", T1);
    assert_eq!(owners(&new), ["one/Apply", "kubectl/Update"]);
    assert_eq!(new["metadata"]["managedFields"][1]["fieldsV1"].to_string(), r#"{"f:spec":{"f:replicas":{}}}"#);
    let mut same = new.clone();
    tracker().update(&new, &mut same, "other", T1);
    assert_eq!(same, new);
}

#[test]
fn updates_of_an_object_without_managers_are_not_tracked() {
    let live = json!({"metadata": {"name": "d", "uid": "u"}, "spec": {"replicas": 1}});
    let mut new = json!({"metadata": {"name": "d", "uid": "u"}, "spec": {"replicas": 2}});
    tracker().update(&live, &mut new, "kubectl", T1);
    assert!(owners(&new).is_empty());
    let (applied, _) = tracker().apply(&new, &json!({"metadata": {"name": "d"}, "spec": {"paused": true}}), "me", false, T1).unwrap();
    assert_eq!(owners(&applied), ["me/Apply", "before-first-apply/Update"]);
}

#[test]
fn ports_are_keyed_by_number_and_defaulted_protocol() {
    let with = |p: Value| deployment(1, json!([{"name": "c", "image": "i", "ports": p}]));
    let (live, _) = tracker().apply(&Value::Null, &with(json!([{"containerPort": 80}])), "one", false, T0).unwrap();
    let (live, _) = tracker()
        .apply(&live, &with(json!([{"containerPort": 80, "protocol": "TCP", "name": "w"}, {"containerPort": 80, "protocol": "UDP"}])), "one", false, T1)
        .unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().len(), 2);
}

#[test]
fn managed_fields_can_be_reset_but_not_applied() {
    let mut c = deployment(1, json!([]));
    c["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert!(matches!(tracker().apply(&Value::Null, &c, "m", false, T0), Err(ApplyError::ManagedFieldsGiven)));
    let (live, _) = tracker().apply(&Value::Null, &deployment(1, json!([])), "m", false, T0).unwrap();
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    tracker().update(&live, &mut new, "k", T1);
    assert!(new["metadata"].get("managedFields").is_none());
}

#[test]
fn the_last_label_withdrawn_leaves_the_name() {
    let (live, _) = tracker().apply(&Value::Null, &deployment(1, json!([{"name": "c", "image": "i"}])), "m", false, T0).unwrap();
    let bare = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1}});
    let (live, _) = tracker().apply(&live, &bare, "m", false, T1).unwrap();
    assert_eq!((live["metadata"]["name"].as_str(), live["metadata"].get("labels")), (Some("d"), None));
}

#[test]
fn kubectl_takes_over_what_its_client_side_apply_set() {
    let config = deployment(1, json!([{"name": "c", "image": "i"}]));
    let mut live = config.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: config.to_string()});
    tracker().update(&Value::Null, &mut live, "kubectl-client-side-apply", T0);
    let wish = deployment(2, json!([{"name": "c", "image": "j"}]));
    assert!(matches!(tracker().apply(&live, &wish, "other", false, T1), Err(ApplyError::Conflict(_))));
    let (taken, _) = tracker().apply(&live, &wish, "kubectl", false, T1).unwrap();
    assert_eq!((&taken["spec"]["replicas"], owners(&taken).contains(&"kubectl/Apply".to_owned())), (&json!(2), true));
    let told: Value = skiff_json::from_str(taken["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(told, wish, "who goes back to the client's apply finds what was applied");
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 7.into();
    tracker().update(&live, &mut scaled, "scaler", T0);
    let Err(ApplyError::Conflict(s)) = tracker().apply(&scaled, &wish, "kubectl", false, T1) else { panic!("what somebody else set since is not kubectl's") };
    assert_eq!(s.message, "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas");
}

#[test]
fn a_field_marked_granular_is_owned_below_though_its_type_is_atomic() {
    let t = skiff_schema::by_gvk("", "v1", "PersistentVolume").unwrap();
    let tracker = Tracker::new(Shape::Struct(t), "v1", "", &["status"]);
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": "n", "name": "c"}}});
    let (live, _) = tracker.apply(&Value::Null, &volume, "m", false, T0).unwrap();
    assert_eq!(live["metadata"]["managedFields"][0]["fieldsV1"].to_string(), r#"{"f:spec":{"f:claimRef":{"f:name":{},"f:namespace":{}}}}"#);
}

#[test]
fn a_parent_that_another_owns_outlives_what_was_below_it() {
    let env = |from: Value| deployment(1, json!([{"name": "c", "env": [{"name": "F", "valueFrom": from}]}]));
    let mut created = env(json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "a"}}));
    tracker().update(&json!({"metadata": {}, "spec": {"template": {"spec": {}}}}), &mut created, "u", T0);
    let (live, _) = tracker().apply(&created, &env(json!({"fieldRef": {"fieldPath": "b"}})), "one", true, T1).unwrap();
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    let (less, _) = tracker().apply(&live, &nothing, "one", false, T1).unwrap();
    assert_eq!(less["spec"]["template"]["spec"]["containers"][0]["env"], json!([{"name": "F", "valueFrom": null}]));
    assert!(less["metadata"]["managedFields"][0]["fieldsV1"].to_string().contains("f:valueFrom"), "{less}");
}

/// Numbers that are the same in each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    fn config(&mut self) -> Value {
        let mut spec = json!({});
        if self.below(2) == 0 {
            spec["replicas"] = self.below(3).into();
        }
        if self.below(3) == 0 {
            spec["paused"] = true.into();
        }
        let env = |d: &mut Self| -> Vec<Value> {
            (0..d.below(12)).filter(|_| d.below(3) > 0).map(|n| json!({"name": format!("E{n}"), "value": format!("{}", n % 3)})).collect()
        };
        let containers: Vec<Value> =
            (0..self.below(3)).map(|n| json!({"name": format!("c{n}"), "image": format!("i{}", self.below(2)), "env": env(self)})).collect();
        if !containers.is_empty() {
            spec["template"] = json!({"spec": {"containers": containers}});
        }
        let labels: skiff_json::Map = (0..self.below(3)).map(|n| (format!("l{n}"), self.below(2).to_string().into())).collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": labels}, "spec": spec})
    }
}

#[test]
fn folded_managers_come_to_the_same() {
    let mut draw = Draw(1);
    let of_status = || Tracker::new(Shape::Struct(skiff_schema::by_gvk("apps", "v1", "Deployment").unwrap()), "apps/v1", "status", &["spec"]);
    for _ in 0..60 {
        let (mut plain, mut folded) = (Value::Null, Value::Null);
        for step in 0..14 {
            let (config, who, now) = (draw.config(), format!("m{}", draw.below(4)), format!("2026-01-01T00:00:{step:02}Z"));
            let (force, kind) = (draw.below(2) == 0, draw.below(3));
            let write = |live: &Value, on: bool| -> Result<Value, String> {
                match kind {
                    0 if !live.is_null() => {
                        let mut new = live.clone();
                        new["metadata"]["labels"] = config["metadata"]["labels"].clone();
                        new["spec"] = config["spec"].clone();
                        new["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
                        tracker().folded(on).update(live, &mut new, &who, &now);
                        Ok(new)
                    }
                    1 if !live.is_null() => {
                        let mut new = live.clone();
                        new["status"] = json!({"replicas": config["spec"]["replicas"]});
                        new["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
                        of_status().folded(on).update(live, &mut new, &who, &now);
                        Ok(new)
                    }
                    _ => tracker().folded(on).apply(live, &config, &who, force, &now).map(|(v, changed)| json!([v, changed])).map_err(|e| e.to_string()),
                }
            };
            let (one, other) = (write(&plain, false), write(&folded, true));
            match (one, other) {
                (Ok(one), Ok(other)) => {
                    let object = |v: Value| match v {
                        Value::Array(mut both) => both.swap_remove(0),
                        v => v,
                    };
                    assert_eq!(one.get(1), other.get(1), "whether something changed");
                    (plain, folded) = (object(one), object(other));
                    let mut written_out = folded.clone();
                    skiff_meta::unfold(&mut written_out);
                    assert_eq!(written_out.to_string(), plain.to_string());
                }
                (one, other) => assert_eq!(one.unwrap_err(), other.unwrap_err()),
            }
        }
    }
}
