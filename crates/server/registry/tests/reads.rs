//! Lists and watches.
mod cluster;
use cluster::*;
use futures::StreamExt;
use skiff_json::{Value, json};
use skiff_meta::Revision;

async fn three() -> Cluster {
    let c = Cluster::new();
    for (name, labels) in [("a", json!({"x": "1"})), ("b", json!({"x": "2"})), ("c", json!({"x": "1"}))] {
        c.create("configmaps", config_map(name, labels)).await.unwrap();
    }
    c
}

#[tokio::test]
async fn who_watches_sees_pods_marked_before_they_go() {
    let c = Cluster::new();
    let made = c.create("pods", pod("p")).await.unwrap();
    let mut events = c.watch("pods", &[("resourceVersion", made["metadata"]["resourceVersion"].as_str().unwrap())]).await.unwrap();
    c.delete("pods", "p", skiff_json::json!({})).await.unwrap();
    for kind in ["MODIFIED", "DELETED"] {
        assert_eq!(next(&mut events).await, (kind.to_owned(), "p".to_owned()));
    }
}

#[tokio::test]
async fn selectors_narrow_lists() {
    let c = three().await;
    for (query, want) in [
        (vec![], vec!["a", "b", "c"]),
        (vec![("labelSelector", "x=1")], vec!["a", "c"]),
        (vec![("labelSelector", "x!=1")], vec!["b"]),
        (vec![("fieldSelector", "metadata.name=b")], vec!["b"]),
        (vec![("fieldSelector", "metadata.name!=b,metadata.namespace=a")], vec!["a", "c"]),
        (vec![("labelSelector", "x=1"), ("limit", "1")], vec!["a"]),
    ] {
        assert_eq!(names(&c.list("configmaps", &query).await.unwrap()), want, "{query:?}");
    }
    for query in [("fieldSelector", "spec.foo=1"), ("labelSelector", "x in"), ("resourceVersion", "abc"), ("resourceVersionMatch", "Exact")] {
        let code = c.list("configmaps", &[query]).await.unwrap_err().code;
        assert!(code == 400 || code == 422, "{query:?}: {code}");
    }
}

#[tokio::test]
async fn pages_show_the_first_ones_state() {
    let c = three().await;
    let first = c.list("configmaps", &[("limit", "2")]).await.unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a".to_owned(), "b".to_owned()], Some(1)));
    c.delete("configmaps", "c", json!({})).await.unwrap();
    let second = c.list("configmaps", &[("limit", "2"), ("continue", &first.continue_token)]).await.unwrap();
    assert_eq!((names(&second), second.revision, second.continue_token.as_str()), (vec!["c".to_owned()], first.revision, ""));
    c.registry.store().compact(c.registry.store().revision()).await.unwrap();
    let s = c.list("configmaps", &[("limit", "2"), ("continue", &first.continue_token)]).await.unwrap_err();
    assert_eq!(s.code, 410);
    let fresh = s.continue_token.unwrap();
    let rest = c.list("configmaps", &[("limit", "2"), ("continue", &fresh)]).await.unwrap();
    assert!(names(&rest).is_empty(), "the state of now, which has no c");
}

#[tokio::test(start_paused = true)]
async fn revisions_of_lists() {
    let c = three().await;
    let now = c.registry.store().revision();
    c.create("configmaps", config_map("d", json!({}))).await.unwrap();
    let exact = c.list("configmaps", &[("resourceVersion", &now.to_string()), ("resourceVersionMatch", "Exact")]).await.unwrap();
    assert_eq!((exact.items.len(), exact.revision), (3, now));
    assert_eq!(c.list("configmaps", &[("resourceVersion", &now.to_string())]).await.unwrap().items.len(), 4);
    let s = c.list("configmaps", &[("resourceVersion", "999999")]).await.unwrap_err();
    assert_eq!((s.code, s.details.unwrap().causes[0].reason.as_str()), (504, "ResourceVersionTooLarge"));
}

/// A list's items and its revision, or the code of the refusal.
#[derive(Debug, PartialEq)]
enum Seen {
    Items(usize, Revision),
    Refused(u16),
}

