//! Where mail goes when DNS and addresses are strange (ASSURANCE 2.9, I12).

use crate::world::{World, milliseconds};
use dns::{Configuration, HickoryResolver, ScriptedResolver};
use std::{net::SocketAddr, sync::Arc};
use store::PgPool;
use testkit::{
    Sink,
    dns::{Fault, Server},
    sink::{Behaviour, Reply},
};

/// Another host with the same port.
async fn neighbour(sink: &Sink, last: u8) -> Sink {
    Sink::on(SocketAddr::from(([127, 0, 0, last], sink.address.port())), Behaviour::default()).await
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_that_takes_no_mail_fails_at_once_with_its_own_code_and_nobody_is_dialled(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |_| {}).await;
    world.dns.mx("null.test", &[(0, "")]).a("null.test", &["127.0.0.1"]);
    world.dns.mx("literal.test", &[(10, "127.0.0.1")]).a("literal.test", &["127.0.0.1"]);
    world
        .dns
        .mx("dangling.test", &[(10, "gone.dangling.test")])
        .a("dangling.test", &["127.0.0.1"]);
    world.dns.mx("us.test", &[(10, crate::world::HOSTNAME), (20, "backup.us.test")]);
    world.dns.a("backup.us.test", &["127.0.0.1"]);
    let _worker = world.start();
    for (recipient, code) in [
        ("a@nowhere.test", "5.1.2"),  // N01
        ("a@null.test", "5.1.10"),    // N03
        ("a@dangling.test", "5.4.4"), // N04: MX without addresses never falls back to the domain's own
        ("a@literal.test", "5.4.4"),  // N06
        ("a@us.test", "5.4.6"),       // N10: ourselves, and everybody we are preferred to
    ] {
        let message = world.send(&[recipient]).await;
        world.until(message, &[&format!("{recipient} failed {code} 1")]).await;
        assert!(world.events(message).await.contains(&"message.failed".to_owned()));
    }
    assert_eq!(sink.connections(), 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn strange_but_working_records_lead_to_a_server(pool: PgPool) {
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.connect_timeout = milliseconds(500);
    })
    .await;
    let here = "127.0.0.1";
    world.dns.mx("mixed.test", &[(0, ""), (10, "mx.test")]).a("mx.test", &[here]); // N03
    world.dns.a("plain.test", &[here]); // N04
    world.dns.mx("cname-mx.test", &[(10, "alias.test")]).cname("alias.test", "mx.test"); // N05
    world.dns.cname("cname.test", "mixed.test"); // N05
    world.dns.mx("next.test", &[(5, "nowhere.next.test"), (10, "mx.test")]); // N07
    world
        .dns
        .mx("both.test", &[(10, "both.mx.test")])
        .aaaa("both.mx.test", &["2001:db8::1"])
        .a("both.mx.test", &[here]); // N09
    world
        .dns
        .mx("refused.test", &[(5, "refuses.test"), (10, "mx.test")])
        .a("refuses.test", &["127.0.0.99"]); // N13
    let _worker = world.start();
    for name in ["mixed", "plain", "cname-mx", "cname", "next", "both", "refused"] {
        let recipient = format!("a@{name}.test");
        let message = world.send(&[&recipient]).await;
        world.until(message, &[&format!("{recipient} delivered 2.0.0 1")]).await;
    }
    assert_eq!(sink.messages().len(), 7);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_ipv6_address_that_does_not_answer_costs_a_moment_and_ipv4_is_tried(pool: PgPool) {
    // N09: the IPv6 address may be dialled here, and nobody is there
    let sink = Sink::start().await;
    let world = World::new(pool, sink.address.port(), |config| {
        config.delivery.connect_timeout = milliseconds(300);
        config.delivery.allow_networks.push("2001:db8::/32".parse().unwrap());
    })
    .await;
    world
        .dns
        .mx("both.test", &[(10, "mx.both.test")])
        .aaaa("mx.both.test", &["2001:db8::1", "2001:db8::2"]);
    world.dns.a("mx.both.test", &["127.0.0.1"]);
    let _worker = world.start();
    let message = world.send(&["a@both.test"]).await;
    world.until(message, &["a@both.test delivered 2.0.0 1"]).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn dns_trouble_defers_and_never_bounces_and_mail_goes_out_when_dns_comes_back(pool: PgPool) {
    // N02, N18
    let sink = Sink::start().await;
    let server = Server::start().await;
    let address = server.address;
    let resolver = HickoryResolver::new(&Configuration {
        servers: vec![address],
        timeout: milliseconds(150),
        retries: 1,
    })
    .unwrap();
    let world = World::with_resolver(pool, sink.address.port(), ScriptedResolver::new(), Arc::new(resolver), |config| {
        config.delivery.retry_schedule = vec![milliseconds(300)];
    })
    .await;
    let faults = [
        Fault::ServFail,
        Fault::Refused,
        Fault::Mute,
        Fault::TruncatedWithoutTcp,
        Fault::Referral,
    ];
    let domains: Vec<String> = (0..faults.len()).map(|number| format!("d{number}.test")).collect();
    for (domain, fault) in domains.iter().zip(faults) {
        server.set(domain, "MX", &["10 mx.test"]).fault(domain, fault);
    }
    server.set("mx.test", "A", &["127.0.0.1"]);
    let _worker = world.start();
    let mut messages = Vec::new();
    for domain in &domains {
        messages.push(world.send(&[&format!("a@{domain}")]).await);
    }
    for (message, domain) in messages.iter().zip(&domains) {
        testkit::eventually("a deferral", || async {
            let found = world.deliveries(*message).await.remove(0);
            assert!(!found.contains("failed") && !found.contains("bounced"), "{found}");
            found.starts_with(&format!("a@{domain} deferred 4.4.3")).then_some(())
        })
        .await;
    }
    assert_eq!(sink.connections(), 0);
    drop(server); // gone altogether, and back
    testkit::eventually("the name server's end", || async {
        let listener = tokio::net::TcpListener::bind(address).await.ok()?;
        let socket = tokio::net::UdpSocket::bind(address).await.ok()?;
        drop((listener, socket));
        Some(())
    })
    .await;
    let server = Server::start_on(address).await;
    for domain in &domains {
        server.set(domain, "MX", &["10 mx.test"]);
    }
    server.set("mx.test", "A", &["127.0.0.1"]);
    sink.wait(faults.len()).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_endless_chain_of_cnames_is_deferred(pool: PgPool) {
    // N05
    let world = World::new(pool, 1, |_| {}).await;
    world
        .dns
        .mx("loop.test", &[(10, "x.test")])
        .cname("x.test", "y.test")
        .cname("y.test", "x.test");
    let _worker = world.start();
    let message = world.send(&["a@loop.test"]).await;
    world.until(message, &["a@loop.test deferred 4.4.3 1"]).await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn of_two_hundred_exchangers_five_addresses_are_tried(pool: PgPool) {
    // N08
    let world = World::new(pool, 9, |_| {}).await;
    let hosts: Vec<(u16, String)> = (0..200).map(|number| (10, format!("mx{number}.many.test"))).collect();
    let records: Vec<(u16, &str)> = hosts.iter().map(|(preference, host)| (*preference, host.as_str())).collect();
    world.dns.mx("many.test", &records);
    for (number, (_, host)) in hosts.iter().enumerate() {
        world.dns.a(host, &[&format!("127.0.3.{number}"), &format!("127.0.4.{number}")]);
    }
    let _worker = world.start();
    let message = world.send(&["a@many.test"]).await;
    world.until(message, &["a@many.test deferred 4.4.1 1"]).await;
    let transcript = world.transcript(message).await;
    assert_eq!(
        transcript.lines().filter(|line| line.starts_with("-- mx")).count(),
        5,
        "{transcript}"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn exchangers_of_equal_preference_share_the_load(pool: PgPool) {
    // N08: each connection draws anew; forty draws of one side have a chance of two to the minus thirty-nine
    let first = Sink::start().await;
    let second = neighbour(&first, 2).await;
    let world = World::new(pool, first.address.port(), |config| config.delivery.messages_per_connection = 1).await;
    world.dns.mx("pair.test", &[(10, "one.test"), (10, "two.test")]);
    world.dns.a("one.test", &["127.0.0.1"]).a("two.test", &["127.0.0.2"]);
    let _worker = world.start();
    for number in 0..40 {
        world.send(&[&format!("a{number}@pair.test")]).await;
    }
    world
        .until_number("select count(*) from delivery where status = 'delivered'", 40)
        .await;
    assert!(first.connections() > 0 && second.connections() > 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn exchangers_less_preferred_than_ourselves_are_never_dialled(pool: PgPool) {
    // N10
    let backup = Sink::start().await;
    let world = World::new(pool, backup.address.port(), |_| {}).await;
    world.dns.mx(
        "d.test",
        &[(10, "first.d.test"), (20, crate::world::HOSTNAME), (30, "backup.d.test")],
    );
    world.dns.a("first.d.test", &["127.0.0.98"]).a("backup.d.test", &["127.0.0.1"]);
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test deferred 4.4.1 1"]).await;
    assert_eq!(backup.connections(), 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_destination_whose_address_is_ours_fails_without_a_connection(pool: PgPool) {
    // L03
    let ours = Sink::start().await;
    let world = World::new(pool, ours.address.port(), |config| config.smtp.listen = vec![ours.address]).await;
    world.serve("d.test", ours.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test failed 5.4.6 1"]).await;
    assert_eq!(ours.connections(), 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn private_addresses_are_never_dialled_on_behalf_of_a_stranger(pool: PgPool) {
    // I12
    let inside = Sink::start().await;
    let world = World::new(pool, inside.address.port(), |config| config.delivery.allow_networks.clear()).await;
    world.serve("loopback.test", "127.0.0.1".parse().unwrap());
    world.dns.a("postgres", &["10.0.0.5"]).a("metadata.test", &["169.254.169.254"]);
    world
        .dns
        .mx("mapped.test", &[(10, "six.test")])
        .aaaa("six.test", &["::ffff:127.0.0.1", "::1"]);
    let _worker = world.start();
    for recipient in [
        "a@loopback.test",
        "a@postgres",
        "a@metadata.test",
        "a@mapped.test",
        "a@[127.0.0.1]",
        "a@[IPv6:::1]",
    ] {
        let message = world.send(&[recipient]).await;
        testkit::eventually("a failure", || async {
            let found = world.deliveries(message).await.remove(0);
            found.ends_with(" failed 5.4.4 1").then_some(())
        })
        .await;
    }
    assert_eq!(inside.connections(), 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_greeting_in_another_protocol_is_no_success(pool: PgPool) {
    // I12, S09
    let ssh = Sink::behaving(Behaviour::scripted(|moment| match moment.verb {
        "CONNECT" => Reply::Line("SSH-2.0-OpenSSH_9.2".into()),
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, ssh.address.port(), |_| {}).await;
    world.serve("d.test", ssh.address.ip());
    let _worker = world.start();
    let message = world.send(&["a@d.test"]).await;
    world.until(message, &["a@d.test deferred 4.5.0 1"]).await;
    assert!(ssh.messages().is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_host_that_takes_no_mail_does_not_condemn_what_another_host_could_take_later(pool: PgPool) {
    // RFC 7504 §3: 521 is about one host; the other one was only out of reach
    let refusing = Sink::behaving(Behaviour::scripted(|moment| match moment.verb {
        "CONNECT" => Reply::Line("521 no mail here".into()),
        _ => Reply::Usual,
    }))
    .await;
    let world = World::new(pool, refusing.address.port(), |_| {}).await;
    world.dns.mx("two.test", &[(10, "down.test"), (20, "none.test")]);
    world.dns.a("down.test", &["127.0.0.97"]).a("none.test", &["127.0.0.1"]);
    world.serve("one.test", refusing.address.ip());
    let _worker = world.start();
    let two = world.send(&["a@two.test"]).await;
    world.until(two, &["a@two.test deferred 4.4.1 1"]).await;
    let one = world.send(&["a@one.test"]).await;
    testkit::eventually("a failure", || async {
        world.deliveries(one).await[0].starts_with("a@one.test failed 5.").then_some(())
    })
    .await;
}
