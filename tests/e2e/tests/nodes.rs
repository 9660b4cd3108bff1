//! Two nodes: pods of both reach each other by every way there is, the second is reached through the API, and neither end of an
//! agent nor of the server touches a container.
use anyhow::{Context, ensure};
use skiff_e2e::{IMAGE, with_nodes};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use xtask::cluster::Cluster;

const SOME: Duration = Duration::from_secs(60);

fn web() -> String {
    format!(
        "---\n{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: web}}, spec: {{selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, \
         spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}, \
         command: [sh, -c, 'echo started; mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www']}}]}}}}}}}}\n\
         ---\n{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]}}}}"
    )
}

/// The pod of the DaemonSet on a node: its name, its address.
fn pod_on(c: &Cluster, node: u8) -> anyhow::Result<(String, String)> {
    let on = format!("spec.nodeName={}", Cluster::name(node));
    let out = c.kubectl(&["get", "pods", "-l", "app=web", "--field-selector", &on, "-o", "jsonpath={.items[0].metadata.name} {.items[0].status.podIP}"])?;
    let (name, ip) = out.trim().split_once(' ').with_context(|| format!("no pod on node {node}"))?;
    Ok((name.into(), ip.into()))
}

fn get(c: &Cluster, pod: &str, url: &str) -> anyhow::Result<String> {
    c.kubectl(&["exec", pod, "--", "wget", "-qO-", url]).map(|o| o.trim().to_owned())
}

/// Asks until all of `names` have answered.
fn answered_by_all(c: &Cluster, what: &str, names: &BTreeSet<String>, mut ask: impl FnMut() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    c.wait(what, SOME, || {
        seen.extend(ask().ok().filter(|a| names.contains(a)));
        seen == *names
    })
}

#[test]
fn two_nodes_are_one_cluster() {
    with_nodes(16447, 2, |c| {
        c.kubectl_with(&["apply", "-f", "-"], &web())?;
        c.kubectl(&["rollout", "status", "daemonset/web", "--timeout=90s"])?;
        let (one, two) = (pod_on(c, 1)?, pod_on(c, 2)?);
        traffic(c, &one, &two)?;
        ensure!(c.kubectl(&["logs", &two.0])?.trim() == "started", "logs of the second node");
        ensure!(c.kubectl(&["exec", &two.0, "--", "hostname"])?.trim() == two.0, "exec on the second node");
        storage(c)?;
        ends(c, &two.0)?;
        traffic(c, &one, &two)?;
        drain(c)?;
        tokens(c)
    });
}

fn traffic(c: &Cluster, one: &(String, String), two: &(String, String)) -> anyhow::Result<()> {
    let names: BTreeSet<String> = [one.0.clone(), two.0.clone()].into();
    for (from, to) in [(one, two), (two, one), (one, one)] {
        let answer = get(c, &from.0, &format!("http://{}:8080/", to.1))?;
        ensure!(answer == to.0, "from {} to {} by the pod's address: {answer:?}", from.0, to.0);
    }
    for pod in &names {
        answered_by_all(c, &format!("the Service by its name from {pod}"), &names, || get(c, pod, "http://web/"))?;
        let looked_up = c.kubectl(&["exec", pod, "--", "nslookup", "web.default.svc.cluster.local"])?;
        let address = c.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])?;
        ensure!(looked_up.contains(address.trim()), "DNS in {pod}: {looked_up}");
    }
    for node in [1, 2] {
        let url = format!("http://{}:30080/", c.address(node));
        answered_by_all(c, &format!("the node port of node {node}"), &names, || http(&url))?;
    }
    Ok(())
}

