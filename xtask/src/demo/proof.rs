//! The proof: an HTTP answer through a Service, and a row that outlives the database's pod.
use super::{say, until};
use crate::cluster::Cluster;
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn run(cluster: &Cluster) -> anyhow::Result<()> {
    say("asking the web Service");
    let address = cluster.kubectl(&["-n", "demo", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"])?;
    let page = http(&address).with_context(|| format!("ask {address}"))?;
    ensure!(page.contains("<h1>Skiff</h1>"), "the Service answered something else: {page}");
    println!("  http://{address}/ answers: {}", page.lines().find(|l| l.contains("<h1>")).unwrap_or_default());
    say("writing a row into the database");
    sql(cluster, "CREATE TABLE IF NOT EXISTS proof (at timestamptz); INSERT INTO proof VALUES (now());")?;
    let before = count(cluster)?;
    println!("  {before} rows");
    say("deleting the database's pod");
    let uid = |c: &Cluster| c.kubectl(&["-n", "demo", "get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}"]).unwrap_or_default();
    let old = uid(cluster);
    cluster.kubectl(&["-n", "demo", "delete", "pod", "db-0"])?;
    until(cluster, "a new database pod", || {
        let new = uid(cluster);
        !new.is_empty() && new != old
    })?;
    cluster.kubectl(&["-n", "demo", "wait", "--for=condition=Ready", "pod/db-0", "--timeout=120s"])?;
    let after = count(cluster)?;
    ensure!(after == before, "{before} rows were written, {after} are there");
    println!("  {after} rows are still there");
    Ok(())
}

/// Through the Service's name, as a client in the cluster would.
fn sql(cluster: &Cluster, statement: &str) -> anyhow::Result<String> {
    let script = "exec /usr/lib/postgresql/*/bin/psql -h db -U postgres -At -v ON_ERROR_STOP=1";
    cluster.kubectl_with(&["-n", "demo", "exec", "-i", "db-0", "--", "sh", "-c", script], &format!("{statement}\n"))
}

fn count(cluster: &Cluster) -> anyhow::Result<u64> {
    sql(cluster, "SELECT count(*) FROM proof;")?.trim().parse().context("read the count of rows")
}

fn http(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}
