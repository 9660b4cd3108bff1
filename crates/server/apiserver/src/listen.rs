//! The listener and its connections: TLS, HTTP/1.1 and HTTP/2.
use crate::{identity, inbound, server::Server};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the headers of a request may have, as upstream.
const HEADERS: usize = (1 << 20) + 4096;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        tasks.spawn(self.clone().connection(socket, peer));
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: give others time to close.
                        tracing::warn!(target: "api", %error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let _ = socket.set_nodelay(true);
        let acceptor = tokio_rustls::TlsAcceptor::from(self.config.tls.config());
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
            Ok(Ok(tls)) => tls,
            failed => {
                self.metrics.handshake_errors.fetch_add(1, Ordering::Relaxed);
                let error = failed.err().map_or_else(|| "it was refused".to_owned(), |e| e.to_string());
                return tracing::debug!(target: "api", %peer, error, "TLS handshake failed");
            }
        };
        let certificate = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| identity::peer(c));
        let server = self.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (server, certificate) = (server.clone(), certificate.clone());
            request.extensions_mut().insert(inbound::Peer(peer.ip()));
            async move { Ok::<_, Infallible>(server.answer(request, certificate).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADERS);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000).keep_alive_interval(Duration::from_secs(30)).max_header_list_size(HEADERS as u32);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(target: "api", %peer, error, "connection ended");
        }
    }
}
