//! Names that are not ours: asked of the node's upstream servers, remembered for a moment.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_TTL: u32 = 30;
const CACHED: usize = 1024;

type Question = (Name, RecordType, bool);

/// The servers of a resolv.conf, without `own` addresses: asking ourselves would go round for ever.
pub fn upstreams_of(resolv_conf: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    servers.filter(|ip| !own.contains(ip)).map(|ip| SocketAddr::new(ip, 53)).take(3).collect()
}

pub(crate) struct Upstream {
    servers: Vec<SocketAddr>,
    cache: Mutex<HashMap<Question, (Instant, Message)>>,
}

impl Upstream {
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, cache: Mutex::new(HashMap::new()) }
    }

    /// The answer to the query, with the query's id. `whole`: over TCP, so that nothing is cut off.
    pub(crate) async fn ask(&self, query: &Message, whole: bool) -> io::Result<Message> {
        let question = question_of(query);
        if let Some(hit) = question.as_ref().and_then(|q| self.cached(q, query.metadata.id)) {
            return Ok(hit);
        }
        let mut sent = query.clone();
        sent.metadata.id = rand::random();
        let bytes = sent.to_vec().map_err(io::Error::other)?;
        let mut last = io::Error::other("there is no upstream server");
        for server in &self.servers {
            let asked = async { if whole { over_tcp(*server, &bytes).await } else { over_udp(*server, &bytes).await } };
            match timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(answer) if answer.metadata.id == sent.metadata.id && answer.queries == sent.queries => {
                    return Ok(self.remember(question, answer, query.metadata.id));
                }
                Ok(_) => last = io::Error::other("the answer is to another question"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn cached(&self, question: &Question, id: u16) -> Option<Message> {
        let cache = self.cache.lock();
        let (since, message) = cache.get(question)?;
        let age = since.elapsed().as_secs() as u32;
        let fresh = message.answers.iter().chain(&message.authorities).map(|r| r.ttl).min()?.min(MAX_TTL);
        let mut answer = (age < fresh).then(|| message.clone())?;
        for record in answer.answers.iter_mut().chain(&mut answer.authorities).chain(&mut answer.additionals) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        answer.metadata.id = id;
        Some(answer)
    }

    fn remember(&self, question: Option<Question>, mut answer: Message, id: u16) -> Message {
        let good = matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if let Some(question) = question.filter(|_| good && !answer.metadata.truncation) {
            let mut cache = self.cache.lock();
            if cache.len() >= CACHED {
                cache.retain(|_, (since, _)| since.elapsed().as_secs() < u64::from(MAX_TTL));
            }
            if cache.len() < CACHED {
                cache.insert(question, (Instant::now(), answer.clone()));
            }
        }
        answer.metadata.id = id;
        answer
    }
}

fn question_of(query: &Message) -> Option<Question> {
    let [one] = query.queries.as_slice() else { return None };
    let dnssec = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    Some((one.name().to_lowercase(), one.query_type(), dnssec))
}

/// A socket for each question: its random port is half of what an attacker has to guess.
async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() { [0u8; 4].into() } else { [0u8; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).await?;
    Message::from_vec(buffer.get(..length).unwrap_or(&[])).map_err(io::Error::other)
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}
