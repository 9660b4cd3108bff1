//! What becomes of an answer, and of none.
use super::{
    server::{Reply, review},
    *,
};
use crate::testing::text;

/// What one mutating webhook that says `reply` comes to, by its failure policy.
async fn outcome(policy: &str, reply: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> String {
    let (fake, p) = mutating(Fake::start(move |_, q| reply(q)).await);
    text(create().admit(&p, &one(&fake, json!({"failurePolicy": policy}))).await)
}

const FAILED: &str = "Internal error occurred: failed calling webhook \"h.example.com\": ";
const POST: &str = "failed to call webhook: Post \"https://hook.ns.svc:443/path?timeout=1s\": ";

#[tokio::test]
async fn refusals_carry_the_webhooks_status() {
    let cases = [
        (json!({"allowed": false}), 400, "admission webhook \"h.example.com\" denied the request without explanation"),
        (json!({"allowed": false, "status": {"message": "too big", "code": 413}}), 413, "admission webhook \"h.example.com\" denied the request: too big"),
        (json!({"allowed": false, "status": {"reason": "Forbidden", "code": 200}}), 400, "admission webhook \"h.example.com\" denied the request: Forbidden"),
    ];
    for (response, code, message) in cases {
        let (fake, p) = mutating(Fake::saying(response).await);
        // A refusal is no failure: the policy has no say.
        let refused = create().admit(&p, &one(&fake, json!({"failurePolicy": "Ignore"}))).await.unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message));
    }
}

#[tokio::test]
async fn refusals_keep_reasons_and_details() {
    let (fake, p) = mutating(
        Fake::saying(
            json!({"allowed": false, "status": {"reason": "Teapot", "code": 418, "message": "no", "details": {"kind": "tea", "causes": [{"field": "x"}]}}}),
        )
        .await,
    );
    let refused = create().admit(&p, &one(&fake, json!({}))).await.unwrap_err();
    let wire: Value = skiff_json::from_slice(&refused.to_json()).unwrap();
    assert_eq!((&wire["reason"], &wire["code"], &wire["details"]), (&json!("Teapot"), &json!(418), &json!({"kind": "tea", "causes": [{"field": "x"}]})));
}

#[tokio::test]
async fn patches_change_the_object() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true, "patch": [{"op": "add", "path": "/data/new", "value": "1"}]})).await);
    let (v, _) = create().admit(&p, &one(&fake, json!({}))).await.unwrap();
    assert_eq!(v["data"], json!({"k": "v", "new": "1"}));
}

#[tokio::test]
async fn garbage_harms_its_own_request_only() {
    let raw = |code: u16, text: &'static str| move |_: &Value| Reply::Raw(code, text.into());
    let cases: [(Box<dyn Fn(&Value) -> Reply + Send + Sync>, &str); 9] = [
        (Box::new(raw(200, "{]")), "failed to call webhook: "),
        (Box::new(raw(500, "broken\n")), "failed to call webhook: an error on the server (\"broken\") has prevented the request from succeeding"),
        (Box::new(raw(404, "")), "failed to call webhook: the server could not find the requested resource"),
        (
            Box::new(|_| Reply::Review(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}))),
            "received invalid webhook response: webhook response was absent",
        ),
        (
            Box::new(|_| Reply::Review(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": "other", "allowed": true}}))),
            "received invalid webhook response: expected response.uid=",
        ),
        (
            Box::new(|q| review(q, json!({"allowed": true, "patch": "e30="}))),
            "received invalid webhook response: webhook returned response.patch but not response.patchType",
        ),
        (Box::new(|q| review(q, json!({"allowed": true, "patch": "!", "patchType": "JSONPatch"}))), "received invalid webhook response: illegal base64 data"),
        (Box::new(|q| review(q, json!({"allowed": true, "patch": "e30=", "patchType": "JSONPatch"}))), "received undecodable patch in webhook response: "),
        (Box::new(|q| review(q, json!({"allowed": true, "patch": "W10=", "patchType": "Strategic"}))), "unsupported patch type \"Strategic\""),
    ];
    for (reply, want) in cases {
        let reply: Arc<dyn Fn(&Value) -> Reply + Send + Sync> = reply.into();
        let again = reply.clone();
        let got = outcome("Fail", move |q| reply(q)).await;
        assert!(got.starts_with(&format!("{FAILED}{want}")), "{got}\n{want}");
        assert_eq!(outcome("Ignore", move |q| again(q)).await, "ok");
    }
}

