//! Requests that mean harm, tokens that are not worth anything, a reader that stops, and log levels: one server without a
//! node takes them all, and is none the worse for it.
use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use skiff_e2e::program::{ended, skiff};
use skiff_e2e::{serve, with_server};
use skiff_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xtask::bench::resident;
use xtask::cluster::Cluster;
use xtask::http::{Answer, Client};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "content-type: application/json";
const YAML: &str = "content-type: application/yaml";

#[test]
fn a_server_under_bad_requests() {
    with_server(16520, |c| {
        let pid = serve(c)?;
        let client = Client::of(&c.kubeconfig())?;
        bodies(&client).context("bad bodies")?;
        tokens(c, &client).context("bad tokens")?;
        levels(c, &client).context("log levels")?;
        stalled(&client, pid).context("a watch that is not read")?;
        ensure!(!std::fs::read_to_string(c.dir.join("log"))?.contains("panicked"), "something panicked");
        Ok(())
    });
}

/// A Status of this code, of which `words` is a part.
fn refused(answer: &Answer, code: u16, words: &str) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&answer.body);
    let shown = &text[..text.len().min(1000)];
    ensure!(answer.status == code, "{} instead of {code}: {shown}", answer.status);
    let status: Value = skiff_json::from_slice(&answer.body).with_context(|| format!("no Status: {shown}"))?;
    ensure!(status["kind"] == "Status" && status["code"] == code, "no Status of {code}: {shown}");
    ensure!(status["message"].as_str().is_some_and(|m| m.contains(words) && m.len() < 10_000), "{words:?} is not in: {shown}");
    Ok(())
}

fn bodies(client: &Client) -> anyhow::Result<()> {
    let send = |method: &str, path: &str, kind: &str, body: &[u8]| client.connect()?.request(method, path, &[kind], body);
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "x".repeat(10 << 20)}}).to_string();
    refused(&send("POST", MAPS, JSON, object.as_bytes())?, 413, "too large")?;
    refused(&send("PATCH", &format!("{MAPS}/big"), "content-type: application/merge-patch+json", object.as_bytes())?, 413, "too large")?;
    let nested = |open: &str, close: &str| {
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"deep"}},"data":{}1{}}}"#, open.repeat(10_000), close.repeat(10_000))
    };
    for deep in [nested("[", "]"), nested(r#"{"a":"#, "}")] {
        refused(&send("POST", MAPS, JSON, deep.as_bytes())?, 400, "")?;
        refused(&send("POST", MAPS, YAML, deep.as_bytes())?, 400, "")?;
        refused(&send("PATCH", &format!("{MAPS}/kube-root-ca.crt"), "content-type: application/merge-patch+json", deep.as_bytes())?, 400, "")?;
        refused(&send("PATCH", &format!("{MAPS}/kube-root-ca.crt"), "content-type: application/strategic-merge-patch+json", deep.as_bytes())?, 400, "")?;
        refused(&send("PATCH", &format!("{MAPS}/deep?fieldManager=t"), "content-type: application/apply-patch+yaml", deep.as_bytes())?, 400, "")?;
    }
    let bomb = bomb();
    refused(&send("POST", MAPS, YAML, bomb.as_bytes())?, 400, "")?;
    refused(&send("PATCH", &format!("{MAPS}/bomb?fieldManager=t"), "content-type: application/apply-patch+yaml", bomb.as_bytes())?, 400, "")?;
    refused(&send("POST", MAPS, "content-type: application/vnd.kubernetes.protobuf", b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")?, 400, "")?;
    refused(&send("POST", MAPS, "content-type: text/html", b"<p>")?, 415, "")?;
    ensure!(client.connect()?.get(MAPS)?.status == 200, "the server does not answer any more");
    Ok(())
}

/// Lists of lists by alias: a few hundred bytes that mean a billion.
fn bomb() -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..9 {
        let alias = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("  a{i}: &a{i} [{alias}]\n");
    }
    text
}

/// What a token says, newly signed with `key`, or with the signature `given`.
fn token(head: &str, claims: &Value, key: Option<&EcdsaKeyPair>) -> anyhow::Result<String> {
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = match key {
        Some(key) => key.sign(&ring::rand::SystemRandom::new(), text.as_bytes()).map_err(|_| anyhow::anyhow!("sign"))?.as_ref().to_vec(),
        None => Vec::new(),
    };
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn tokens(c: &Cluster, client: &Client) -> anyhow::Result<()> {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let mut admin = client.connect()?;
    admin.create(accounts, br#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bot"}}"#)?;
    let made = admin
        .create(&format!("{accounts}/bot/token"), br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}"#)?;
    let made: Value = skiff_json::from_slice(&made.body)?;
    let good = made["status"]["token"].as_str().context("no token")?.to_owned();
    let nobody = Client::anonymous(&c.kubeconfig())?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let who = |token: &str| -> anyhow::Result<u16> {
        let header = format!("authorization: Bearer {token}");
        Ok(nobody.connect()?.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &[&header, JSON], review.as_bytes())?.status)
    };
    ensure!(who(&good)? == 201, "a good token is refused");
    let parts: Vec<&str> = good.split('.').collect();
    ensure!(parts.len() == 3, "no JWS");
    let claims: Value = skiff_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1])?)?;
    let pem = std::fs::read_to_string(c.dir.join("data/server/tls/service.key"))?;
    let der = base64::engine::general_purpose::STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>())?;
    let random = ring::rand::SystemRandom::new();
    let pair = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map_err(|_| anyhow::anyhow!("read the key"));
    let (ours, other) = (pair(&der)?, EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| anyhow::anyhow!("make a key"))?);
    let other = pair(other.as_ref())?;
    ensure!(who(&token(parts[0], &claims, Some(&ours))?)? == 201, "this test signs wrongly");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let with = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        claims
    };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let hmac = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let last = if parts[2].starts_with('A') { 'B' } else { 'A' };
    for (what, bad) in [
        ("expired", token(parts[0], &with("exp", json!(now - 3600)), Some(&ours))?),
        ("not valid yet", token(parts[0], &with("nbf", json!(now + 36000)), Some(&ours))?),
        ("of another issuer", token(parts[0], &with("iss", json!("https://elsewhere")), Some(&ours))?),
        ("for another audience", token(parts[0], &with("aud", json!(["elsewhere"])), Some(&ours))?),
        ("signed by another key", token(parts[0], &claims, Some(&other))?),
        ("without a signature", token(&none, &claims, None)?),
        ("of another algorithm", token(&hmac, &claims, Some(&ours))?),
        ("changed", format!("{}.{}.{last}{}", parts[0], parts[1], &parts[2][1..])),
        ("cut", good[..good.len() / 2].to_owned()),
        ("no token", "nonsense".to_owned()),
        ("of a megabyte's claims", format!("{}.{}.{}", parts[0], "A".repeat(60_000), parts[2])),
    ] {
        let status = who(&bad)?;
        ensure!(status == 401 || (status == 431 && bad.len() > 50_000), "a token {what} gives {status}");
    }
    admin.request("DELETE", &format!("{accounts}/bot"), &[], &[])?;
    ensure!(who(&good)? == 401, "a token of a deleted account is good");
    admin.create(accounts, br#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bot"}}"#)?;
    ensure!(who(&good)? == 401, "a token of a deleted account is good for its successor");
    Ok(())
}

