//! A job's pods.
use super::{
    plan::NewPod,
    view::{FAILURES, FINALIZER, IGNORED, INDEX, Job},
};
use skiff_json::{Value, json};

/// Completes a pod made of the job's template: the finalizer that it is tracked by, and its index.
pub fn complete(job: &Job, pod: &mut Value, new: &NewPod) {
    let finalizers = &mut pod["metadata"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|f| f == FINALIZER)
    {
        list.push(FINALIZER.into());
    }
    let Some(index) = new.index else { return };
    let meta = &mut pod["metadata"];
    meta["labels"][INDEX] = index.to_string().into();
    meta["annotations"][INDEX] = index.to_string().into();
    meta["generateName"] = prefix(&job.metadata.name, index).into();
    if job.spec.backoff_limit_per_index.is_some() {
        meta["annotations"][FAILURES] = new.failures.to_string().into();
        if new.ignored > 0 {
            meta["annotations"][IGNORED] = new.ignored.to_string().into();
        }
    }
    pod["spec"]["hostname"] = format!("{}-{index}", job.metadata.name).into();
    for list in ["initContainers", "containers"] {
        for c in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            tell_index(c);
        }
    }
}

fn tell_index(container: &mut Value) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let var = json!({"name": NAME, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']")}}});
    match container["env"].as_array_mut() {
        Some(env) if env.iter().any(|v| v["name"] == NAME) => {}
        Some(env) => env.push(var),
        None => container["env"] = json!([var]),
    }
}

/// `job-3-`, the job's name cut so that the index stays.
fn prefix(job: &str, index: i64) -> String {
    let tail = format!("-{index}-");
    let mut name = job.to_owned();
    name.truncate(58 - tail.len().min(58));
    name + &tail
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn indexed_pods_know_their_index() {
        let job: Job = skiff_json::from_value(json!({"metadata": {"name": "j"}, "spec": {"completionMode": "Indexed", "backoffLimitPerIndex": 1}})).unwrap();
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]}});
        complete(&job, &mut pod, &NewPod { index: Some(3), failures: 1, ignored: 0 });
        assert_eq!(
            pod["metadata"],
            json!({"finalizers": [FINALIZER], "labels": {INDEX: "3"}, "annotations": {INDEX: "3", FAILURES: "1"}, "generateName": "j-3-"})
        );
        assert_eq!(pod["spec"]["hostname"], "j-3");
        assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
        assert_eq!(prefix(&"x".repeat(80), 12).len(), 58);
    }
}
