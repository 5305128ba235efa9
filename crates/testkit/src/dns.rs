//! A DNS server in this process, on UDP and TCP, that can misbehave.

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT},
    },
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// How a name is answered, instead of rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// Not at all.
    Mute,
    /// Truncated over UDP; right over TCP.
    Truncated,
    /// Truncated over UDP; the TCP connection is closed.
    TruncatedWithoutTcp,
    /// A spoofed answer with another id comes first, then the right one.
    SpoofedId,
    /// The answer repeats the question in lower case, over UDP.
    WrongCase,
    /// No records, only a referral to other servers.
    Referral,
}

#[derive(Debug, Default)]
struct Zone {
    records: HashMap<(String, RecordType), (u32, Vec<RData>)>,
    faults: HashMap<String, Fault>,
    asked: Vec<(String, RecordType)>,
    negative_ttl: u32,
}

/// Stops when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// On a free port.
    pub async fn start() -> Self {
        for _ in 0..100 {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = udp.local_addr().unwrap();
            if let Ok(tcp) = TcpListener::bind(address).await {
                return Self::on(udp, tcp, address);
            }
        }
        panic!("no port is free for both UDP and TCP");
    }

    /// On a given port: a server that comes back.
    pub async fn start_on(address: SocketAddr) -> Self {
        Self::on(
            UdpSocket::bind(address).await.unwrap(),
            TcpListener::bind(address).await.unwrap(),
            address,
        )
    }

    fn on(udp: UdpSocket, tcp: TcpListener, address: SocketAddr) -> Self {
        let zone = Arc::new(Mutex::new(Zone::default()));
        let tasks = [
            tokio::spawn(serve_udp(udp, Arc::clone(&zone))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&zone))),
        ];
        Self { address, zone, tasks }
    }

    /// Sets IPv4 (`A`), IPv6 (`AAAA`), `MX` (`"10 mx.test"`, `"0 ."`), `TXT`, `CNAME` or `PTR` records, kept for 60 seconds by who asks.
    pub fn set(&self, name: &str, kind: &str, values: &[&str]) -> &Self {
        self.set_with_ttl(name, kind, values, 60)
    }

    /// As [`Server::set`], with another TTL.
    ///
    /// # Panics
    /// When a value cannot be read.
    pub fn set_with_ttl(&self, name: &str, kind: &str, values: &[&str], ttl: u32) -> &Self {
        let kind = record_type(kind);
        let data = values.iter().map(|value| data(kind, value)).collect();
        self.zone().records.insert((name.to_ascii_lowercase(), kind), (ttl, data));
        self
    }

    /// Removes everything known of a name.
    pub fn remove(&self, name: &str) -> &Self {
        self.zone().records.retain(|(known, _), _| known != name);
        self
    }

    /// Misbehaves for a name from now on, or stops to.
    pub fn fault(&self, name: &str, fault: impl Into<Option<Fault>>) -> &Self {
        match fault.into() {
            Some(fault) => self.zone().faults.insert(name.to_owned(), fault),
            None => self.zone().faults.remove(name),
        };
        self
    }

    /// How long the absence of records may be kept; zero at first.
    pub fn negative_ttl(&self, seconds: u32) -> &Self {
        self.zone().negative_ttl = seconds;
        self
    }

    /// How often a name was asked for, in lower case.
    #[must_use]
    pub fn times_asked(&self, name: &str) -> usize {
        self.zone().asked.iter().filter(|(asked, _)| asked == name).count()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let answers = { answers(&mut zone.lock().unwrap(), &query, true) };
        for answer in answers {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(talk(stream, Arc::clone(&zone)));
    }
}

