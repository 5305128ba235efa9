//! SPF against the public test suite of RFC 7208 (`rfc7208.json`, made from its YAML; licence beside it), and against a name server that
//! misbehaves.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use dns::{Configuration, Data, HickoryResolver, Kind, Mx, Resolver, ScriptedResolver};
use mail::ReversePath;
use mailauth::{spf, verify::SpfResult};
use serde_json::Value;
use std::time::Duration;
use testkit::dns::{Fault, Server};

const PATIENCE: Duration = Duration::from_secs(5);

async fn check(resolver: &dyn Resolver, address: &str, helo: &str, mail_from: &str) -> SpfResult {
    let client = spf::Client {
        address: address.parse().unwrap(),
        helo,
        mail_from: &ReversePath::parse(mail_from).unwrap(),
    };
    spf::check(resolver, client, PATIENCE).await.result
}

fn kind(name: &str) -> Kind {
    match name {
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "MX" => Kind::Mx,
        "TXT" => Kind::Txt,
        "PTR" => Kind::Ptr,
        "CNAME" => Kind::Cname,
        other => panic!("{other}"),
    }
}

fn data(kind: Kind, value: &Value) -> Data {
    let text = || value.as_str().unwrap().to_owned();
    match kind {
        Kind::A | Kind::Aaaa => Data::Address(text().parse().unwrap()),
        Kind::Txt => Data::Text(text()),
        Kind::Ptr | Kind::Cname => Data::Name(text().to_ascii_lowercase()),
        Kind::Mx => Data::Mx(Mx {
            preference: value[0].as_u64().unwrap().try_into().unwrap(),
            exchange: value[1].as_str().unwrap().to_ascii_lowercase(),
        }),
    }
}

fn zone(scenario: &Value) -> ScriptedResolver {
    let resolver = ScriptedResolver::new();
    for (name, records) in scenario["zone"].as_object().unwrap() {
        for (kind_name, values) in records.as_object().unwrap() {
            let kind = kind(kind_name);
            let records = values.as_array().unwrap().iter().map(|value| data(kind, value)).collect();
            resolver.set(name, kind, records);
        }
    }
    for (name, kinds) in scenario["silent"].as_object().unwrap() {
        for kind_name in kinds.as_array().unwrap() {
            resolver.fail_kind(name, kind(kind_name.as_str().unwrap()));
        }
    }
    resolver
}

/// Names with `:` or other punctuation in them, which our resolver sends to nobody: they are taken for absent.
const UNASKED: [&str; 5] = [
    "a-colon-domain",
    "a-colon-domain-ip4mapped",
    "mx-colon-domain",
    "mx-colon-domain-ip4mapped",
    "macro-mania-in-domain",
];

