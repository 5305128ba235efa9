//! Where a domain's mail goes: RFC 5321 §5, case by case (ASSURANCE N01–N10).

use super::*;
use crate::ScriptedResolver;

async fn routed(resolver: &ScriptedResolver) -> Result<Vec<(String, Vec<String>)>, RouteError> {
    let own = [Name::parse("me.test").unwrap()];
    let targets = route(resolver, "D.test.", &own, 7).await?;
    Ok(targets
        .iter()
        .map(|t| (t.host.to_string(), t.addresses.iter().map(ToString::to_string).collect()))
        .collect())
}

fn pairs(wanted: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    wanted
        .iter()
        .map(|(host, addresses)| ((*host).to_owned(), addresses.iter().map(|a| (*a).to_owned()).collect()))
        .collect()
}

#[tokio::test]
async fn exchangers_come_in_order_with_both_families_in_turn() {
    let dns = ScriptedResolver::new();
    dns.mx("d.test", &[(20, "b.test"), (10, "a.test"), (30, "gone.test")]);
    dns.a("a.test", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        .aaaa("a.test", &["2001:db8::1"])
        .a("b.test", &["192.0.2.9"]);
    let wanted = pairs(&[("a.test", &["2001:db8::1", "192.0.2.1", "192.0.2.2"]), ("b.test", &["192.0.2.9"])]);
    assert_eq!(routed(&dns).await, Ok(wanted));
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_exchanger() {
    // N04
    let dns = ScriptedResolver::new();
    dns.a("d.test", &["192.0.2.1"]);
    assert_eq!(routed(&dns).await, Ok(pairs(&[("d.test", &["192.0.2.1"])])));
}

#[tokio::test]
async fn exchangers_without_addresses_never_fall_back_to_the_domains_own_address() {
    // N04
    let dns = ScriptedResolver::new();
    dns.mx("d.test", &[(10, "gone.test")]).a("d.test", &["192.0.2.1"]);
    assert_eq!(routed(&dns).await, Err(RouteError::NoAddress));
    dns.fail("gone.test");
    assert!(matches!(routed(&dns).await, Err(RouteError::Temporary(_))));
}

#[tokio::test]
async fn what_cannot_be_delivered_has_its_own_code() {
    let cases: &[(&str, (u8, u16, u16))] = &[
        ("nx", (5, 1, 2)),
        ("null", (5, 1, 10)),
        ("nothing", (5, 4, 4)),
        ("fail", (4, 4, 3)),
        ("loop", (5, 4, 6)),
        ("literal", (5, 4, 4)),
    ];
    for (case, code) in cases {
        let dns = ScriptedResolver::new();
        match *case {
            "null" => dns.mx("d.test", &[(0, "")]), // N03
            "nothing" => dns.txt("d.test", &["exists"]),
            "fail" => dns.fail("d.test"),                        // N02
            "loop" => dns.mx("d.test", &[(10, "me.test")]),      // N10, L03
            "literal" => dns.mx("d.test", &[(10, "192.0.2.1")]), // N06
            _ => &dns,                                           // N01
        };
        assert_eq!(routed(&dns).await.unwrap_err().enhanced_code(), *code, "{case}");
    }
}

#[tokio::test]
async fn one_family_that_fails_does_not_hide_the_other() {
    let dns = ScriptedResolver::new();
    dns.mx("d.test", &[(10, "a.test")])
        .a("a.test", &["192.0.2.1"])
        .fail_kind("a.test", crate::Kind::Aaaa);
    assert_eq!(routed(&dns).await, Ok(pairs(&[("a.test", &["192.0.2.1"])])));
}

#[tokio::test]
async fn many_addresses_are_capped_and_leave_room_for_the_next_host() {
    // N08
    let many: Vec<String> = (1..=200).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let dns = ScriptedResolver::new();
    dns.mx("d.test", &[(10, "a.test"), (20, "b.test")])
        .a("a.test", &many)
        .a("b.test", &many);
    let counts: Vec<usize> = routed(&dns).await.unwrap().iter().map(|(_, addresses)| addresses.len()).collect();
    assert_eq!(counts, [3, 2]);
    let dns = ScriptedResolver::new();
    dns.a("d.test", &many);
    assert_eq!(routed(&dns).await.unwrap()[0].1.len(), 5);
}

#[tokio::test]
async fn a_cname_is_followed_and_a_loop_of_them_is_deferred() {
    // N05
    let dns = ScriptedResolver::new();
    dns.cname("d.test", "e.test")
        .mx("e.test", &[(10, "a.test")])
        .cname("a.test", "b.test")
        .a("b.test", &["192.0.2.1"]);
    assert_eq!(routed(&dns).await, Ok(pairs(&[("a.test", &["192.0.2.1"])])));
    let dns = ScriptedResolver::new();
    dns.mx("d.test", &[(10, "a.test")])
        .cname("a.test", "b.test")
        .cname("b.test", "a.test");
    assert!(matches!(routed(&dns).await, Err(RouteError::Temporary(_))));
}