/// From the machine, which is on the nodes' network.
fn http(url: &str) -> anyhow::Result<String> {
    let out = Command::new("busybox").args(["timeout", "5", "busybox", "wget", "-qO-", url]).output()?;
    ensure!(out.status.success(), "no answer from {url}");
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// A local-path volume is made on the pod's node, and removed there.
fn storage(c: &Cluster) -> anyhow::Result<()> {
    let claim = format!(
        "---\n{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}}}\n\
         ---\n{{apiVersion: v1, kind: Pod, metadata: {{name: db}}, spec: {{nodeSelector: {{kubernetes.io/hostname: node-2}}, terminationGracePeriodSeconds: 0, volumes: [{{name: d, persistentVolumeClaim: {{claimName: data}}}}], \
         containers: [{{name: c, image: '{IMAGE}', command: [sh, -c, 'echo row > /data/row; exec sleep 3600'], volumeMounts: [{{name: d, mountPath: /data}}]}}]}}}}"
    );
    c.kubectl_with(&["apply", "-f", "-"], &claim)?;
    c.kubectl(&["wait", "--for=condition=Ready", "pod/db", "--timeout=60s"])?;
    let volume = || std::fs::read_dir(c.node(2).dir.join("data/storage")).map_or(0, |d| d.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("pvc-")).count());
    ensure!(volume() == 1, "no volume on the second node");
    c.kubectl(&["delete", "pod/db", "pvc/data"])?;
    c.wait("the volume's removal", SOME, || volume() == 0 && c.kubectl(&["get", "pv", "-o", "name"]).is_ok_and(|o| o.is_empty()))
}

/// The agent, then the server, end and come back.
fn ends(c: &Cluster, pod: &str) -> anyhow::Result<()> {
    let container = || c.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}"]);
    let before = container()?;
    for hard in [true, false] {
        c.node(2).end(hard)?;
        c.start_agent(2)?;
        c.wait("the second node's logs", SOME, || c.kubectl(&["logs", pod]).is_ok_and(|o| o.trim() == "started"))?;
        ensure!(container()? == before, "another container after the agent's end (hard: {hard})");
    }
    c.end_server(true)?;
    c.up(&[])?;
    ensure!(container()? == before, "another container after the server's end");
    // The agent finds the server again: a new pod comes up there.
    c.kubectl(&["run", "later", &format!("--image={IMAGE}"), "--overrides={\"spec\":{\"nodeName\":\"node-2\",\"terminationGracePeriodSeconds\":0}}", "--", "sleep", "3600"])?;
    c.kubectl(&["wait", "--for=condition=Ready", "pod/later", "--timeout=60s"])?;
    c.kubectl(&["delete", "pod", "later"]).map(drop)
}

fn drain(c: &Cluster) -> anyhow::Result<()> {
    c.kubectl(&["create", "deployment", "app", &format!("--image={IMAGE}"), "--replicas=4", "--", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])?;
    c.kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    c.kubectl(&["drain", "node-2", "--ignore-daemonsets", "--timeout=90s"])?;
    c.kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    let nodes = c.kubectl(&["get", "pods", "-l", "app=app", "-o", "jsonpath={.items[*].spec.nodeName}"])?;
    ensure!(nodes.split_whitespace().all(|n| n == "node-1"), "after the drain pods are on {nodes}");
    c.kubectl(&["uncordon", "node-2"])?;
    c.kubectl(&["delete", "deployment", "app"]).map(drop)
}

/// A token of another server is refused before anything is sent; nodes cannot be joined by one that was deleted.
fn tokens(c: &Cluster) -> anyhow::Result<()> {
    let path = c.dir.join("data/server/node-token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path)?.permissions());
    ensure!(mode & 0o777 == 0o600, "mode {mode:o} of the token");
    let token = std::fs::read_to_string(&path)?;
    let try_out = |name: &str, token: String, says: &str| -> anyhow::Result<()> {
        let dir = c.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("token"), token)?;
        let mut agent = Command::new("timeout");
        agent.arg("30").arg(&c.binary).args(["agent", "--node-name", name, "--server", &format!("https://{}:{}", c.address(1), c.port)]);
        agent.arg("--data-dir").arg(dir.join("data")).arg("--run-dir").arg(dir.join("run")).arg("--config-dir").arg(dir.join("etc")).arg("--token-file").arg(dir.join("token"));
        let out = agent.output()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.code() == Some(1) && text.contains(says), "{name}: {text}");
        Ok(())
    };
    let (authority, rest) = token.split_once("::").context("no token")?;
    let other = format!("K10{}::{rest}", "0".repeat(64));
    try_out("stranger", other, "is not the server that the token was made by")?;
    try_out("guess", format!("{authority}::abcdef.0123456789abcdef"), "Unauthorized")
}