#[tokio::test(start_paused = true)]
async fn revisions_and_match_rules_in_all_combinations() {
    use Seen::{Items, Refused};
    let c = three().await;
    let before = c.registry.store().revision();
    c.create("configmaps", config_map("d", json!({}))).await.unwrap();
    let now = c.registry.store().revision();
    let (old, future) = (before.to_string(), "999999".to_owned());
    let exact = "Exact";
    let fresh = "NotOlderThan";
    for (revision, rule, limit, want) in [
        ("", "", "", Items(4, now)),
        ("", "", "2", Items(2, now)),
        ("0", "", "", Items(4, now)),
        ("0", "", "9", Items(4, now)),
        (&old, "", "", Items(4, now)),
        // With a limit and no rule, a revision means exactly that one.
        (&old, "", "9", Items(3, before)),
        (&old, exact, "", Items(3, before)),
        (&old, exact, "9", Items(3, before)),
        (&old, fresh, "", Items(4, now)),
        (&old, fresh, "9", Items(4, now)),
        ("0", fresh, "", Items(4, now)),
        ("0", exact, "", Refused(422)),
        ("", exact, "", Refused(422)),
        ("", fresh, "", Refused(422)),
        (&old, "Newest", "", Refused(422)),
        (&future, "", "", Refused(504)),
        (&future, fresh, "", Refused(504)),
        (&future, exact, "", Refused(504)),
        ("abc", "", "", Refused(400)),
        ("-1", "", "", Refused(400)),
    ] {
        let query: Vec<(&str, &str)> =
            [("resourceVersion", revision), ("resourceVersionMatch", rule), ("limit", limit)].into_iter().filter(|(_, v)| !v.is_empty()).collect();
        let seen = match c.list("configmaps", &query).await {
            Ok(l) => Items(l.items.len(), l.revision),
            Err(s) => Refused(s.code),
        };
        assert_eq!(seen, want, "{query:?}");
    }
    c.registry.store().compact(now).await.unwrap();
    for query in [vec![("resourceVersion", old.as_str()), ("resourceVersionMatch", exact)], vec![("resourceVersion", old.as_str()), ("limit", "9")]] {
        let s = c.list("configmaps", &query).await.unwrap_err();
        assert_eq!((s.code, s.continue_token.is_some()), (410, false), "{query:?}");
    }
    assert_eq!(c.list("configmaps", &[("resourceVersion", &old)]).await.unwrap().items.len(), 4, "not older than");
}

#[tokio::test]
async fn an_expired_token_goes_on_with_what_is_there() {
    let c = three().await;
    let first = c.list("configmaps", &[("limit", "1")]).await.unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a".to_owned()], Some(2)));
    c.delete("configmaps", "b", json!({})).await.unwrap();
    c.create("configmaps", config_map("bb", json!({}))).await.unwrap();
    c.registry.store().compact(c.registry.store().revision()).await.unwrap();
    let s = c.list("configmaps", &[("limit", "1"), ("continue", &first.continue_token)]).await.unwrap_err();
    assert_eq!((s.code, s.reason), (410, skiff_meta::Reason::Expired));
    let mut token = s.continue_token.unwrap();
    let mut rest = Vec::new();
    while !token.is_empty() {
        let page = c.list("configmaps", &[("limit", "1"), ("continue", &token)]).await.unwrap();
        assert_eq!(page.revision, c.registry.store().revision(), "an inconsistent page is of now");
        rest.extend(names(&page));
        token = page.continue_token;
    }
    assert_eq!(rest, ["bb", "c"]);
    let s = c.list("configmaps", &[("continue", &first.continue_token), ("resourceVersion", "5")]).await.unwrap_err();
    assert_eq!((s.code, s.message.as_str()), (400, "specifying resource version is not allowed when using continue"));
    let s = c.list("configmaps", &[("continue", "abc")]).await.unwrap_err();
    assert_eq!((s.code, s.message.as_str()), (400, "invalid continue token: continue key is not valid: invalid character 'i' looking for beginning of value"));
}

