//! `kill -9` of the server at random instants under 64 writers: every acknowledged write is there, the revision never goes
//! back, no container notices, no line of a log and no exit code is lost.
//!
//! SKIFF_KILL_ROUNDS sets the number of rounds (6; a hundred before a release).
use anyhow::{Context, bail, ensure};
use skiff_e2e::{IMAGE, with_cluster};
use skiff_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use xtask::cluster::Cluster;
use xtask::http::{Client, Connection};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 64;
const JSON: [&str; 1] = ["content-type: application/json"];

fn rounds() -> usize {
    std::env::var("SKIFF_KILL_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(6)
}

/// What one writer was told: the number in its counter, and how many objects of its own it has made.
#[derive(Clone, Copy, Default)]
struct Told {
    counter: u64,
    made: u64,
}

/// What all writers were told, and what to go by when they stop.
#[derive(Default)]
struct Journal {
    told: Mutex<Vec<Told>>,
    acknowledged: AtomicUsize,
    /// The highest revision that anybody was told.
    revision: AtomicU64,
}

fn revision(body: &[u8]) -> anyhow::Result<u64> {
    let object: Value = skiff_json::from_slice(body)?;
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).and_then(|r| r.parse().ok()).context("no resourceVersion")
}

fn counter(writer: usize, n: u64) -> Vec<u8> {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("counter-{writer}")}, "data": {"n": n.to_string()}}).to_string().into_bytes()
}

impl Journal {
    /// Writes until the server is gone.
    fn write(&self, connection: &mut Connection, writer: usize) {
        loop {
            let told = self.told.lock().unwrap()[writer];
            let (answer, next) = if (told.counter + told.made).is_multiple_of(3) {
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("made-{writer}-{}", told.made)}, "data": {"text": "x".repeat(1000)}});
                (connection.request("POST", MAPS, &JSON, object.to_string().as_bytes()), Told { made: told.made + 1, ..told })
            } else {
                (
                    connection.request("PUT", &format!("{MAPS}/counter-{writer}"), &JSON, &counter(writer, told.counter + 1)),
                    Told { counter: told.counter + 1, ..told },
                )
            };
            let Ok(answer) = answer else { return };
            // What was in flight at the kill may have happened: the name is there then.
            if answer.status != 409 {
                assert!(answer.status < 300, "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                let revision = revision(&answer.body).unwrap();
                self.revision.fetch_max(revision, Ordering::SeqCst);
            }
            self.told.lock().unwrap()[writer] = next;
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Compares what is there with what was told, and takes what is there as told.
    fn check(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let answer = connection.get(MAPS)?;
        ensure!(answer.status == 200, "list: {}", answer.status);
        let list: Value = skiff_json::from_slice(&answer.body)?;
        let at = revision(&answer.body)?;
        let before = self.revision.fetch_max(at, Ordering::SeqCst);
        ensure!(at >= before, "the server is at revision {at}; {before} was told");
        let items = list["items"].as_array().context("no items")?;
        let mut told = self.told.lock().unwrap();
        for (writer, told) in told.iter_mut().enumerate() {
            let find = |name: String| items.iter().find(|i| i["metadata"]["name"] == *name);
            let counter = find(format!("counter-{writer}"))
                .and_then(|i| i["data"]["n"].as_str()?.parse().ok())
                .with_context(|| format!("the counter of writer {writer} is lost"))?;
            ensure!(counter == told.counter || counter == told.counter + 1, "writer {writer} was told {}, and {counter} is there", told.counter);
            told.counter = counter;
        }
        let names: std::collections::HashSet<&str> = items.iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
        for (writer, told) in told.iter().enumerate() {
            for n in 0..told.made {
                ensure!(names.contains(&*format!("made-{writer}-{n}")), "made-{writer}-{n} is lost");
            }
        }
        Ok(())
    }
}

fn pod(name: &str, script: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: c, image: '{IMAGE}', command: [sh, -c, '{script}']}}]}}}}"
    )
}