#[tokio::test]
async fn the_test_suite_of_rfc_7208_passes() {
    let suite: Value = serde_json::from_str(include_str!("rfc7208.json")).unwrap();
    let (mut judged, mut wrong) = (0, Vec::new());
    for scenario in suite.as_array().unwrap() {
        let resolver = zone(scenario);
        for test in scenario["tests"].as_array().unwrap() {
            let [name, helo, host, mail_from] = ["name", "helo", "host", "mailfrom"].map(|key| test[key].as_str().unwrap());
            // What is no address is refused at MAIL FROM and never judged.
            if ReversePath::parse(mail_from).is_err() || UNASKED.contains(&name) {
                continue;
            }
            let result = check(&resolver, host, helo, mail_from).await;
            judged += 1;
            if !test["result"].as_array().unwrap().iter().any(|allowed| allowed == result.as_str()) {
                wrong.push(format!("{}/{name}: {result}, wanted {}", scenario["title"], test["result"]));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(judged > 190, "{judged}");
}

const TEN_WORDS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

#[tokio::test]
async fn mechanisms_over_a_real_name_server() {
    let server = Server::start().await;
    let text = |name: &str, text: &str| {
        server.set(name, "TXT", &[text]);
    };
    text("ip.test", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all");
    text("a.test", "v=spf1 a -all");
    server.set("a.test", "A", &["192.0.2.1"]).set("a.test", "AAAA", &["2001:db8::1"]);
    text("mx.test", "v=spf1 mx ~all");
    server.set("mx.test", "MX", &["10 a.test"]);
    text("include.test", "v=spf1 include:ip.test ?all");
    text("redirect.test", "v=spf1 redirect=ip.test");
    text("nowhere.test", "v=spf1 redirect=absent.test");
    text("noone.test", "v=spf1 include:absent.test -all");
    text("exists.test", "v=spf1 exists:%{l}.%{ir}.allowed.test -all");
    server.set("bob.1.2.0.192.allowed.test", "A", &["127.0.0.2"]);
    text("ptr.test", "v=spf1 ptr -all");
    server
        .set("1.2.0.192.in-addr.arpa", "PTR", &["mail.ptr.test"])
        .set("mail.ptr.test", "A", &["192.0.2.1"]);
    server
        .set("2.2.0.192.in-addr.arpa", "PTR", &["liar.ptr.test"])
        .set("liar.ptr.test", "A", &["192.0.2.99"]);
    text("p.test", "v=spf1 exists:%{p}.names.test -all");
    server.set("mail.ptr.test.names.test", "A", &["127.0.0.2"]);
    text("empty.test", "v=spf1");
    server.set("two.test", "TXT", &["v=spf1 +all", "v=spf1 -all"]);
    server.set("other.test", "TXT", &["google-site-verification=x", "v=spf10 -all"]);
    text("bad.test", "v=spf1 ip4:192.0.2.1 nonsense -all");
    text("loop.test", "v=spf1 include:loop.test -all");
    text("void2.test", "v=spf1 a:x1.test a:x2.test -all");
    text("void3.test", "v=spf1 a:x1.test exists:x2.test mx:x3.test -all");
    let ten: String = TEN_WORDS.iter().map(|word| format!(" a:{word}.names.test")).collect();
    for word in TEN_WORDS {
        server.set(&format!("{word}.names.test"), "A", &["203.0.113.1"]);
    }
    text("ten.test", &format!("v=spf1{ten} -all"));
    text("eleven.test", &format!("v=spf1{ten} a:a.names.test -all"));
    let resolver = resolver(&server);
    for (address, mail_from, wanted) in [
        ("192.0.2.7", "x@ip.test", "pass"),
        ("::ffff:192.0.2.7", "x@ip.test", "pass"),
        ("2001:db8::7", "x@ip.test", "pass"),
        ("198.51.100.1", "x@ip.test", "fail"),
        ("192.0.2.1", "x@a.test", "pass"),
        ("2001:db8::1", "x@a.test", "pass"),
        ("192.0.2.2", "x@a.test", "fail"),
        ("192.0.2.1", "x@mx.test", "pass"),
        ("192.0.2.2", "x@mx.test", "softfail"),
        ("192.0.2.2", "x@include.test", "pass"),
        ("198.51.100.1", "x@include.test", "neutral"),
        ("192.0.2.2", "x@redirect.test", "pass"),
        ("198.51.100.1", "x@redirect.test", "fail"),
        ("192.0.2.1", "x@nowhere.test", "permerror"),
        ("192.0.2.1", "x@noone.test", "permerror"),
        ("192.0.2.1", "bob@exists.test", "pass"),
        ("192.0.2.1", "eve@exists.test", "fail"),
        ("192.0.2.1", "x@ptr.test", "pass"),
        ("192.0.2.2", "x@ptr.test", "fail"),
        ("192.0.2.1", "x@p.test", "pass"),
        ("192.0.2.1", "x@empty.test", "neutral"),
        ("192.0.2.1", "x@two.test", "permerror"),
        ("192.0.2.1", "x@other.test", "none"),
        ("192.0.2.1", "x@absent.test", "none"),
        ("192.0.2.1", "x@[192.0.2.1]", "none"),
        ("192.0.2.1", "x@bad.test", "permerror"),
        ("192.0.2.1", "x@loop.test", "permerror"),
        ("192.0.2.1", "x@void2.test", "fail"),
        ("192.0.2.1", "x@void3.test", "permerror"),
        ("192.0.2.1", "x@ten.test", "fail"),
        ("192.0.2.1", "x@eleven.test", "permerror"),
    ] {
        let result = check(&resolver, address, "helo.test", mail_from).await;
        assert_eq!(result.as_str(), wanted, "{address} {mail_from}");
    }
}

#[tokio::test]
async fn the_helo_name_is_judged_where_the_sender_is_null() {
    let resolver = ScriptedResolver::new();
    resolver
        .txt("mail.a.test", &["v=spf1 ip4:192.0.2.1 -all"])
        .txt("a.test", &["v=spf1 -all"]);
    for (helo, result, domain) in [
        ("mail.A.test.", SpfResult::Pass, "mail.a.test"),
        ("other.a.test", SpfResult::None, "other.a.test"),
        ("[192.0.2.1]", SpfResult::None, "[192.0.2.1]"),
        ("localhost", SpfResult::None, "localhost"),
        ("", SpfResult::None, ""),
    ] {
        let client = spf::Client {
            address: "192.0.2.1".parse().unwrap(),
            helo,
            mail_from: &ReversePath::Null,
        };
        let verdict = spf::check(&resolver, client, PATIENCE).await;
        assert_eq!((verdict.result, verdict.domain.as_str()), (result, domain), "{helo}");
    }
}

#[tokio::test]
async fn a_server_that_fails_is_never_a_failure_of_the_sender() {
    let server = Server::start().await;
    let records = [
        ("down.test", "v=spf1 -all"),
        ("include.test", "v=spf1 include:down.test -all"),
        ("a.test", "v=spf1 a:down.test -all"),
        ("mx.test", "v=spf1 mx:mail.test -all"),
        ("redirect.test", "v=spf1 redirect=down.test"),
        ("exists.test", "v=spf1 exists:down.test -all"),
    ];
    for (name, text) in records {
        server.set(name, "TXT", &[text]);
    }
    server
        .set("mail.test", "MX", &["10 down.test"])
        .set("ptr.test", "TXT", &["v=spf1 ptr:ptr.test -all"]);
    server.fault("1.2.0.192.in-addr.arpa", Fault::ServFail);
    for fault in [Fault::ServFail, Fault::Refused] {
        server.fault("down.test", fault);
        for (name, _) in records {
            let result = check(&resolver(&server), "192.0.2.1", "helo.test", &format!("x@{name}")).await;
            assert_eq!(result, SpfResult::TempError, "{name} {fault:?}");
        }
    }
    // RFC 7208 §5.5: the exception, as the client's own zone is not the sender's fault either.
    assert_eq!(
        check(&resolver(&server), "192.0.2.1", "helo.test", "x@ptr.test").await,
        SpfResult::Fail
    );
    server.fault("down.test", Fault::Mute);
    let started = std::time::Instant::now();
    let client = spf::Client {
        address: "192.0.2.1".parse().unwrap(),
        helo: "helo.test",
        mail_from: &ReversePath::parse("x@down.test").unwrap(),
    };
    let verdict = spf::check(&resolver(&server), client, Duration::from_millis(200)).await;
    assert_eq!(verdict.result, SpfResult::TempError);
    assert!(started.elapsed() < Duration::from_secs(2));
}

fn resolver(server: &Server) -> HickoryResolver {
    HickoryResolver::new(&Configuration {
        servers: vec![server.address],
        ..Configuration::default()
    })
    .unwrap()
}