fn levels(c: &Cluster, client: &Client) -> anyhow::Result<()> {
    let run = c.dir.join("run").to_string_lossy().into_owned();
    let set = |levels: &str| ended(skiff(&["log-level", levels]).args(["--run-dir", &run]), Duration::from_secs(10));
    let lines = || -> anyhow::Result<(usize, usize)> {
        let log = std::fs::read_to_string(c.dir.join("log"))?;
        let of = |component: &str| log.lines().filter(|l| l.contains(&format!(" DEBUG {component}: "))).count();
        Ok((of("api"), of("store")))
    };
    let busy = || -> anyhow::Result<()> {
        let name = format!("levels-{}", rand::random::<u32>());
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        client.connect()?.create(MAPS, object.to_string().as_bytes()).map(drop)
    };
    busy()?;
    ensure!(lines()? == (0, 0), "debug lines at level info");
    ensure!(set("store=warn,api=debug")?.success, "the level is refused");
    busy()?;
    let (api, store) = lines()?;
    ensure!(api > 0 && store == 0, "{api} lines of api, {store} of store at store=warn,api=debug");
    let wrong = set("api=lowd")?;
    ensure!(!wrong.success && wrong.text.contains("lowd"), "{wrong:?}");
    ensure!(set("info")?.success, "the level is refused");
    let before = lines()?;
    busy()?;
    ensure!(lines()? == before, "debug lines after going back to info");
    Ok(())
}

/// Bytes in each version of the object that the watch is about, and how many versions.
const SIZE: usize = 200_000;
const VERSIONS: usize = 400;

fn stalled(client: &Client, pid: i32) -> anyhow::Result<()> {
    let mut writer = client.connect()?;
    let object = |n: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loud"}, "data": {"n": n.to_string(), "text": "x".repeat(SIZE)}}).to_string()
    };
    writer.create(MAPS, object(0).as_bytes())?;
    let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dloud");
    let mut idle: Vec<_> = (0..4).map(|_| client.connect()?.watch(&path)).collect::<anyhow::Result<_>>()?;
    let mut awake = client.connect()?.watch(&path)?;
    let before = resident(pid)?;
    let number = |event: &[u8]| -> anyhow::Result<Option<usize>> {
        let event: Value = skiff_json::from_slice(event)?;
        Ok(event["object"]["data"]["n"].as_str().and_then(|n| n.parse().ok()))
    };
    ensure!(awake.next()?.map(|e| number(&e)).transpose()?.flatten() == Some(0), "the first event");
    for n in 1..=VERSIONS {
        let answer = writer.request("PUT", &format!("{MAPS}/loud"), &[JSON], object(n).as_bytes())?;
        ensure!(answer.status == 200, "a write beside a stalled watch: {}", answer.status);
        ensure!(awake.next()?.map(|e| number(&e)).transpose()?.flatten() == Some(n), "a reader that reads gets every event");
    }
    let grown = resident(pid)?.saturating_sub(before) / 1024;
    eprintln!("{VERSIONS} events of {SIZE} bytes, four watches unread: the server grew by {grown} MiB");
    ensure!(grown < 150, "the server grew by {grown} MiB for watches that nobody reads");
    for watch in &mut idle {
        let mut next = 0;
        // What is read late is whole as far as it goes; then the watch ends, or it has gone on to the last version.
        while let Ok(Some(event)) = watch.next() {
            match number(&event)? {
                Some(n) => ensure!(n == next, "event {next} is missing: {n} came"),
                None => break,
            }
            next += 1;
            if next > VERSIONS {
                break;
            }
        }
    }
    Ok(())
}
