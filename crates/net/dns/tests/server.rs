//! A server on loopback, asked over UDP and TCP; a second one plays the upstream.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use skiff_dns::{DnsService, DnsSlice, Server, ServerConfig, Zone, upstreams_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

fn service(json: &str) -> DnsService {
    DnsService::from_json(json.as_bytes()).unwrap()
}

fn zone() -> Zone {
    let zone = Zone::new("cluster.local").unwrap();
    zone.set_service(service(
        r#"{"metadata":{"namespace":"prod","name":"web"},"spec":{"type":"ClusterIP","clusterIPs":["10.43.0.5","fd43::5"],
            "ports":[{"name":"http","port":80},{"name":"dns","protocol":"UDP","port":53}]}}"#,
    ));
    zone.set_service(service(r#"{"metadata":{"namespace":"prod","name":"db"},"spec":{"clusterIP":"None","ports":[{"name":"pg","port":5432}]}}"#));
    zone.set_service(service(r#"{"metadata":{"namespace":"prod","name":"ext"},"spec":{"type":"ExternalName","externalName":"www.example.test"}}"#));
    let slice = r#"{"metadata":{"namespace":"prod","name":"db-x","labels":{"kubernetes.io/service-name":"db"}},
        "ports":[{"name":"pg","port":5432}],"endpoints":[
        {"addresses":["10.42.0.7"],"hostname":"db-0","conditions":{"ready":true}},
        {"addresses":["10.42.0.8"],"conditions":{}},
        {"addresses":["10.42.0.9"],"conditions":{"ready":false}}]}"#;
    zone.set_slice(DnsSlice::from_json(slice.as_bytes()).unwrap().unwrap());
    zone
}

async fn start(zone: Zone, upstreams: Vec<SocketAddr>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server = Server::bind(zone, ServerConfig { listen, upstreams }).await.unwrap();
    (server.addresses()[0], tokio::spawn(server.run()))
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let question = query(name, kind);
    socket.send_to(&question.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    answer
}

async fn ask_tcp(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let bytes = query(name, kind).to_vec().unwrap();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The code, the answers' data sorted, and whether an SOA is in the authority section.
fn told(message: &Message) -> String {
    let mut data: Vec<String> = message.answers.iter().map(|r| r.data.to_string()).collect();
    data.sort();
    let soa = message.authorities.iter().any(|r| r.record_type() == RecordType::SOA);
    format!("{:?} {data:?}{}", message.metadata.response_code, if soa { " soa" } else { "" })
}

#[tokio::test]
async fn the_zone_is_answered_as_the_specification_says() {
    use RecordType::{A, AAAA, PTR, SRV, TXT};
    let (server, task) = start(zone(), vec![]).await;
    let cases = [
        ("web.prod.svc.cluster.local.", A, r#"NoError ["10.43.0.5"]"#),
        ("WEB.prod.svc.Cluster.Local.", AAAA, r#"NoError ["fd43::5"]"#),
        ("web.prod.svc.cluster.local.", TXT, "NoError [] soa"),
        ("db.prod.svc.cluster.local.", A, r#"NoError ["10.42.0.7", "10.42.0.8"]"#),
        ("db.prod.svc.cluster.local.", AAAA, "NoError [] soa"),
        ("db-0.db.prod.svc.cluster.local.", A, r#"NoError ["10.42.0.7"]"#),
        ("10-42-0-8.db.prod.svc.cluster.local.", A, r#"NoError ["10.42.0.8"]"#),
        ("10-42-0-9.db.prod.svc.cluster.local.", A, "NXDomain [] soa"),
        ("nope.prod.svc.cluster.local.", A, "NXDomain [] soa"),
        ("prod.svc.cluster.local.", A, "NoError [] soa"),
        ("none.svc.cluster.local.", A, "NXDomain [] soa"),
        ("svc.cluster.local.", A, "NoError [] soa"),
        ("www.example.test.prod.svc.cluster.local.", A, "NXDomain [] soa"),
        ("_http._tcp.web.prod.svc.cluster.local.", SRV, r#"NoError ["0 100 80 web.prod.svc.cluster.local."]"#),
        ("_http._udp.web.prod.svc.cluster.local.", SRV, "NXDomain [] soa"),
        (
            "_pg._tcp.db.prod.svc.cluster.local.",
            SRV,
            r#"NoError ["0 50 5432 10-42-0-8.db.prod.svc.cluster.local.", "0 50 5432 db-0.db.prod.svc.cluster.local."]"#,
        ),
        ("10-42-0-7.prod.pod.cluster.local.", A, r#"NoError ["10.42.0.7"]"#),
        ("dns-version.cluster.local.", TXT, r#"NoError ["1.1.0"]"#),
        ("5.0.43.10.in-addr.arpa.", PTR, r#"NoError ["web.prod.svc.cluster.local."]"#),
        ("7.0.42.10.in-addr.arpa.", PTR, r#"NoError ["db-0.db.prod.svc.cluster.local."]"#),
        ("elsewhere.test.", A, "ServFail []"),
    ];
    for (name, kind, expected) in cases {
        assert_eq!(told(&ask(server, name, kind).await), expected, "{name} {kind}");
        assert_eq!(told(&ask_tcp(server, name, kind).await), expected, "{name} {kind} over TCP");
    }
    task.abort();
}

#[tokio::test]
async fn changes_show_and_leave_nothing_behind() {
    let zone = zone();
    let (server, task) = start(zone.clone(), vec![]).await;
    zone.remove_slice("prod", "db", "db-x");
    assert_eq!(told(&ask(server, "db.prod.svc.cluster.local.", RecordType::A).await), "NXDomain [] soa");
    assert_eq!(told(&ask(server, "7.0.42.10.in-addr.arpa.", RecordType::PTR).await), "ServFail []");
    for name in ["web", "db", "ext"] {
        zone.remove_service("prod", name);
    }
    assert_eq!(told(&ask(server, "prod.svc.cluster.local.", RecordType::A).await), "NXDomain [] soa");
    task.abort();
}

#[tokio::test]
async fn other_names_are_forwarded_and_external_names_followed() {
    let other = Zone::new("example.test").unwrap();
    other.set_service(service(r#"{"metadata":{"namespace":"a","name":"b"},"spec":{"clusterIP":"192.0.2.1"}}"#));
    let (upstream, upstream_task) = start(other, vec![]).await;
    let ours = zone();
    ours.set_service(service(r#"{"metadata":{"namespace":"prod","name":"ext"},"spec":{"type":"ExternalName","externalName":"b.a.svc.example.test"}}"#));
    let (server, task) = start(ours, vec![upstream]).await;
    assert_eq!(told(&ask(server, "b.a.svc.example.test.", RecordType::A).await), r#"NoError ["192.0.2.1"]"#);
    assert_eq!(told(&ask(server, "x.a.svc.example.test.", RecordType::A).await), "NXDomain [] soa");
    let alias = ask(server, "ext.prod.svc.cluster.local.", RecordType::A).await;
    assert_eq!(told(&alias), r#"NoError ["192.0.2.1", "b.a.svc.example.test."]"#);
    // Remembered: the upstream is gone, the answer is not.
    upstream_task.abort();
    let _ = upstream_task.await;
    assert_eq!(told(&ask(server, "b.a.svc.example.test.", RecordType::A).await), r#"NoError ["192.0.2.1"]"#);
    task.abort();
}

#[tokio::test]
async fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let zone = Zone::new("cluster.local").unwrap();
    zone.set_service(service(r#"{"metadata":{"namespace":"n","name":"s"},"spec":{"clusterIP":"None"}}"#));
    let endpoints: Vec<String> = (0..200).map(|i| format!(r#"{{"addresses":["10.42.1.{i}"]}}"#)).collect();
    let slice =
        format!(r#"{{"metadata":{{"namespace":"n","name":"s-1","labels":{{"kubernetes.io/service-name":"s"}}}},"endpoints":[{}]}}"#, endpoints.join(","));
    zone.set_slice(DnsSlice::from_json(slice.as_bytes()).unwrap().unwrap());
    let (server, task) = start(zone, vec![]).await;
    assert!(ask(server, "s.n.svc.cluster.local.", RecordType::A).await.metadata.truncation);
    assert_eq!(ask_tcp(server, "s.n.svc.cluster.local.", RecordType::A).await.answers.len(), 200);
    task.abort();
}

#[test]
fn own_addresses_are_no_upstreams() {
    let own: IpAddr = "10.43.0.10".parse().unwrap();
    let text = "# comment\nsearch a.b\nnameserver 10.43.0.10\nnameserver 192.0.2.53\nnameserver bad\n";
    assert_eq!(upstreams_of(text, &[own]), ["192.0.2.53:53".parse().unwrap()]);
}
