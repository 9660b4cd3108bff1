//! What is to be done about a StorageVersionMigration, by its conditions and those of the others.
//!
//! ```text
//!   new ── no other of its resource runs, it is the oldest ──▶ Running ──▶ resourceVersion pinned ──▶ objects rewritten
//!                                                                                                         │
//!   Running=False, its definition told ◀── Succeeded or Failed ◀──────────────────────────────────────────┘
//! ```
use k8s_openapi::{
    api::storagemigration::v1::StorageVersionMigration as Migration,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use skiff_json::{Value, json};
use skiff_meta::Timestamp;

pub const RUNNING: &str = "Running";
pub const SUCCEEDED: &str = "Succeeded";
pub const FAILED: &str = "Failed";

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do, or another one's turn.
    Nothing,
    /// It is its turn.
    Begin,
    /// Find out up to which revision objects may be of an old version.
    Pin,
    Migrate,
    /// It has come to an end: tell the definition.
    End {
        success: bool,
    },
}

pub fn holds(m: &Migration, kind: &str) -> bool {
    conditions(m).iter().any(|c| c.type_ == kind && c.status == "True")
}

fn conditions(m: &Migration) -> &[Condition] {
    m.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

pub fn revision(m: &Migration) -> &str {
    m.status.as_ref().and_then(|s| s.resource_version.as_deref()).unwrap_or_default()
}

/// Group and resource.
pub fn resource(m: &Migration) -> (&str, &str) {
    m.spec.as_ref().map(|s| (s.resource.group.as_str(), s.resource.resource.as_str())).unwrap_or_default()
}

fn ended(m: &Migration) -> bool {
    holds(m, SUCCEEDED) || holds(m, FAILED)
}

fn age(m: &Migration) -> (Option<&Time>, Option<&str>) {
    (m.metadata.creation_timestamp.as_ref(), m.metadata.name.as_deref())
}

/// `all`: every migration there is.
pub fn step(m: &Migration, all: &[Migration]) -> Step {
    match (holds(m, RUNNING), ended(m)) {
        (true, true) => return Step::End { success: holds(m, SUCCEEDED) },
        (false, true) => return Step::Nothing,
        (true, false) => return if revision(m).is_empty() { Step::Pin } else { Step::Migrate },
        (false, false) => {}
    }
    let mut rivals = all.iter().filter(|o| resource(o) == resource(m) && o.metadata.name != m.metadata.name && !ended(o));
    // One that was stopped from running never runs again.
    if rivals.any(|o| holds(o, RUNNING) || age(o) < age(m)) || conditions(m).iter().any(|c| c.type_ == RUNNING) { Step::Nothing } else { Step::Begin }
}

/// Puts a condition into the status; its time moves when its truth does.
pub fn set(m: &mut Migration, kind: &str, truth: bool, reason: &str, message: &str, now: Timestamp) {
    let status = if truth { "True" } else { "False" };
    let all = m.status.get_or_insert_default().conditions.get_or_insert_default();
    let old = all.iter().position(|c| c.type_ == kind);
    let Ok(at) = skiff_client::view::<Time>(&now.to_string().into()) else { return };
    let since = old.and_then(|i| all.get(i)).filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    let new = Condition {
        type_: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: since.unwrap_or(at),
        observed_generation: None,
    };
    match old.and_then(|i| all.get_mut(i)) {
        Some(c) => *c = new,
        None => all.push(new),
    }
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub left: usize,
    pub total: usize,
}

impl Progress {
    /// The message of the running migration.
    pub fn told(self, trouble: Option<&str>) -> String {
        let mut text = "The migration is running".to_owned();
        match self {
            Self { total: 0, .. } => {}
            Self { left: 0, total } => text += &format!(", {total} objects verified migrated"),
            Self { left, total } => text += &format!(", {left}/{total} objects not yet migrated"),
        }
        if let Some(why) = trouble {
            text += &format!("; transient error: {why}");
        }
        text
    }
}

/// The status of a definition whose objects are being migrated.
pub fn begun(definition: &Value, migration: &str, now: &str) -> Value {
    told(definition, "True", "MigrationRunning", &format!("Migration {migration} is running"), now)
}

/// The same when the migration has ended: with its success the versions left behind are stored ones no more, unless
/// the definition changed meanwhile.
pub fn done(definition: &Value, success: bool, now: &str) -> Value {
    let generation = &definition["metadata"]["generation"];
    let conditions = definition["status"]["conditions"].as_array();
    let same = conditions.into_iter().flatten().any(|c| c["type"] == MIGRATING && c["observedGeneration"] == *generation);
    let (reason, message) = match (success, same) {
        (true, true) => ("MigrationSucceeded", "The migration has succeeded and the stored versions have been updated"),
        (true, false) => ("MigrationSucceeded", "The migration has succeeded but the stored versions have not been updated due to a generation mismatch"),
        (false, _) => ("MigrationFailed", "The migration has failed"),
    };
    let mut v = told(definition, "False", reason, message, now);
    let stored = definition["spec"]["versions"].as_array().into_iter().flatten().find(|v| v["storage"] == true);
    if let Some(stored) = stored.filter(|_| same && success) {
        v["status"]["storedVersions"] = json!([stored["name"]]);
    }
    v
}

const MIGRATING: &str = "StorageMigrating";

fn told(definition: &Value, status: &str, reason: &str, message: &str, now: &str) -> Value {
    let meta = &definition["metadata"];
    json!({
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": meta["name"], "resourceVersion": meta["resourceVersion"]},
        "status": {"conditions": [{"type": MIGRATING, "status": status, "reason": reason, "message": message, "lastTransitionTime": now, "observedGeneration": meta["generation"]}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(name: &str, age: u32, conditions: &[(&str, &str)], revision: &str) -> Migration {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(k, s)| json!({"type": k, "status": s, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
            .collect();
        let v = json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z")},
            "spec": {"resource": {"group": "g.io", "resource": "things"}}, "status": {"conditions": conditions, "resourceVersion": revision}});
        skiff_json::from_value(v).unwrap()
    }

    #[test]
    fn one_at_a_time_the_oldest_first() {
        let (old, young) = (migration("b", 1, &[], ""), migration("a", 2, &[], ""));
        let all = [old.clone(), young.clone()];
        assert_eq!((step(&old, &all), step(&young, &all)), (Step::Begin, Step::Nothing));
        let running = migration("b", 1, &[(RUNNING, "True")], "");
        assert_eq!((step(&running, &[running.clone(), young.clone()]), step(&young, &[running.clone(), young.clone()])), (Step::Pin, Step::Nothing));
        let ended = migration("b", 1, &[(RUNNING, "True"), (SUCCEEDED, "True")], "7");
        assert_eq!((step(&ended, &[]), step(&young, &[ended.clone(), young.clone()])), (Step::End { success: true }, Step::Begin));
        let gone = migration("b", 1, &[(RUNNING, "False"), (FAILED, "True")], "7");
        assert_eq!(step(&gone, &[]), Step::Nothing);
        assert_eq!(step(&migration("b", 1, &[(RUNNING, "True")], "7"), &[]), Step::Migrate);
    }

    #[test]
    fn words() {
        assert_eq!(Progress { left: 1, total: 3 }.told(Some("x")), "The migration is running, 1/3 objects not yet migrated; transient error: x");
        assert_eq!(Progress { left: 0, total: 3 }.told(None), "The migration is running, 3 objects verified migrated");
    }

    #[test]
    fn definitions_forget_versions_that_nothing_is_stored_in() {
        let mut d = json!({"metadata": {"name": "things.g.io", "generation": 2, "resourceVersion": "5"}, "spec": {"versions": [{"name": "v1", "storage": false}, {"name": "v2", "storage": true}]}});
        let first = begun(&d, "m", "t");
        d["status"] = first["status"].clone();
        assert_eq!(done(&d, true, "t")["status"]["storedVersions"], json!(["v2"]));
        assert!(done(&d, false, "t")["status"]["storedVersions"].is_null());
        d["metadata"]["generation"] = 3.into();
        assert!(done(&d, true, "t")["status"]["storedVersions"].is_null());
    }

    #[test]
    fn conditions_keep_their_time() {
        let mut m = migration("a", 1, &[], "");
        set(&mut m, RUNNING, true, "R", "one", Timestamp(0));
        set(&mut m, RUNNING, true, "R", "two", Timestamp(50));
        let c = &conditions(&m)[0];
        assert_eq!((c.message.as_str(), skiff_json::to_value(&c.last_transition_time).unwrap()), ("two", json!("1970-01-01T00:00:00Z")));
    }
}
