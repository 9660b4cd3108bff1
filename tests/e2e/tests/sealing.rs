//! Encryption at rest and access by files with the real binary: what lies on the disk, keys that change while it runs, keys
//! that are lost, access reviews that follow the configured order.
use anyhow::ensure;
use skiff_e2e::program::{Ended, ended, places, skiff};
use skiff_e2e::{serve, with_server};
use std::path::Path;
use std::time::Duration;
use xtask::cluster::Cluster;

const SOON: Duration = Duration::from_secs(30);

fn secrets(c: &Cluster, verb: &str) -> anyhow::Result<String> {
    let end: Ended = ended(skiff(&["secrets-encrypt", verb]).args(places(&c.dir)), SOON)?;
    ensure!(end.success, "{verb}: {}", end.text);
    Ok(end.text)
}

/// Everything that the datastore's files hold, as far as it is text.
fn holds(dir: &Path, text: &str) -> bool {
    let files = ["state.db", "state.db-journal", "state.log"].iter().flat_map(|f| std::fs::read(dir.join("data/server/db").join(f)).unwrap_or_default());
    files.collect::<Vec<u8>>().windows(text.len()).any(|w| w == text.as_bytes())
}

fn config(resources: &str, providers: &str) -> String {
    format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n  providers: {providers}\n")
}
const ONE: &str = "{secretbox: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}";

#[test]
fn secrets_are_sealed_and_keys_change_while_it_runs() {
    if !xtask::has("kubectl") {
        println!("skipped: this test needs kubectl");
        return;
    }
    with_server(16570, |c| {
        serve(c)?;
        // What is stored is base64 inside of JSON.
        let stored = "aHVudGVyMi1odW50ZXIy";
        c.kubectl(&["create", "secret", "generic", "s", "--from-literal=password=hunter2-hunter2"])?;
        c.kubectl(&["create", "configmap", "m", "--from-literal=k=lies-as-it-is"])?;
        ensure!(!holds(&c.dir, stored) && holds(&c.dir, "lies-as-it-is"), "only the Secret is sealed");
        let before = secrets(c, "status")?;
        let rotated = secrets(c, "rotate-keys")?;
        ensure!(before.contains("Enabled") && rotated.contains("reencrypt_finished"), "{before}\n{rotated}");
        let key = |text: &str| text.lines().find(|l| l.starts_with("own key")).map(str::to_owned);
        ensure!(key(&before) != key(&rotated), "{rotated}");
        ensure!(c.kubectl(&["get", "secret", "s", "-o", "jsonpath={.data.password}"])? == stored);
        c.end_server(false)?;

        // A file takes over for what it names, and gives it back.
        let file = c.dir.join("encryption.yaml");
        std::fs::write(&file, config("[configmaps]", &format!("[{ONE}, {{identity: {{}}}}]")))?;
        let flag = format!("--encryption-provider-config={}", file.display());
        c.start(&["--disable-agent", &flag])?;
        c.wait("the ConfigMap to be sealed", SOON, || {
            c.port_answers() && secrets(c, "status").is_ok_and(|s| s.contains("secretbox one") && !s.contains("reencrypt seals"))
        })?;
        ensure!(!holds(&c.dir, "lies-as-it-is") && !holds(&c.dir, stored), "something lies open");
        ensure!(c.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data.k}"])? == "lies-as-it-is");
        std::fs::write(&file, config("[configmaps]", "[nonsense]"))?;
        std::fs::write(&file, config("[configmaps]", &format!("[{{identity: {{}}}}, {ONE}]")))?;
        c.wait("the ConfigMap to lie open", SOON, || holds(&c.dir, "lies-as-it-is"))?;
        std::fs::write(&file, config("[configmaps]", &format!("[{ONE}]")))?;
        c.wait("the ConfigMap to be sealed again", SOON, || secrets(c, "status").is_ok_and(|s| s.contains("secretbox one") && !s.contains("reencrypt seals")))?;
        c.end_server(false)?;

        // Without the key nothing starts and nothing is lost.
        let end = ended(skiff(&["server", "--disable-agent", "--https-listen-port", "16570"]).args(places(&c.dir)), SOON)?;
        ensure!(!end.success && end.text.contains("configmaps/") && end.text.contains("secretbox one"), "{}", end.text);
        c.start(&["--disable-agent", &flag])?;
        c.wait("the API", SOON, || c.port_answers())?;
        ensure!(c.kubectl(&["get", "configmap", "m", "-o", "jsonpath={.data.k}"])? == "lies-as-it-is");
        Ok(())
    });
}

#[test]
fn access_follows_its_files() {
    if !xtask::has("kubectl") {
        println!("skipped: this test needs kubectl");
        return;
    }
    with_server(16572, |c| {
        let (authn, authz) = (c.dir.join("authn.yaml"), c.dir.join("authz.yaml"));
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind:";
        std::fs::write(
            &authn,
            format!("{head} AuthenticationConfiguration\nanonymous: {{enabled: true, conditions: [{{path: /livez}}, {{path: /readyz}}]}}\n"),
        )?;
        std::fs::write(&authz, format!("{head} AuthorizationConfiguration\nauthorizers: [{{type: Node, name: node}}, {{type: RBAC, name: rbac}}]\n"))?;
        let flags = [format!("--authentication-config={}", authn.display()), format!("--authorization-config={}", authz.display())];
        c.start(&["--disable-agent", &flags[0], &flags[1]])?;
        c.wait("the API", SOON, || c.port_answers() && c.kubectl(&["get", "ns", "default"]).is_ok())?;
        c.kubectl(&["create", "clusterrole", "reader", "--verb=get,list", "--resource=configmaps"])?;
        c.kubectl(&["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=jane"])?;
        let jane = |args: &[&str]| c.kubectl(&[args, &["--as", "jane"]].concat());
        jane(&["get", "configmaps", "-n", "default"])?;
        ensure!(jane(&["get", "secrets"]).is_err(), "she reads secrets");
        let review = r#"{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "jane", "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": "default", "labelSelector": {"rawSelector": "a in x"}}}}"#;
        let told = c.kubectl_with(&["create", "-f", "-", "-o", "jsonpath={.status}"], review)?;
        ensure!(
            told.contains(r#""allowed":true"#)
                && told.contains(r#"RBAC: allowed by ClusterRoleBinding \"reader\""#)
                && told.contains("labelSelector ignored due to parse error"),
            "{told}"
        );
        std::fs::write(&authz, format!("{head} AuthorizationConfiguration\nauthorizers: [{{type: Node, name: node}}]\n"))?;
        c.wait("RBAC to be asked no more", SOON, || jane(&["get", "configmaps", "-n", "default"]).is_err())?;
        ensure!(c.kubectl(&["get", "configmaps"]).is_ok(), "the administrator is shut out");
        std::fs::write(&authz, "nonsense")?;
        std::fs::write(&authz, format!("{head} AuthorizationConfiguration\nauthorizers: [{{type: RBAC, name: rbac}}]\n"))?;
        c.wait("RBAC to be asked again", SOON, || jane(&["get", "configmaps", "-n", "default"]).is_ok())
    });
}
