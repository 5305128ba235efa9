//! The real resolver against a server in this process that misbehaves.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use dns::{Configuration, HickoryResolver, Kind, LookupError, Mx, Name, Resolver, RouteError, route};
use std::{net::SocketAddr, time::Duration};
use testkit::dns::{Fault, Server};

fn resolver_of(servers: &[SocketAddr]) -> HickoryResolver {
    let configuration = Configuration {
        servers: servers.to_vec(),
        timeout: Duration::from_millis(300),
        retries: 1,
    };
    HickoryResolver::new(&configuration).unwrap()
}

async fn world() -> (Server, HickoryResolver) {
    let server = Server::start().await;
    let resolver = resolver_of(&[server.address]);
    (server, resolver)
}

#[tokio::test]
async fn every_kind_of_record_is_read() {
    let (server, dns) = world().await;
    let long = "v=DKIM1; p=".to_owned() + &"A".repeat(400);
    server
        .set("d.test", "MX", &["10 MX.d.test", "0 ."])
        .set("mx.d.test", "A", &["192.0.2.1", "192.0.2.2"])
        .set("mx.d.test", "AAAA", &["2001:db8::1"])
        .set("s._domainkey.d.test", "TXT", &[&long, "other"])
        .set("www.d.test", "CNAME", &["mx.d.test"])
        .set("1.2.0.192.in-addr.arpa", "PTR", &["mx.d.test"]);
    let mx = dns.mx("D.Test.").await.unwrap();
    assert_eq!(mx.records.len(), 2);
    assert!(
        mx.records.contains(&Mx {
            preference: 0,
            exchange: String::new()
        }),
        "a null MX is visible"
    );
    assert!(mx.records.contains(&Mx {
        preference: 10,
        exchange: "mx.d.test".into()
    }));
    assert_eq!(mx.ttl, Duration::from_secs(60));
    assert_eq!(dns.a("mx.d.test").await.unwrap().records.len(), 2);
    assert_eq!(dns.aaaa("mx.d.test").await.unwrap().records.len(), 1);
    assert!(
        dns.txt("s._domainkey.d.test").await.unwrap().records.contains(&long),
        "strings of one record are joined"
    );
    assert_eq!(dns.cname("www.d.test").await.unwrap().records, ["mx.d.test"]);
    assert_eq!(dns.a("www.d.test").await.unwrap().records.len(), 2, "a CNAME is followed");
    assert_eq!(dns.ptr("192.0.2.1".parse().unwrap()).await.unwrap().records, ["mx.d.test"]);
}

#[tokio::test]
async fn only_a_clear_no_is_a_no() {
    // N01, N02
    let (server, dns) = world().await;
    server
        .set("d.test", "A", &["192.0.2.1"])
        .set("dangling.test", "CNAME", &["gone.example"]);
    assert_eq!(dns.mx("d.test").await, Err(LookupError::NotFound { nx: false }));
    assert_eq!(dns.mx("no.such.name.example").await, Err(LookupError::NotFound { nx: true }));
    assert_eq!(dns.a("dangling.test").await, Err(LookupError::NotFound { nx: true }));
    for fault in [
        Fault::ServFail,
        Fault::Refused,
        Fault::Mute,
        Fault::TruncatedWithoutTcp,
        Fault::Referral,
    ] {
        server.fault("d.test", fault);
        let answer = dns.a("d.test").await;
        assert!(matches!(answer, Err(LookupError::Temporary(_))), "{fault:?}: {answer:?}");
    }
    server.fault("d.test", None);
    assert_eq!(dns.a("d.test").await.unwrap().records.len(), 1, "failures are not remembered");
}

#[tokio::test]
async fn truncated_spoofed_and_mangled_answers_do_not_win() {
    // N12
    let (server, dns) = world().await;
    for fault in [Fault::Truncated, Fault::SpoofedId, Fault::WrongCase] {
        let name = format!("{fault:?}.a-long-name-with-many-letters.test").to_ascii_lowercase();
        server.set(&name, "A", &["192.0.2.1"]).fault(&name, fault);
        let records = dns.a(&name).await.unwrap().records;
        assert_eq!(records, ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()], "{fault:?}");
    }
}

