//! The sockets: UDP and TCP on each address, with limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::upstream::Upstream;
use crate::{Answer, Zone, answer};

/// Questions in work at once; more wait in the sockets' buffers.
const PARALLEL: usize = 512;
const CONNECTIONS: usize = 128;
const PAYLOAD: u16 = 1232;
const IDLE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listen: Vec<SocketAddr>,
    /// Who knows the names outside the cluster, see [`crate::upstreams_of`].
    pub upstreams: Vec<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
#[error("listen for DNS on {address}")]
pub struct ServerError {
    pub address: SocketAddr,
    #[source]
    source: std::io::Error,
}

struct Shared {
    zone: Zone,
    upstream: Upstream,
    questions: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Bound sockets; [`Server::run`] answers until it is dropped.
pub struct Server {
    sockets: Vec<(Arc<UdpSocket>, TcpListener)>,
    shared: Arc<Shared>,
}

impl Server {
    pub async fn bind(zone: Zone, config: ServerConfig) -> Result<Self, ServerError> {
        let mut sockets = Vec::new();
        for address in config.listen {
            let fail = |source| ServerError { address, source };
            let tcp = TcpListener::bind(address).await.map_err(fail)?;
            let udp = UdpSocket::bind(tcp.local_addr().map_err(fail)?).await.map_err(fail)?;
            sockets.push((Arc::new(udp), tcp));
        }
        let shared = Shared {
            zone,
            upstream: Upstream::new(config.upstreams),
            questions: Arc::new(Semaphore::new(PARALLEL)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        Ok(Self { sockets, shared: Arc::new(shared) })
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(_, tcp)| tcp.local_addr().ok()).collect()
    }

    /// Never returns. Dropping the future ends the server and all its questions.
    pub async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        for (udp, tcp) in self.sockets {
            tasks.spawn(serve_udp(udp, self.shared.clone()));
            tasks.spawn(serve_tcp(tcp, self.shared.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 4096];
    let mut running = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = shared.questions.clone().acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        // An error is an earlier answer's: its client has gone.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(query) = buffer.get(..length).and_then(parse) else { continue };
        let (socket, shared) = (socket.clone(), shared.clone());
        running.spawn(async move {
            let limit = query.max_payload().clamp(512, PAYLOAD);
            let reply = reply(&shared, &query, false).await;
            if let Some(bytes) = encode(&reply, usize::from(limit)) {
                let _ = socket.send_to(&bytes, client).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut running = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = shared.connections.clone().acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                running.spawn(async move {
                    let _ = serve_connection(stream, &shared).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: leave others the time to close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    while let Ok(length) = timeout(IDLE, stream.read_u16()).await? {
        let mut bytes = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let Some(query) = parse(&bytes) else { break };
        let Some(answer) = encode(&reply(shared, &query, true).await, usize::from(u16::MAX)) else { break };
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// A query, and nothing that claims to be an answer.
fn parse(bytes: &[u8]) -> Option<Message> {
    Message::from_vec(bytes).ok().filter(|message| message.metadata.message_type == MessageType::Query)
}

/// At most `limit` bytes; what doesn't fit is left out and the client told to come by TCP.
fn encode(reply: &Message, limit: usize) -> Option<Vec<u8>> {
    match reply.to_vec() {
        Ok(bytes) if bytes.len() <= limit => Some(bytes),
        _ => reply.truncate().to_vec().ok(),
    }
}

fn empty_reply(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        reply.set_edns(edns);
    }
    reply
}

async fn reply(shared: &Shared, query: &Message, whole: bool) -> Message {
    let [question] = query.queries.as_slice() else { return empty_reply(query, ResponseCode::FormErr) };
    if query.metadata.op_code != OpCode::Query {
        return empty_reply(query, ResponseCode::NotImp);
    }
    let found = shared.zone.read(|index| answer(index, question.name(), question.query_type()));
    let mut reply = empty_reply(query, ResponseCode::NoError);
    reply.metadata.authoritative = true;
    match found {
        Answer::NotOurs => return forward(shared, query, whole).await,
        Answer::NoSuchName(soa) => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(*soa);
        }
        Answer::NoData(soa) => {
            reply.add_authority(*soa);
        }
        Answer::Records { answers, additionals } => {
            reply.add_answers(answers);
            reply.add_additionals(additionals);
        }
        Answer::Alias { record, target } => {
            reply.add_answer(*record);
            reply.add_answers(chase(shared, question, target, whole).await);
        }
    }
    reply
}

async fn forward(shared: &Shared, query: &Message, whole: bool) -> Message {
    match shared.upstream.ask(query, whole).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(target: "dns", error = %error, "upstream did not answer");
            empty_reply(query, ResponseCode::ServFail)
        }
    }
}

/// What an alias leads to: stub resolvers in pods don't ask again. Aliases of our own are followed a few steps.
async fn chase(shared: &Shared, question: &Query, mut target: Name, whole: bool) -> Vec<hickory_proto::rr::Record> {
    let mut records = Vec::new();
    for _ in 0..8 {
        match shared.zone.read(|index| answer(index, &target, question.query_type())) {
            Answer::Alias { record, target: next } => {
                records.push(*record);
                target = next;
            }
            Answer::Records { answers, .. } => {
                records.extend(answers);
                break;
            }
            Answer::NotOurs => {
                let mut query = Message::query();
                query.metadata.recursion_desired = true;
                query.add_query(Query::query(target, question.query_type()));
                records.extend(shared.upstream.ask(&query, whole).await.map(|m| m.answers).unwrap_or_default());
                break;
            }
            Answer::NoSuchName(_) | Answer::NoData(_) => break,
        }
    }
    records
}
