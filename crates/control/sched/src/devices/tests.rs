use super::*;
use skiff_json::{Value, json};

fn slices(v: Value) -> Vec<ResourceSlice> {
    skiff_json::from_value(v).unwrap()
}
fn gpu(name: &str, model: &str, memory: &str, numa: i64) -> Value {
    json!({"name": name, "attributes": {"model": {"string": model}, "numa": {"int": numa}, "firmware": {"version": "1.2.3"}}, "capacity": {"memory": {"value": memory}}})
}
fn slice(devices: &[Value]) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {"driver": "gpu.example.com", "nodeName": "n", "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}, "devices": devices}})
}
fn inventory(slices_: Value) -> Inventory {
    let class: DeviceClass =
        skiff_json::from_value(json!({"metadata": {"name": "gpu"}, "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}],
        "config": [{"opaque": {"driver": "gpu.example.com", "parameters": {"a": 1}}}]}}))
        .unwrap();
    Inventory { slices: slices(slices_), classes: [("gpu".to_owned(), class)].into(), ..Default::default() }
}
fn claim(devices: Value) -> ResourceClaim {
    skiff_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": {"devices": devices}})).unwrap()
}
fn node(name: &str) -> NodeFacts {
    NodeFacts { name: name.into(), ..Default::default() }
}
fn names(found: &Result<Vec<AllocationResult>, Unable>) -> String {
    match found {
        Err(Unable::Here) => "none".into(),
        Err(Unable::Wrong(why)) => why.clone(),
        Ok(all) => {
            let of = |a: &AllocationResult| {
                a.devices.iter().flat_map(|d| d.results.iter().flatten()).map(|r| format!("{}={}", r.request, r.device)).collect::<Vec<_>>().join(" ")
            };
            all.iter().map(of).collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn requests_get_what_they_ask_for() {
    let all = json!([slice(&[gpu("a", "small", "1Gi", 0), gpu("b", "big", "8Gi", 0), gpu("c", "big", "8Gi", 1), gpu("d", "big", "16Gi", 1)])]);
    let exactly = |more: Value| {
        let mut e = json!({"deviceClassName": "gpu"});
        for (k, v) in more.as_object().unwrap() {
            e[k] = v.clone();
        }
        json!({"name": "r", "exactly": e})
    };
    let cel = |text: &str| json!([{"cel": {"expression": text}}]);
    for (what, devices, want) in [
        ("one", json!({"requests": [exactly(json!({}))]}), "r=a"),
        ("two", json!({"requests": [exactly(json!({"count": 2}))]}), "r=a r=b"),
        ("by attribute", json!({"requests": [exactly(json!({"selectors": cel("device.attributes['gpu.example.com'].model == 'big'")}))]}), "r=b"),
        (
            "by capacity",
            json!({"requests": [exactly(json!({"selectors": cel("device.capacity['gpu.example.com'].memory.compareTo(quantity('10Gi')) > 0")}))]}),
            "r=d",
        ),
        (
            "by version",
            json!({"requests": [exactly(json!({"selectors": cel("device.attributes['gpu.example.com'].firmware.isGreaterThan(semver('1.2.0'))")}))]}),
            "r=a",
        ),
        (
            "with a name bound",
            json!({"requests": [exactly(json!({"selectors": cel("cel.bind(a, device.attributes['gpu.example.com'], a.model == 'big' && a.numa == 1)")}))]}),
            "r=c",
        ),
        ("another domain is empty", json!({"requests": [exactly(json!({"selectors": cel("has(device.attributes['other.example.com'].x)")}))]}), "none"),
        (
            "on one numa node",
            json!({"requests": [exactly(json!({"count": 2, "selectors": cel("device.attributes['gpu.example.com'].model == 'big'")}))], "constraints": [{"matchAttribute": "gpu.example.com/numa"}]}),
            "r=c r=d",
        ),
        ("on different ones", json!({"requests": [exactly(json!({"count": 2}))], "constraints": [{"distinctAttribute": "gpu.example.com/numa"}]}), "r=a r=c"),
        ("all", json!({"requests": [exactly(json!({"allocationMode": "All"}))]}), "r=a r=b r=c r=d"),
        ("too many", json!({"requests": [exactly(json!({"count": 5}))]}), "none"),
        (
            "the first that is to be had",
            json!({"requests": [{"name": "r", "firstAvailable": [{"name": "x", "deviceClassName": "gpu", "count": 5}, {"name": "y", "deviceClassName": "gpu", "count": 2}]}]}),
            "r/y=a r/y=b",
        ),
        ("no class", json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "fpga"}}]}), "request r: device class fpga does not exist"),
    ] {
        let found = allocate(&inventory(all.clone()), &[claim(devices)], &node("n"), &Selectors::default());
        assert_eq!(names(&found), want, "{what}");
    }
}