fn of_pod(c: &Cluster, name: &str, path: &str) -> anyhow::Result<String> {
    c.kubectl(&["get", "pod", name, "-o", &format!("jsonpath={path}")])
}

/// Whether a container's log, as it lies on the disk, has this line.
fn logged(logs: &Path, pod: &str, line: &str) -> bool {
    let pods = std::fs::read_dir(logs).into_iter().flatten().flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&format!("default_{pod}_")));
    pods.map(|p| std::fs::read_to_string(p.path().join("c/0.log")).unwrap_or_default()).any(|text| text.contains(line))
}

#[test]
fn killed_at_random_under_load() {
    with_cluster(16550, |c| {
        let journal = Journal { told: Mutex::new(vec![Told::default(); WRITERS]), ..Default::default() };
        let mut connection = Client::of(&c.kubeconfig())?.connect()?;
        for writer in 0..WRITERS {
            connection.create(MAPS, &counter(writer, 0))?;
        }
        c.kubectl_with(&["apply", "-f", "-"], &pod("count", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"))?;
        c.kubectl(&["wait", "--for=condition=Ready", "pod/count", "--timeout=60s"])?;
        let container = of_pod(c, "count", "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")?;
        for n in 0..rounds() {
            round(c, &journal, n).with_context(|| format!("round {n}"))?;
            let now = of_pod(c, "count", "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")?;
            ensure!(now == container, "round {n}: another container: {now} after {container}");
        }
        let seen = c.kubectl(&["logs", "count"])?;
        for (i, line) in seen.lines().enumerate() {
            ensure!(line == format!("line {i}"), "line {i} of the log is {line:?}");
        }
        eprintln!(
            "{} rounds, {} acknowledged writes, revision {}, {} log lines",
            rounds(),
            journal.acknowledged.into_inner(),
            journal.revision.into_inner(),
            seen.lines().count()
        );
        c.kubectl(&["delete", "pod", "--all", "--now"]).map(drop)
    });
}

fn round(c: &Cluster, journal: &Journal, n: usize) -> anyhow::Result<()> {
    // A container that ends at about the time when the server is killed.
    let (name, code) = (format!("ends-{n}"), 3 + n % 100);
    c.kubectl_with(&["apply", "-f", "-"], &pod(&name, &format!("echo begun; sleep 1; echo ended {n}; exit {code}")))?;
    c.wait("the container that ends", Duration::from_secs(60), || logged(&c.dir.join("logs"), &name, "begun"))?;
    let client = Client::of(&c.kubeconfig())?;
    let connections = (0..WRITERS).map(|_| client.connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let enough = journal.acknowledged.load(Ordering::SeqCst) + 1 + rand::random_range(0..1500);
    std::thread::scope(|s| -> anyhow::Result<()> {
        for (writer, mut connection) in connections.into_iter().enumerate() {
            s.spawn(move || journal.write(&mut connection, writer));
        }
        let waited = c.wait_every("enough writes", Duration::from_secs(60), Duration::from_millis(1), || journal.acknowledged.load(Ordering::SeqCst) >= enough);
        c.end_server(true)?;
        waited
    })?;
    // Without a server, containers log and end as with one.
    let start = std::time::Instant::now();
    while !logged(&c.dir.join("logs"), &name, &format!("ended {n}")) {
        if start.elapsed() > Duration::from_secs(30) {
            bail!("the log does not go on without a server");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    c.up(&[])?;
    journal.check(&mut Client::of(&c.kubeconfig())?.connect()?)?;
    c.wait("the exit code", Duration::from_secs(30), || {
        of_pod(c, &name, "{.status.containerStatuses[0].state.terminated.exitCode}").is_ok_and(|e| e == code.to_string())
    })?;
    ensure!(c.kubectl(&["logs", &name])? == format!("begun\nended {n}\n"), "the log of {name}");
    c.kubectl(&["delete", "pod", &name]).map(drop)
}
