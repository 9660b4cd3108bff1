//! Node ports on 127.0.0.1, as k3s users expect them: the kernel's rules leave loopback out, as kube-proxy's nftables mode
//! does, because the kernel would have to route loopback addresses, for everybody on the network. So the node listens there
//! itself and passes connections on to the Service's own address.
//!
//! TCP and IPv4 only. A port that another program has is that program's; it is tried again at each change. Which ports there
//! are is the caller's to say.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Connections at once to one port; what comes beyond is closed.
const MOST: usize = 1024;
/// Rest after a connection that could not be accepted.
const REST: Duration = Duration::from_millis(100);

/// Listens as long as it is there.
#[derive(Default)]
pub struct LocalPorts {
    open: BTreeMap<u16, (SocketAddr, JoinHandle<()>)>,
}

impl LocalPorts {
    /// Listens on these ports and on no others, and says on which it can't. Connections that are there go on.
    pub async fn set(&mut self, wanted: &BTreeMap<u16, SocketAddr>) -> Vec<(u16, std::io::Error)> {
        self.open.retain(|port, (to, task)| {
            let stays = wanted.get(port) == Some(to) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        let mut refused = Vec::new();
        for (port, to) in wanted {
            if self.open.contains_key(port) {
                continue;
            }
            match TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await {
                Ok(listener) => {
                    let task = tokio::spawn(serve(listener, *to, MOST));
                    self.open.insert(*port, (*to, task));
                }
                Err(error) => refused.push((*port, error)),
            }
        }
        refused
    }
}

impl Drop for LocalPorts {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, most: usize) {
    let room = Arc::new(Semaphore::new(most));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        tokio::spawn(async move {
            let _place = place;
            // A Service without endpoints refuses; dropping the client tells it so.
            if let Ok(service) = TcpStream::connect(to).await {
                let (mut client, mut service) = (client, service);
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        address
    }

    async fn ask(port: u16) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    async fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("address").port()
    }

    #[tokio::test]
    async fn connections_reach_the_service_while_the_port_is_wanted() {
        let (to, port) = (echo().await, free_port().await);
        let mut ports = LocalPorts::default();
        assert!(ports.set(&BTreeMap::from([(port, to)])).await.is_empty());
        assert_eq!(ask(port).await.expect("answer"), "hello");
        assert!(ports.set(&BTreeMap::new()).await.is_empty());
        // The listener goes with its task, which ends at its next turn.
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_comes_beyond_the_limit_is_closed_and_the_port_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("address").port();
        let serving = tokio::spawn(serve(listener, echo().await, 1));
        let mut first = TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        first.write_all(b"x").await.expect("write");
        first.read_exact(&mut [0]).await.expect("the echo");
        let mut second = TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
        drop(first);
        while ask(port).await.ok().as_deref() != Some("hello") {
            tokio::task::yield_now().await;
        }
        serving.abort();
    }

    #[tokio::test]
    async fn a_port_of_another_program_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = taken.local_addr().expect("address").port();
        let refused = LocalPorts::default().set(&BTreeMap::from([(port, echo().await)])).await;
        assert_eq!(refused.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [port]);
    }
}
