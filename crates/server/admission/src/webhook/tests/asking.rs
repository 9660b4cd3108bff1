//! Who is asked, in which order, and what the question says.
use super::{server::review, *};
use crate::testing::text;

#[tokio::test]
async fn the_question_says_all_about_the_request() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true, "warnings": ["careful"]})).await);
    let (_, warnings) = create().admit(&p, &one(&fake, json!({}))).await.unwrap();
    assert_eq!(warnings, ["careful"]);
    let (path, question) = fake.asked.lock()[0].clone();
    assert_eq!(path, "/path?timeout=1s");
    assert_eq!(question["apiVersion"], "admission.k8s.io/v1");
    let mut r = question["request"].clone();
    assert!(r["uid"].as_str().is_some_and(|u| u.len() == 36));
    r["uid"].take();
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!(
        r,
        json!({"uid": null, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource, "name": "m", "namespace": "ns",
            "operation": "CREATE", "userInfo": {"username": "someone", "groups": ["system:authenticated"]}, "object": map(json!({"k": "v"})),
            "oldObject": null, "dryRun": false, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}})
    );
}

#[tokio::test]
async fn the_first_beta_is_spoken_where_the_webhook_asks_for_it() {
    let (fake, p) = validating(Fake::saying(json!({"allowed": true})).await);
    let w = declared("validating", &[("c", vec![hook("h", fake.client("/"), json!({"admissionReviewVersions": ["v9", "v1beta1"]}))])]);
    assert_eq!(text(create().admit(&p, &w).await), "ok");
    assert_eq!(fake.asked.lock()[0].1["apiVersion"], "admission.k8s.io/v1beta1");
    let w = declared("validating", &[("c", vec![hook("h", fake.client("/"), json!({"admissionReviewVersions": ["v9"]}))])]);
    assert!(text(create().admit(&p, &w).await).contains("webhook does not accept known AdmissionReview versions"));
}

#[tokio::test]
async fn rules_and_selectors_choose() {
    let rule = |r: Value| {
        let mut rule = json!({"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        r.as_object().unwrap().iter().for_each(|(k, x)| rule[k] = x.clone());
        json!({"rules": [rule]})
    };
    let label = |k: &str, v: &str| json!({"matchLabels": {k: v}});
    let condition = |e: &str| json!({"matchConditions": [{"name": "c", "expression": e}]});
    let cases = [
        (json!({}), true),
        (rule(json!({})), true),
        (rule(json!({"operations": ["UPDATE", "DELETE"]})), false),
        (rule(json!({"apiGroups": ["apps"]})), false),
        (rule(json!({"apiVersions": ["v2"]})), false),
        (rule(json!({"resources": ["configmaps/*"]})), true),
        (rule(json!({"resources": ["*/status"]})), false),
        (rule(json!({"scope": "Namespaced"})), true),
        (rule(json!({"scope": "Cluster"})), false),
        (json!({"namespaceSelector": label("team", "a")}), true),
        (json!({"namespaceSelector": label("team", "b")}), false),
        (json!({"objectSelector": label("app", "x")}), true),
        (json!({"objectSelector": label("app", "y")}), false),
        (condition("object.data.k == 'v' && request.operation == 'CREATE'"), true),
        (condition("has(object.data.other)"), false),
        (condition("oldObject == null"), true),
        (condition("request.userInfo.username == 'someone'"), true),
        (condition("authorizer.group('').resource('pods').namespace('ns').check('get').allowed()"), false),
        (condition("!authorizer.requestResource.check('get').allowed()"), true),
    ];
    let fake = Fake::saying(json!({"allowed": true})).await;
    let (fake, p) = mutating(fake);
    for (more, expected) in cases {
        let before = fake.count();
        assert_eq!(text(create().admit(&p, &one(&fake, more.clone())).await), "ok", "{more}");
        assert_eq!(fake.count() > before, expected, "{more}");
    }
}

#[tokio::test]
async fn conditions_that_fail_follow_the_failure_policy() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true})).await);
    let with = |policy: &str, more: &[&str]| {
        let all: Vec<Value> = more.iter().map(|e| json!({"name": "c", "expression": e})).collect();
        json!({"failurePolicy": policy, "matchConditions": all})
    };
    let refused = create().admit(&p, &one(&fake, with("Fail", &["object.nothing.there == 1"]))).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (403, "configmaps \"m\" is forbidden: expression 'object.nothing.there == 1' resulted in error: no such key: nothing")
    );
    assert_eq!(text(create().admit(&p, &one(&fake, with("Ignore", &["object.nothing.there == 1"]))).await), "ok");
    // One that is false decides, whatever errors there are.
    assert_eq!(text(create().admit(&p, &one(&fake, with("Fail", &["object.nothing.there == 1", "false"]))).await), "ok");
    assert_eq!(fake.count(), 0);
}

