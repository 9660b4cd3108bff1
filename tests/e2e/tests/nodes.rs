//! Two nodes: pods of both reach each other by every way there is, the second is reached through the API, neither end of an
//! agent nor of the server touches a container, and pods leave a node that is silent.
use anyhow::{Context, ensure};
use skiff_e2e::{IMAGE, with_nodes};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
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
        streams(c, &two.0)?;
        storage(c)?;
        labels(c)?;
        ends(c, &two.0)?;
        traffic(c, &one, &two)?;
        drain(c)?;
        silent(c, &two.0)?;
        machine_starts_anew(c, &two.0)?;
        traffic(c, &one, &pod_on(c, 2)?)?;
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

/// By the API to a pod of the second node.
fn streams(c: &Cluster, pod: &str) -> anyhow::Result<()> {
    ensure!(c.kubectl(&["logs", pod])?.trim() == "started", "logs of the second node");
    ensure!(c.kubectl(&["exec", pod, "--", "hostname"])?.trim() == pod, "exec on the second node");
    let said = c.kubectl_with(&["exec", "-i", pod, "--", "cat"], "there and back")?;
    ensure!(said == "there and back", "exec with input: {said:?}");
    let mut forward = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(c.kubeconfig())
        .args(["port-forward", &format!("pod/{pod}"), ":8080"])
        .stdout(Stdio::piped())
        .spawn()?;
    let answer = forwarded(&mut forward);
    forward.kill()?;
    forward.wait()?;
    let answer = answer?;
    ensure!(answer == pod, "port-forward to the second node: {answer:?}");
    Ok(())
}

fn forwarded(forward: &mut Child) -> anyhow::Result<String> {
    let mut line = String::new();
    // Kept open: kubectl says more, and must be able to.
    let mut said = BufReader::new(forward.stdout.take().context("kubectl has no output")?);
    said.read_line(&mut line)?;
    let address = line.strip_prefix("Forwarding from ").and_then(|l| l.split(' ').next()).with_context(|| format!("port-forward said {line:?}"))?;
    http(&format!("http://{address}/"))
}

/// A pod is bound by a label that the node has only just got: the node doesn't turn it away.
fn labels(c: &Cluster) -> anyhow::Result<()> {
    for i in 0..3 {
        let pod = format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: picky-{i}}}, spec: {{nodeSelector: {{picky: 'n{i}'}}, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', command: [sleep, '3600']}}]}}}}"
        );
        c.kubectl_with(&["apply", "-f", "-"], &pod)?;
        c.kubectl(&["label", "node", "node-2", "--overwrite", &format!("picky=n{i}")])?;
        c.kubectl(&["wait", "--for=condition=Ready", &format!("pod/picky-{i}"), "--timeout=60s"])?;
    }
    let wrong = format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: wrong}}, spec: {{nodeName: node-2, nodeSelector: {{picky: other}}, containers: [{{name: c, image: '{IMAGE}'}}]}}}}"
    );
    c.kubectl_with(&["apply", "-f", "-"], &wrong)?;
    c.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "pod/wrong", "--timeout=60s"])?;
    let shown = c.kubectl(&["get", "pod", "wrong", "--no-headers"])?;
    ensure!(shown.contains("NodeAffinity"), "a pod that was turned away: {shown}");
    c.kubectl(&["delete", "pod", "picky-0", "picky-1", "picky-2", "wrong"]).map(drop)
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
    let volume = || {
        std::fs::read_dir(c.node(2).dir.join("data/storage")).map_or(0, |d| d.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("pvc-")).count())
    };
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
    c.kubectl(&[
        "run",
        "later",
        &format!("--image={IMAGE}"),
        "--overrides={\"spec\":{\"nodeName\":\"node-2\",\"terminationGracePeriodSeconds\":0}}",
        "--",
        "sleep",
        "3600",
    ])?;
    c.kubectl(&["wait", "--for=condition=Ready", "pod/later", "--timeout=60s"])?;
    c.kubectl(&["delete", "pod", "later"]).map(drop)
}

fn drain(c: &Cluster) -> anyhow::Result<()> {
    c.kubectl(&[
        "create",
        "deployment",
        "app",
        &format!("--image={IMAGE}"),
        "--replicas=4",
        "--",
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.1; done",
    ])?;
    c.kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    c.kubectl(&["drain", "node-2", "--ignore-daemonsets", "--timeout=90s"])?;
    c.kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    let nodes = c.kubectl(&["get", "pods", "-l", "app=app", "-o", "jsonpath={.items[*].spec.nodeName}"])?;
    ensure!(nodes.split_whitespace().all(|n| n == "node-1"), "after the drain pods are on {nodes}");
    c.kubectl(&["uncordon", "node-2"])?;
    c.kubectl(&["delete", "deployment", "app"]).map(drop)
}

fn of_node_2(c: &Cluster, path: &str) -> String {
    c.kubectl(&["get", "node", "node-2", "-o", &format!("jsonpath={path}")]).unwrap_or_default()
}

