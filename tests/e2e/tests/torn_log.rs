//! The datastore's log after a crash that left it torn, cut or scribbled over: the server starts, and what it has is a
//! beginning of what was written, without a hole.
use anyhow::{Context, ensure};
use skiff_e2e::{serve, with_server};
use skiff_json::json;
use std::path::Path;
use xtask::cluster::Cluster;
use xtask::http::Client;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITES: usize = 60;

/// How the log is harmed, given its bytes.
type Harm = fn(&mut Vec<u8>);

fn name(i: usize) -> String {
    format!("row-{i}")
}

/// How many of the writes are there; an error where one is missing in between.
fn there(c: &Cluster) -> anyhow::Result<usize> {
    let mut connection = Client::of(&c.kubeconfig())?.connect()?;
    let found: Vec<bool> = (0..WRITES).map(|i| connection.get(&format!("{MAPS}/{}", name(i))).map(|a| a.status == 200)).collect::<anyhow::Result<_>>()?;
    let count = found.iter().take_while(|f| **f).count();
    ensure!(!found[count..].contains(&true), "write {count} is lost, and a later one is there");
    Ok(count)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn a_harmed_log_loses_its_end_at_most() {
    with_server(16540, |c| {
        serve(c)?;
        // A clean end moves the log of commits into the database: what follows is in the log alone.
        c.end_server(false)?;
        serve(c)?;
        let mut connection = Client::of(&c.kubeconfig())?.connect()?;
        for i in 0..WRITES {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(i)}, "data": {"text": "x".repeat(5000)}});
            connection.create(MAPS, object.to_string().as_bytes())?;
        }
        c.end_server(true)?;
        let (db, crashed) = (c.dir.join("data/server/db"), c.dir.join("crashed"));
        copy(&db, &crashed)?;
        let log = std::fs::read(db.join("state.log")).context("the log of a killed server")?;
        let harms: [(&str, Harm, bool); 5] = [
            ("untouched", |_| {}, true),
            ("with rubbish behind it", |l| l.extend(std::iter::repeat_n(0xa5, 10_000)), true),
            ("cut by 100 bytes", |l| l.truncate(l.len() - 100), false),
            ("cut in the middle", |l| l.truncate(l.len() / 2), false),
            (
                "scribbled over",
                |l| {
                    let from = l.len() * 2 / 3;
                    l[from..from + 5000].fill(0x5a);
                },
                false,
            ),
        ];
        for (what, harm, whole) in harms {
            copy(&crashed, &db)?;
            let mut harmed = log.clone();
            harm(&mut harmed);
            std::fs::write(db.join("state.log"), &harmed)?;
            serve(c).with_context(|| format!("start with a log {what}"))?;
            let count = there(c).with_context(|| format!("with a log {what}"))?;
            ensure!(count <= WRITES && (!whole || count == WRITES), "{count} of {WRITES} writes are there with a log {what}");
            let mut connection = Client::of(&c.kubeconfig())?.connect()?;
            connection.create(MAPS, br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"after"}}"#)?;
            c.end_server(true)?;
            serve(c)?;
            ensure!(there(c)? == count, "what was there with a log {what} is gone after another kill");
            c.end_server(true)?;
            eprintln!("a log {what}: {count} of {WRITES} writes");
        }
        Ok(())
    });
}