#[tokio::test]
async fn a_watch_begins_where_it_is_asked_to() {
    let c = three().await;
    let now = c.registry.store().revision().to_string();
    // What comes first: nothing but changes, the present state, or that and a bookmark at its end.
    for (query, want) in [
        (vec![("resourceVersion", now.as_str())], vec![]),
        (vec![("resourceVersion", "1")], vec!["ADDED b", "ADDED c"]),
        (vec![("resourceVersion", "0")], vec!["ADDED a", "ADDED b", "ADDED c"]),
        (vec![], vec!["ADDED a", "ADDED b", "ADDED c"]),
        (vec![("allowWatchBookmarks", "true")], vec!["ADDED a", "ADDED b", "ADDED c", "BOOKMARK "]),
        (vec![("sendInitialEvents", "false"), ("resourceVersionMatch", "NotOlderThan")], vec![]),
        (vec![("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")], vec!["ADDED a", "ADDED b", "ADDED c"]),
        (
            vec![("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("resourceVersion", now.as_str()), ("allowWatchBookmarks", "true")],
            vec!["ADDED a", "ADDED b", "ADDED c", "BOOKMARK "],
        ),
    ] {
        let mut w = c.watch("configmaps", &query).await.unwrap();
        let mut seen = Vec::new();
        while let Some(Some(e)) = futures::FutureExt::now_or_never(w.next()) {
            let v: Value = skiff_json::from_slice(&e.object).unwrap();
            seen.push(format!("{} {}", e.kind.as_str(), v["metadata"]["name"].as_str().unwrap_or_default()));
        }
        assert_eq!(seen, want, "{query:?}");
    }
    let s = c.watch("configmaps", &[("resourceVersion", "abc")]).await.err().unwrap();
    assert_eq!((s.code, s.reason), (500, skiff_meta::Reason::Unknown));
}

#[tokio::test]
async fn watches_turn_updates_into_what_the_selector_sees() {
    let c = three().await;
    let from = c.registry.store().revision().to_string();
    let mut w = c.watch("configmaps", &[("resourceVersion", &from), ("labelSelector", "x=1")]).await.unwrap();
    let label = |name: &'static str, x: &'static str| {
        let c = &c;
        async move {
            let mut v = c.get("configmaps", name).await.unwrap();
            v["metadata"]["labels"]["x"] = x.into();
            c.update("configmaps", "", &v).await.unwrap()
        }
    };
    label("b", "1").await;
    let left = label("a", "2").await;
    label("a", "3").await;
    c.delete("configmaps", "c", json!({})).await.unwrap();
    assert_eq!(next(&mut w).await, ("ADDED".into(), "b".into()));
    let e = w.next().await.unwrap();
    let v: Value = skiff_json::from_slice(&e.object).unwrap();
    assert_eq!(
        (e.kind.as_str(), &v["metadata"]["resourceVersion"], &v["metadata"]["labels"]["x"]),
        ("DELETED", &left["metadata"]["resourceVersion"], &json!("1"))
    );
    assert_eq!(next(&mut w).await, ("DELETED".into(), "c".into()));
}

#[tokio::test]
async fn the_initial_state_ends_with_a_bookmark() {
    let c = three().await;
    let query = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true"), ("labelSelector", "x=1")];
    let mut w = c.watch("configmaps", &query).await.unwrap();
    assert_eq!((next(&mut w).await.1, next(&mut w).await.1), ("a".into(), "c".into()));
    let e = w.next().await.unwrap();
    let v: Value = skiff_json::from_slice(&e.object).unwrap();
    assert_eq!((e.kind.as_str(), &v["kind"], &v["metadata"]["annotations"]["k8s.io/initial-events-end"]), ("BOOKMARK", &json!("ConfigMap"), &json!("true")));
    assert_eq!(v["metadata"]["resourceVersion"], c.registry.store().revision().to_string());
    assert_eq!(c.watch("configmaps", &[("sendInitialEvents", "true")]).await.err().unwrap().code, 422);
    let mut w = c.watch("apps/v1/deployments", &query).await.unwrap();
    let v: Value = skiff_json::from_slice(&w.next().await.unwrap().object).unwrap();
    assert_eq!(v["spec"].as_object().unwrap().keys().next().unwrap(), "replicas", "{v}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_time_with_a_last_bookmark() {
    let c = three().await;
    let from = c.registry.store().revision().to_string();
    let mut w = c
        .watch("configmaps", &[("resourceVersion", &from), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "30"), ("fieldSelector", "metadata.name=a")])
        .await
        .unwrap();
    c.create("configmaps", config_map("z", json!({}))).await.unwrap();
    let e = w.next().await.unwrap();
    assert_eq!((e.kind.as_str(), e.revision), ("BOOKMARK", c.registry.store().revision()));
    assert!(w.next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_a_compacted_revision_is_told_so() {
    let c = three().await;
    c.registry.store().compact(Revision(2)).await.unwrap();
    let mut w = c.watch("configmaps", &[("resourceVersion", "1")]).await.unwrap();
    assert_eq!(next(&mut w).await, ("ERROR".into(), "410".into()));
    assert!(w.next().await.is_none());
}

#[tokio::test]
async fn events_of_both_groups_are_the_same_objects() {
    let c = Cluster::new();
    let v = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "a"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "a"}, "message": "m", "reason": "R", "type": "Normal"});
    c.create("events", v).await.unwrap();
    let v = c.get("events.k8s.io/v1/events", "e").await.unwrap();
    assert_eq!((&v["apiVersion"], &v["note"], &v["regarding"]["name"]), (&json!("events.k8s.io/v1"), &json!("m"), &json!("p")));
    let l = c.list("events.k8s.io/v1/events", &[("fieldSelector", "regarding.name=p")]).await.unwrap();
    assert_eq!(names(&l), ["e"]);
}