/// The agent is killed and stays away: the node is not ready, pods that don't wait go to the other one, the DaemonSet's stays. When the
/// agent is back, everything is as before, in the same container.
fn silent(c: &Cluster, pod: &str) -> anyhow::Result<()> {
    let patch = |unschedulable: bool| c.kubectl(&["patch", "node", "node-1", "-p", &format!("{{\"spec\":{{\"unschedulable\":{unschedulable}}}}}")]).map(drop);
    let hasty = format!(
        "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: hasty}}, spec: {{replicas: 2, selector: {{matchLabels: {{app: hasty}}}}, template: {{metadata: {{labels: {{app: hasty}}}}, spec: {{terminationGracePeriodSeconds: 0, \
         tolerations: [{{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}}], containers: [{{name: c, image: '{IMAGE}', command: [sleep, '3600']}}]}}}}}}}}"
    );
    patch(true)?;
    c.kubectl_with(&["apply", "-f", "-"], &hasty)?;
    c.kubectl(&["rollout", "status", "deployment/hasty", "--timeout=60s"])?;
    patch(false)?;
    let id = || c.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"]);
    let before = id()?;
    c.node(2).end(true)?;
    c.kubectl(&["wait", "--for=condition=Ready=Unknown", "node/node-2", "--timeout=120s"])?;
    let taints = || of_node_2(c, "{range .spec.taints[*]}{.key}:{.effect} {end}");
    c.wait("the taints of a silent node", SOME, || {
        ["NoSchedule", "NoExecute"].iter().all(|e| taints().contains(&format!("node.kubernetes.io/unreachable:{e}")))
    })?;
    let running = || {
        c.kubectl(&["get", "pods", "-l", "app=hasty", "--field-selector", "spec.nodeName=node-1,status.phase=Running", "-o", "name"])
            .map_or(0, |o| o.lines().count())
    };
    c.wait("the pods' way to the other node", SOME, || running() == 2)?;
    let ready = c.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.metadata.deletionTimestamp}"])?;
    ensure!(ready.trim() == "False", "the DaemonSet's pod on a silent node is neither ready nor deleted: {ready:?}");
    c.wait("a Service without the silent node", SOME, || {
        c.kubectl(&[
            "get",
            "endpointslices",
            "-l",
            "kubernetes.io/service-name=web",
            "-o",
            "jsonpath={.items[*].endpoints[?(@.nodeName=='node-2')].conditions.ready}",
        ])
        .is_ok_and(|o| o == "false")
    })?;
    c.start_agent(2)?;
    c.kubectl(&["wait", "--for=condition=Ready", "node/node-2", &format!("pod/{pod}"), "--timeout=60s"])?;
    c.wait("the taints' end", SOME, || taints().is_empty())?;
    c.wait("the end of the pods that had to go", SOME, || c.kubectl(&["get", "pods", "-l", "app=hasty", "-o", "name"]).is_ok_and(|o| o.lines().count() == 2))?;
    ensure!(id()? == before, "another container after the silence");
    c.kubectl(&["delete", "deployment", "hasty"]).map(drop)
}

/// Nothing of the second node's containers is left, as after a power cut: they are started again.
fn machine_starts_anew(c: &Cluster, pod: &str) -> anyhow::Result<()> {
    c.node(2).end(true)?;
    c.node(2).stop()?;
    c.start_agent(2)?;
    let restarts = || c.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}"]);
    c.wait("the pod's new container", SOME, || restarts().is_ok_and(|o| o == "1 true"))
}

/// A token of another server is refused before anything is sent; one that is wrong, over or deleted joins nothing, and a good one no
/// node that is there already.
fn tokens(c: &Cluster) -> anyhow::Result<()> {
    let path = c.dir.join("data/server/node-token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path)?.permissions());
    ensure!(mode & 0o777 == 0o600, "mode {mode:o} of the token");
    let token = std::fs::read_to_string(&path)?;
    let try_out = |name: &str, token: String, says: &str| -> anyhow::Result<()> {
        let dir = c.dir.join(format!("join-{name}"));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("token"), token)?;
        let mut agent = Command::new("timeout");
        agent.arg("30").arg(&c.binary).args(["agent", "--node-name", name, "--server", &format!("https://{}:{}", c.address(1), c.port)]);
        agent
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--run-dir")
            .arg(dir.join("run"))
            .arg("--config-dir")
            .arg(dir.join("etc"))
            .arg("--token-file")
            .arg(dir.join("token"));
        let out = agent.output()?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.code() == Some(1) && text.contains(says), "{name}: {text}");
        Ok(())
    };
    let (authority, rest) = token.split_once("::").context("no token")?;
    let other = format!("K10{}::{rest}", "0".repeat(64));
    try_out("stranger", other, "is not the server that the token was made by")?;
    try_out("guess", format!("{authority}::abcdef.0123456789abcdef"), "does not know the token")?;
    try_out("garbage", "K10".into(), "a token has the form")?;
    try_out("node-2", token.clone(), "there is a node \"node-2\" already")?;
    let short = skiff_token(c, &["create", "--ttl", "1s", "--description", "short"])?;
    c.wait("the short token's end", SOME, || skiff_token(c, &["list"]).is_ok_and(|l| !l.contains("short")))?;
    try_out("late", short, "has expired")?;
    let deleted = skiff_token(c, &["create"])?;
    skiff_token(c, &["delete", deleted.trim()])?;
    try_out("undone", deleted, "does not know the token")
}

fn skiff_token(c: &Cluster, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(&c.binary);
    command.arg("token").args(args);
    c.node(1).places(&mut command);
    let out = command.output()?;
    ensure!(out.status.success(), "skiff token {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