async fn talk(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Ok(query) = Message::from_vec(&query) else { return };
        let answers = { answers(&mut zone.lock().unwrap(), &query, false) };
        if answers.is_empty() {
            return;
        }
        for answer in answers {
            let length = u16::try_from(answer.len()).unwrap();
            if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn answers(zone: &mut Zone, query: &Message, udp: bool) -> Vec<Vec<u8>> {
    let Some(question) = query.queries.first().cloned() else {
        return Vec::new();
    };
    let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    zone.asked.push((name.clone(), question.query_type()));

    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    let fault = zone.faults.get(&name).copied();
    match fault {
        Some(Fault::WrongCase) if udp => {
            let mut lower = question.clone();
            lower.set_name(question.name().to_lowercase());
            answer.add_query(lower);
        }
        _ => {
            answer.add_query(question.clone());
        }
    }
    match fault {
        Some(Fault::Mute) => return Vec::new(),
        Some(Fault::TruncatedWithoutTcp) if !udp => return Vec::new(),
        Some(Fault::Truncated | Fault::TruncatedWithoutTcp) if udp => answer.metadata.truncation = true,
        Some(Fault::ServFail) => answer.metadata.response_code = ResponseCode::ServFail,
        Some(Fault::Refused) => answer.metadata.response_code = ResponseCode::Refused,
        Some(Fault::Referral) => {
            let ns = RData::NS(hickory_resolver::proto::rr::rdata::NS(
                Name::from_ascii("ns.elsewhere.test.").unwrap(),
            ));
            answer.add_authority(Record::from_rdata(question.name().clone(), 60, ns));
        }
        _ => fill(zone, &mut answer, question.name(), question.query_type()),
    }
    let mut wire = vec![answer.to_vec().unwrap()];
    if fault == Some(Fault::SpoofedId) {
        let mut spoofed = answer.clone();
        spoofed.metadata.id = !query.metadata.id;
        spoofed.answers = vec![Record::from_rdata(question.name().clone(), 60, data(RecordType::A, "6.6.6.6"))];
        wire.insert(0, spoofed.to_vec().unwrap());
    }
    wire
}

/// Follows CNAMEs as a recursive server does, at most twelve.
fn fill(zone: &Zone, answer: &mut Message, asked: &Name, kind: RecordType) {
    let mut owner = asked.clone();
    for _ in 0..12 {
        let key = |kind| (owner.to_ascii().trim_end_matches('.').to_ascii_lowercase(), kind);
        if let Some((ttl, data)) = zone.records.get(&key(kind)) {
            answer.add_answers(data.iter().map(|data| Record::from_rdata(owner.clone(), *ttl, data.clone())));
            return;
        }
        let Some((ttl, data)) = zone.records.get(&key(RecordType::CNAME)) else {
            break;
        };
        answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data[0].clone()));
        if let RData::CNAME(target) = &data[0] {
            owner = target.0.clone();
        }
    }
    let text = owner.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let below = format!(".{text}");
    if !zone.records.keys().any(|(known, _)| *known == text || known.ends_with(&below)) {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    let host = |text: &str| Name::from_ascii(text).unwrap();
    let soa = SOA::new(host("ns.test."), host("hostmaster.test."), 1, 60, 60, 3600, zone.negative_ttl);
    answer.add_authority(Record::from_rdata(host("test."), zone.negative_ttl, RData::SOA(soa)));
}

fn record_type(kind: &str) -> RecordType {
    kind.parse().expect("a record type")
}

fn data(kind: RecordType, value: &str) -> RData {
    let name = |text: &str| Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).expect("a name");
    match kind {
        RecordType::A => RData::A(A(value.parse().expect("an IPv4 address"))),
        RecordType::AAAA => RData::AAAA(AAAA(value.parse().expect("an IPv6 address"))),
        RecordType::MX => {
            let (preference, host) = value.split_once(' ').expect("a preference and a host");
            RData::MX(MX::new(preference.parse().expect("a preference"), name(host)))
        }
        RecordType::TXT => {
            let parts = value
                .as_bytes()
                .chunks(255)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            RData::TXT(TXT::new(parts))
        }
        RecordType::CNAME => RData::CNAME(CNAME(name(value))),
        RecordType::PTR => RData::PTR(PTR(name(value))),
        other => panic!("{other} is not supported"),
    }
}