#[tokio::test]
async fn a_patch_makes_no_other_thing_of_an_object() {
    for (path, value, why) in
        [("/kind", "Foo", "no kind \"Foo\" is registered for version \"v1\""), ("/apiVersion", "x.io/v1", "is registered for version \"x.io/v1\"")]
    {
        let patch = json!([{"op": "replace", "path": path, "value": value}]);
        let got = outcome("Ignore", move |q: &Value| review(q, json!({"allowed": true, "patch": patch.clone()}))).await;
        assert!(got.starts_with("Internal error occurred: no kind") && got.contains(why), "{got}");
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_fails_whatever_the_policy() {
    let misfit = |q: &Value| review(q, json!({"allowed": true, "patch": [{"op": "remove", "path": "/data/absent"}]}));
    let got = outcome("Ignore", misfit).await;
    assert!(got.starts_with("Internal error occurred: "), "{got}");
}

#[tokio::test]
async fn an_answer_of_ten_megabytes_is_not_read_to_its_end() {
    let got = outcome("Fail", |_| Reply::Raw(200, vec![b' '; 10 << 20])).await;
    assert_eq!(got, format!("{FAILED}{POST}webhook response exceeds 8388608 bytes"));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_time_limit() {
    assert_eq!(outcome("Fail", |_| Reply::Silence).await, format!("{FAILED}{POST}context deadline exceeded"));
    assert_eq!(outcome("Ignore", |_| Reply::Silence).await, "ok");
}

#[tokio::test]
async fn nobody_there() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true})).await);
    let asked = async |client: Value| {
        let w = declared("mutating", &[("c", vec![hook("h.example.com", client, json!({}))])]);
        text(create().admit(&p, &w).await)
    };
    let absent = json!({"service": {"name": "absent", "namespace": "ns", "path": "/path"}});
    assert_eq!(
        asked(absent).await,
        format!("{FAILED}failed to call webhook: Post \"https://absent.ns.svc:443/path?timeout=1s\": service \"absent\" not found")
    );
    // A port where nobody listens: one that was listened on a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let got = asked(json!({"url": format!("https://127.0.0.1:{port}/x")})).await;
    assert!(
        got.starts_with(&format!(
            "{FAILED}failed to call webhook: Post \"https://127.0.0.1:{port}/x?timeout=1s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        )),
        "{got}"
    );
    // Another authority's certificate, and another name's.
    let other = Fake::saying(json!({"allowed": true})).await;
    let stranger = json!({"caBundle": other.ca, "service": {"name": "hook", "namespace": "ns", "path": "/path"}});
    assert_eq!(asked(stranger).await, format!("{FAILED}{POST}tls: failed to verify certificate: x509: certificate signed by unknown authority"));
    let misnamed = json!({"caBundle": fake.ca, "service": {"name": "hook", "namespace": "elsewhere", "path": "/path"}});
    let got = asked(misnamed).await;
    assert!(got.contains("tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, hook.ns.svc, not hook.elsewhere.svc"), "{got}");
    assert_eq!(asked(fake.by_url("/x")).await, "ok");
    assert_eq!(fake.asked.lock()[0].0, "/x?timeout=1s");
}

#[tokio::test]
async fn connections_are_kept() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true})).await);
    let w = one(&fake, json!({}));
    for _ in 0..5 {
        assert_eq!(text(create().admit(&p, &w).await), "ok");
    }
    assert_eq!((fake.count(), *fake.connections.lock()), (5, 1));
}

#[tokio::test]
async fn dry_runs_go_to_those_without_side_effects() {
    for (effects, asked, want) in [
        ("None", 1, "ok"),
        ("NoneOnDryRun", 1, "ok"),
        ("Some", 0, "admission webhook \"h.example.com\" does not support dry run"),
        ("Unknown", 0, "admission webhook \"h.example.com\" does not support dry run"),
    ] {
        let (fake, p) = mutating(Fake::saying(json!({"allowed": true})).await);
        let r = Request { dry_run: true, ..create() };
        assert_eq!(text(r.admit(&p, &one(&fake, json!({"sideEffects": effects}))).await), want);
        assert_eq!(fake.count(), asked);
    }
}

#[tokio::test]
async fn the_first_of_the_refusals_is_told_and_all_warnings() {
    let fake = Fake::start(|path, q| match path.split('?').next() {
        Some("/a") => review(q, json!({"allowed": true, "warnings": ["from a"]})),
        Some("/b") => review(q, json!({"allowed": false, "warnings": ["from b"], "status": {"message": "b says no"}})),
        _ => review(q, json!({"allowed": true, "patch": []})),
    });
    let (fake, p) = validating(fake.await);
    let h = |n: &str, more: Value| hook(n, fake.client(n), more);
    let w = declared("validating", &[("c", vec![h("a", json!({})), h("c", json!({"failurePolicy": "Ignore"})), h("b", json!({}))])]);
    assert_eq!(text(create().admit(&p, &w).await), "admission webhook \"b\" denied the request: b says no");
    assert_eq!(fake.count(), 3);
}
