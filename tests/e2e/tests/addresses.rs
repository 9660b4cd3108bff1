//! Addresses that are given at install and changed at a later start: what runs already goes on finding what it knows.
use anyhow::ensure;
use skiff_e2e::{IMAGE, with_cluster};
use std::time::Duration;
use xtask::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);

fn pod(c: &Cluster, name: &str) -> anyhow::Result<()> {
    let pod = format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', command: [sleep, '3600']}}]}}}}"
    );
    c.kubectl_with(&["apply", "-f", "-"], &pod)?;
    c.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]).map(drop)
}
fn resolves(c: &Cluster, pod: &str) -> bool {
    let name = "kubernetes.default.svc.cluster.local";
    c.kubectl(&["exec", pod, "--", "nslookup", name]).is_ok_and(|o| o.contains(name))
}

#[test]
fn dns_stays_where_its_service_is() {
    with_cluster(16574, |c| {
        let service = || c.kubectl(&["-n", "kube-system", "get", "svc", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"]);
        let first = service()?;
        pod(c, "old")?;
        c.wait("DNS", SOON, || resolves(c, "old"))?;
        c.end_server(false)?;
        // As another --service-cidr would: the flags put DNS elsewhere.
        let elsewhere = first.rsplit_once('.').map(|(net, _)| format!("{net}.77")).unwrap_or_default();
        c.start(&["--cluster-dns", &elsewhere])?;
        c.wait("the API", SOON, || c.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
        ensure!(service()? == first, "the Service moved");
        c.wait("DNS of the pod that was there", SOON, || resolves(c, "old"))?;
        pod(c, "new")?;
        c.wait("DNS of a new pod", SOON, || resolves(c, "new"))?;
        let told = c.kubectl(&["-n", "kube-system", "get", "cm", "skiff-cluster", "-o", "jsonpath={.data.cluster-dns}"])?;
        ensure!(told == first, "nodes are told {told}");
        c.kubectl(&["delete", "pod", "old", "new"])?;
        // Without the Service the flags decide again.
        c.kubectl(&["-n", "kube-system", "delete", "svc", "kube-dns"])?;
        c.end_server(false)?;
        c.start(&["--cluster-dns", &elsewhere])?;
        c.wait("the API", SOON, || c.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
        ensure!(service()? == elsewhere, "the new Service is at {}", service()?);
        Ok(())
    });
}