#[tokio::test]
async fn equivalent_resources_are_shown_as_the_rule_wants_them() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": true})).await);
    let rules = json!([{"operations": ["*"], "apiGroups": ["old"], "apiVersions": ["v1beta1"], "resources": ["configmaps"]}]);
    for (policy, count) in [("Equivalent", 1), ("Exact", 1)] {
        let mut w = one(&fake, json!({"rules": rules, "matchPolicy": policy}));
        w.1 = vec![
            (skiff_meta::GroupVersionResource::new("", "v1", "configmaps"), skiff_meta::GroupVersionKind::new("", "v1", "ConfigMap")),
            (skiff_meta::GroupVersionResource::new("old", "v1beta1", "configmaps"), skiff_meta::GroupVersionKind::new("old", "v1beta1", "ConfigMap")),
        ];
        assert_eq!(text(create().admit(&p, &w).await), "ok");
        assert_eq!(fake.count(), count, "{policy}");
    }
    let r = fake.asked.lock()[0].1["request"].clone();
    assert_eq!((&r["resource"]["group"], &r["kind"]["version"], &r["requestResource"]["version"]), (&json!("old"), &json!("v1beta1"), &json!("v1")));
    assert_eq!((&r["object"]["apiVersion"], &r["requestKind"]["group"]), (&json!("old/v1beta1"), &json!("")));
}

#[tokio::test]
async fn declarations_of_admission_are_never_shown() {
    let (fake, p) = mutating(Fake::saying(json!({"allowed": false})).await);
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies", "mutatingadmissionpolicybindings"] {
        let r = Request::create(&format!("{resource}.admissionregistration.k8s.io"), json!({"metadata": {"name": "x"}}));
        assert_eq!(text(r.admit(&p, &one(&fake, all.clone())).await), "ok");
    }
    assert_eq!(fake.count(), 0);
}

#[tokio::test]
async fn one_after_the_other_by_the_names_of_configurations() {
    let fake = Fake::start(|path, q| {
        let at = path.split('?').next().unwrap().trim_start_matches('/');
        let seen = q["request"]["object"]["data"]["seen"].as_str().unwrap_or_default();
        review(q, json!({"allowed": true, "patch": [{"op": "add", "path": "/data/seen", "value": format!("{seen}{at}")}]}))
    });
    let (fake, p) = mutating(fake.await);
    let h = |n: &str| hook(n, fake.client(n), json!({}));
    let w = declared("mutating", &[("b", vec![h("3")]), ("a", vec![h("1"), h("2")])]);
    let (v, _) = create().admit(&p, &w).await.unwrap();
    assert_eq!(v["data"]["seen"], "123");
}

#[tokio::test]
async fn a_change_makes_the_earlier_ones_look_again() {
    let fake = Fake::start(|path, q| {
        let data = &q["request"]["object"]["data"];
        let patch = match path.split('?').next() {
            // Counts how often it was asked; the other changes the object once.
            Some("/first") => json!([{"op": "add", "path": "/data/first", "value": format!("{}x", data["first"].as_str().unwrap_or_default())}]),
            _ if data.get("second").is_none() => json!([{"op": "add", "path": "/data/second", "value": "y"}]),
            _ => json!([]),
        };
        review(q, json!({"allowed": true, "patch": patch}))
    });
    let (fake, p) = mutating(fake.await);
    let w = |policy: &str| {
        declared(
            "mutating",
            &[("a", vec![hook("a", fake.client("/first"), json!({"reinvocationPolicy": policy}))]), ("b", vec![hook("b", fake.client("/second"), json!({}))])],
        )
    };
    let (v, _) = create().twice().admit(&p, &w("IfNeeded")).await.unwrap();
    assert_eq!(v["data"], json!({"k": "v", "first": "xx", "second": "y"}));
    let (v, _) = create().twice().admit(&p, &w("Never")).await.unwrap();
    assert_eq!(v["data"], json!({"k": "v", "first": "x", "second": "y"}));
}

#[tokio::test]
async fn validating_ones_see_connections_and_deletions() {
    let (fake, p) = validating(Fake::saying(json!({"allowed": false, "status": {"message": "no"}})).await);
    let rules = json!({"rules": [{"operations": ["CONNECT", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/attach"]}]});
    let w = declared("validating", &[("c", vec![hook("h", fake.client("/"), rules)])]);
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns"}});
    let options = json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": true, "metadata": {"name": "p", "namespace": "ns"}});
    let attach = Request::connect("pods", options).sub("attach");
    assert_eq!(text(attach.admit(&p, &w).await), "admission webhook \"h\" denied the request: no");
    assert_eq!(text(Request::connect("pods", json!({"metadata": {"name": "p", "namespace": "ns"}})).sub("exec").admit(&p, &w).await), "ok");
    assert_eq!(text(Request::delete("pods", pod.clone()).admit(&p, &w).await), "admission webhook \"h\" denied the request: no");
    let asked = fake.asked.lock();
    let (attached, deleted) = (&asked[0].1["request"], &asked[1].1["request"]);
    assert_eq!(
        (&attached["operation"], &attached["subResource"], &attached["options"], &attached["object"]["stdin"]),
        (&json!("CONNECT"), &json!("attach"), &Value::Null, &json!(true))
    );
    assert_eq!(
        (&deleted["operation"], &deleted["object"], &deleted["oldObject"]["kind"], &deleted["options"]["kind"]),
        (&json!("DELETE"), &Value::Null, &json!("Pod"), &json!("DeleteOptions"))
    );
}
