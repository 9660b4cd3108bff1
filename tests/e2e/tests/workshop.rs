//! What the workshop does, in one go on one cluster; and that a restart or a kill of the server touches no container.
use anyhow::ensure;
use skiff_e2e::{IMAGE, with_cluster};
use std::time::Duration;
use xtask::cluster::Cluster;

fn pod(name: &str, script: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', command: [sh, -c, '{script}']}}]}}}}"
    )
}
fn ready(c: &Cluster, what: &str) -> anyhow::Result<()> {
    c.kubectl(&["wait", "--for=condition=Ready", what, "--timeout=60s"]).map(drop)
}

#[test]
fn pods_services_and_storage() {
    with_cluster(16443, |c| {
        c.kubectl_with(&["apply", "-f", "-"], &pod("web", "echo started; mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"))?;
        ready(c, "pod/web")?;
        ensure!(c.kubectl(&["logs", "web"])?.contains("started"), "no log");
        ensure!(c.kubectl(&["exec", "web", "--", "sh", "-c", "echo $HOSTNAME"])?.trim() == "web", "exec");
        c.kubectl(&["expose", "pod", "web", "--port=80", "--target-port=8080"])?;
        c.kubectl_with(&["apply", "-f", "-"], &pod("client", "sleep 3600"))?;
        ready(c, "pod/client")?;
        c.wait("an answer through the Service's name", Duration::from_secs(30), || {
            c.kubectl(&["exec", "client", "--", "wget", "-qO-", "http://web.default.svc.cluster.local/"]).is_ok_and(|o| o.contains("hello"))
        })?;
        ensure!(c.kubectl(&["get", "pods", "web", "-o", "wide"])?.contains("Running"), "table");
        let refused = c.kubectl_with(&["apply", "-f", "-"], "---\n{apiVersion: v1, kind: Pod, metadata: {name: bad}, spec: {containerz: []}}");
        ensure!(refused.is_err_and(|e| e.to_string().contains("unknown field \"spec.containerz\"")), "strict decoding");
        let user = format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: user}}, spec: {{restartPolicy: Never, securityContext: {{runAsUser: 1000}}, containers: [{{name: c, image: '{IMAGE}', command: [sh, -c, 'echo x > /dev/null && echo fine']}}]}}}}"
        );
        c.kubectl_with(&["apply", "-f", "-"], &user)?;
        c.wait("the pod of another user", Duration::from_secs(30), || c.kubectl(&["logs", "user"]).is_ok_and(|o| o.contains("fine")))?;
        storage(c)?;
        namespaces(c)
    });
}

fn storage(c: &Cluster) -> anyhow::Result<()> {
    let set = format!(
        "---\n{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: db}}, spec: {{serviceName: db, selector: {{matchLabels: {{app: db}}}}, \
         template: {{metadata: {{labels: {{app: db}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', command: [sh, -c, 'echo row >> /data/rows; wc -l < /data/rows; exec sleep 3600'], \
         volumeMounts: [{{name: data, mountPath: /data}}]}}]}}}}, volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}}}]}}}}"
    );
    c.kubectl_with(&["apply", "-f", "-"], &set)?;
    c.wait("the first pod", Duration::from_secs(60), || ready(c, "pod/db-0").is_ok())?;
    ensure!(c.kubectl(&["logs", "db-0"])?.trim() == "1", "first start");
    c.kubectl(&["delete", "pod", "db-0"])?;
    c.wait("the second pod", Duration::from_secs(60), || c.kubectl(&["logs", "db-0"]).is_ok_and(|o| o.trim() == "2"))
}

fn namespaces(c: &Cluster) -> anyhow::Result<()> {
    c.kubectl(&["create", "namespace", "team"])?;
    c.kubectl(&["-n", "team", "create", "configmap", "settings", "--from-literal=a=b"])?;
    c.kubectl(&["-n", "team", "create", "deployment", "app", &format!("--image={IMAGE}"), "--replicas=2", "--", "sleep", "3600"])?;
    c.kubectl(&["-n", "team", "rollout", "status", "deployment/app", "--timeout=60s"])?;
    c.kubectl(&["delete", "namespace", "team", "--timeout=90s"])?;
    ensure!(c.kubectl(&["get", "namespace", "team"]).is_err(), "the namespace is still there");
    Ok(())
}

#[test]
fn a_restart_or_a_kill_touches_no_container() {
    with_cluster(16444, |c| {
        c.kubectl_with(&["apply", "-f", "-"], &pod("count", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"))?;
        ready(c, "pod/count")?;
        let container = |c: &Cluster| {
            c.kubectl(&["get", "pod", "count", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}"])
        };
        let before = container(c)?;
        for hard in [false, true] {
            c.end_server(hard)?;
            c.up(&[])?;
            ensure!(container(c)? == before, "another container after the restart (hard: {hard})");
        }
        let seen = c.kubectl(&["logs", "count"])?.lines().count();
        c.wait("more lines", Duration::from_secs(20), || c.kubectl(&["logs", "count"]).is_ok_and(|o| o.lines().count() > seen))?;
        let lines = c.kubectl(&["logs", "count"])?;
        for (i, line) in lines.lines().enumerate() {
            ensure!(line == format!("line {i}"), "line {i} of the log is {line:?}: something was lost");
        }
        c.kubectl(&["delete", "pod", "count"]).map(drop)
    });
}