#[tokio::test]
async fn impossible_names_are_never_asked() {
    let (server, dns) = world().await;
    for name in ["a\0b.test", "a b.test", "a\r\nb.test", "", ".", "127.0.0.1"] {
        assert!(matches!(dns.mx(name).await, Err(LookupError::InvalidName(_))), "{name:?}");
    }
    assert_eq!(server.times_asked(""), 0);
}

#[tokio::test]
async fn answers_are_kept_as_long_as_they_say_and_fresh_asks_again() {
    // N11
    let (server, dns) = world().await;
    server.set("d.test", "A", &["192.0.2.1"]);
    for _ in 0..3 {
        dns.a("d.test").await.unwrap();
    }
    assert_eq!(server.times_asked("d.test"), 1);
    server.set("d.test", "A", &["192.0.2.2"]);
    assert_eq!(
        dns.fresh().a("d.test").await.unwrap().records,
        ["192.0.2.2".parse::<std::net::Ipv4Addr>().unwrap()]
    );
    assert_eq!(
        dns.a("d.test").await.unwrap().records,
        ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]
    );

    server
        .set_with_ttl("zero.test", "A", &["192.0.2.1"], 0)
        .set_with_ttl("huge.test", "A", &["192.0.2.1"], 0x7fff_ffff);
    for _ in 0..3 {
        dns.a("zero.test").await.unwrap();
    }
    assert_eq!(server.times_asked("zero.test"), 3);
    assert_eq!(dns.a("huge.test").await.unwrap().ttl, Duration::from_secs(3600));

    for (negative_ttl, asked) in [(0, 2), (60, 3)] {
        server.negative_ttl(negative_ttl);
        for _ in 0..2 {
            assert!(dns.a("absent.example").await.is_err());
        }
        assert_eq!(server.times_asked("absent.example"), asked);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    // N18
    let (server, dns) = world().await;
    let address = server.address;
    drop(server);
    tokio::task::yield_now().await;
    assert!(matches!(dns.a("d.test").await, Err(LookupError::Temporary(_))));
    let server = testkit::eventually("the port", || async { tokio::net::TcpListener::bind(address).await.ok() }).await;
    drop(server);
    let server = Server::start_on(address).await;
    server.set("d.test", "A", &["192.0.2.1"]);
    testkit::eventually("an answer", || async { dns.a("d.test").await.ok() }).await;
}

#[tokio::test]
async fn a_second_server_helps_when_the_first_is_gone() {
    let server = Server::start().await;
    server.set("d.test", "A", &["192.0.2.1"]);
    let gone = Server::start().await.address;
    assert_eq!(resolver_of(&[gone, server.address]).a("d.test").await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn routes_are_worked_out_over_the_wire() {
    // N03, N05
    let (server, dns) = world().await;
    server
        .set("d.test", "MX", &["20 b.test", "10 a.test"])
        .set("a.test", "A", &["192.0.2.1"])
        .set("b.test", "AAAA", &["2001:db8::2"])
        .set("null.test", "MX", &["0 ."])
        .set("alias.test", "CNAME", &["d.test"])
        .set("loop.test", "CNAME", &["pool.test"])
        .set("pool.test", "CNAME", &["loop.test"]);
    for name in ["d.test", "alias.test"] {
        let targets = route(&dns, name, &[], 1).await.unwrap();
        let hosts: Vec<&str> = targets.iter().map(|target| target.host.as_str()).collect();
        assert_eq!(hosts, ["a.test", "b.test"], "{name}");
    }
    assert_eq!(route(&dns, "null.test", &[], 1).await, Err(RouteError::NullMx));
    assert_eq!(route(&dns, "absent.example", &[], 1).await, Err(RouteError::NoSuchDomain));
    let looped = route(&dns, "loop.test", &[], 1).await;
    assert!(matches!(looped, Err(RouteError::Temporary(_))), "{looped:?}");
}

#[tokio::test]
async fn a_silent_server_costs_a_bounded_time() {
    let (server, dns) = world().await;
    server.fault("mute.test", Fault::Mute);
    let before = std::time::Instant::now();
    let answer = dns.lookup(&Name::parse("mute.test").unwrap(), Kind::Mx).await;
    assert!(matches!(answer, Err(LookupError::Temporary(_))));
    assert!(before.elapsed() < dns::TOTAL_TIMEOUT + Duration::from_secs(1));
}
