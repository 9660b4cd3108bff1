//! What the node reads: archives and layers, image documents, streams of clients.

use skiff_images::limits::{Limits, decompressed};
use skiff_images::manifest::{Config, Manifest};
use skiff_images::reference::Reference;
use skiff_images::registries::Registries;
use skiff_images::tarball::TarReader;
use skiff_streaming::{Wanted, websocket as channels};
use std::io::{Cursor, Read};
use std::time::Duration;
use tokio::io::{AsyncReadExt, Join, Sink, join, sink};
use tokio::runtime::Builder;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Bytes that are read of what a layer expands to.
const EXPANDED: u64 = 8 << 20;

fn entries(reader: impl Read) {
    let mut tar = TarReader::new(reader);
    let mut buffer = [0; 4096];
    while let Ok(Some(_)) = tar.next_entry() {
        // Some of the content is read, the rest passed over.
        let _ = tar.read(&mut buffer);
    }
}

pub fn tar(data: &[u8]) {
    entries(data);
}

/// A layer as it comes from a registry: packed or not.
pub fn layer(data: &[u8]) {
    if let Ok(reader) = decompressed(data) {
        entries(reader.take(EXPANDED));
    }
}

pub fn image_manifest(data: &[u8]) {
    let _ = Manifest::decode("m", data, &Limits::default());
    let _ = Config::decode("c", data);
}

pub fn image_reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reference) = Reference::parse(text) else { return };
    let canonical = reference.canonical();
    let again = Reference::parse(&canonical).unwrap_or_else(|e| panic!("{text:?} is {canonical:?}, which is refused: {e}"));
    assert_eq!(again.canonical(), canonical, "{text:?} is not stable");
}

pub fn registries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (Ok(registries), Ok(reference)) = (Registries::decode(text), Reference::parse("docker.io/library/nginx:1")) else { return };
    let _ = registries.endpoints(&reference);
}

/// A peer that says these bytes and then nothing.
fn peer(data: &[u8]) -> Join<Cursor<Vec<u8>>, Sink> {
    join(Cursor::new(data.to_vec()), sink())
}

/// Runs to its end; what waits for a peer that says nothing more is left.
fn run(work: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let _ = tokio::time::timeout(Duration::from_secs(60), work).await;
    });
}

pub fn spdy(data: &[u8]) {
    run(async {
        let mut connection = skiff_streaming::spdy::serve(peer(data));
        while let Some(mut stream) = connection.streams.recv().await {
            let _ = stream.header("streamtype");
            stream.data.close();
        }
    });
}

pub fn websocket(data: &[u8]) {
    run(async {
        let wanted = || Wanted { stdin: true, stdout: true, stderr: true, tty: true };
        for protocol in ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"] {
            let socket = WebSocketStream::from_raw_socket(peer(data), Role::Server, None).await;
            let mut wires = channels::command(socket, protocol, wanted());
            if let Some(stdin) = &mut wires.stdin {
                while stdin.recv().await.is_some() {}
            }
        }
        let socket = WebSocketStream::from_raw_socket(peer(data), Role::Server, None).await;
        let mut tunnel = channels::tunnel(socket);
        let _ = tunnel.read_to_end(&mut Vec::new()).await;
    });
}