#[test]
fn what_others_have_is_not_given_again() {
    let mut i = inventory(json!([slice(&[gpu("a", "m", "1Gi", 0), gpu("b", "m", "1Gi", 0)])]));
    let one = claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}));
    let two = [one.clone(), one.clone()];
    assert_eq!(names(&allocate(&i, &two, &node("n"), &Selectors::default())), "r=a; r=b");
    let first = allocate(&i, &two[..1], &node("n"), &Selectors::default()).unwrap();
    i.taken.extend(taken(&first[0]));
    assert_eq!(names(&allocate(&i, &two[..1], &node("n"), &Selectors::default())), "r=b");
    assert_eq!(names(&allocate(&i, &two, &node("n"), &Selectors::default())), "none");
    assert_eq!(names(&allocate(&i, &two[..1], &node("other"), &Selectors::default())), "none");
    let all = claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}]}));
    assert_eq!(names(&allocate(&i, &[all], &node("n"), &Selectors::default())), "none");
    let admin = claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": true, "allocationMode": "All"}}]}));
    let found = allocate(&i, &[admin], &node("n"), &Selectors::default());
    assert_eq!(names(&found), "r=a r=b");
    assert_eq!(taken(&found.unwrap()[0]).count(), 0);
}

#[test]
fn the_allocation_says_where_and_how() {
    let i = inventory(json!([slice(&[gpu("a", "m", "1Gi", 0)])]));
    let c = claim(
        json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}], "config": [{"requests": ["r"], "opaque": {"driver": "gpu.example.com", "parameters": {"b": 2}}}, {"requests": ["other"], "opaque": {"driver": "x", "parameters": {}}}]}),
    );
    let a = allocate(&i, &[c], &node("n"), &Selectors::default()).unwrap().remove(0);
    let v = skiff_json::to_value(&a).unwrap();
    assert_eq!(v["nodeSelector"]["nodeSelectorTerms"][0]["matchFields"][0], json!({"key": "metadata.name", "operator": "In", "values": ["n"]}));
    let sources: Vec<&Value> = v["devices"]["config"].as_array().unwrap().iter().map(|c| &c["source"]).collect();
    assert_eq!(sources, ["FromClass", "FromClaim"]);
}

#[test]
fn taints_and_counters_keep_devices_back() {
    let part = |name: &str, memory: &str| json!({"name": name, "consumesCounters": [{"counterSet": "card", "counters": {"memory": {"value": memory}}}]});
    let mut whole = slice(&[part("half-1", "4Gi"), part("half-2", "4Gi"), part("whole", "8Gi")]);
    whole["spec"]["sharedCounters"] = json!([{"name": "card", "counters": {"memory": {"value": "8Gi"}}}]);
    let mut i = inventory(json!([whole]));
    let n = |count: i64| claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "count": count}}]}));
    assert_eq!(names(&allocate(&i, &[n(2)], &node("n"), &Selectors::default())), "r=half-1 r=half-2");
    assert_eq!(names(&allocate(&i, &[n(3)], &node("n"), &Selectors::default())), "none");
    i.taken.insert(("gpu.example.com".into(), "n".into(), "whole".into()));
    assert_eq!(names(&allocate(&i, &[n(1)], &node("n"), &Selectors::default())), "none");
    i.taken.clear();
    i.taints = skiff_json::from_value(
        json!([{"metadata": {"name": "t"}, "spec": {"deviceSelector": {"device": "half-1"}, "taint": {"key": "k", "value": "v", "effect": "NoSchedule"}}}]),
    )
    .unwrap();
    assert_eq!(names(&allocate(&i, &[n(1)], &node("n"), &Selectors::default())), "r=half-2");
    let tolerant =
        claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "tolerations": [{"key": "k", "operator": "Equal", "value": "v"}]}}]}));
    assert_eq!(names(&allocate(&i, &[tolerant], &node("n"), &Selectors::default())), "r=half-1");
}

#[test]
fn a_new_generation_and_half_a_pool() {
    let mut old = slice(&[gpu("a", "m", "1Gi", 0)]);
    let mut new = slice(&[gpu("b", "m", "1Gi", 0)]);
    old["metadata"]["name"] = "old".into();
    new["spec"]["pool"]["generation"] = 2.into();
    let one = claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}));
    assert_eq!(names(&allocate(&inventory(json!([old, new])), &[one.clone()], &node("n"), &Selectors::default())), "r=b");
    new["spec"]["pool"]["resourceSliceCount"] = 2.into();
    let all = claim(json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}}]}));
    assert_eq!(names(&allocate(&inventory(json!([new])), &[all], &node("n"), &Selectors::default())), "none");
    assert_eq!(names(&allocate(&inventory(json!([new])), &[one], &node("n"), &Selectors::default())), "r=b");
}
