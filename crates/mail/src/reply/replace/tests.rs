//! What is found in a text, and what is not.

use chrono::DateTime;

use super::*;

fn replaced(text: &str, alias: &str, correspondent: &str, private: &[&str]) -> String {
    let address = |text: &str| Address::parse(text).unwrap();
    let (alias, correspondent, reverse) = (address(alias), address(correspondent), address("ra+bob.k3x@mine.test"));
    let private: Vec<Address> = private.iter().map(|text| address(text)).collect();
    let private: Vec<&Address> = private.iter().collect();
    Replacements::new(&Scrub {
        alias: &alias,
        alias_name: None,
        correspondent: &correspondent,
        reverse: &reverse,
        private: &private,
        message_id: "<1@mine.test>",
        date: DateTime::UNIX_EPOCH,
    })
    .text(text)
    .into_owned()
}

fn usual(text: &str) -> String {
    replaced(text, "shop@mine.test", "bob@stranger.test", &["me@home.test", "jörg@bücher.test"])
}

#[test]
fn addresses_change_hands_and_names_of_the_private_domain_go() {
    for (written, left) in [
        ("me@home.test", "shop@mine.test"),
        ("write to <ME@Home.Test>, please.", "write to <shop@mine.test>, please."),
        ("me+tag@home.test", "shop@mine.test"),
        ("mailto:me@home.test?subject=x", "mailto:shop@mine.test?subject=x"),
        ("RA+BOB.k3x@mine.test wrote:", "bob@stranger.test wrote:"),
        ("other@home.test", "[removed]"),
        ("some@home.test;other@home.test", "[removed];[removed]"),
        ("https://www.home.test/a?b", "https://[removed]/a?b"),
        ("at home.test.", "at [removed]."),
        ("mail.home.test:25 (home.test)", "[removed]:25 ([removed])"),
        ("b+me=home.test@list.example", "b+[removed]@list.example"),
        ("ra+bob.k3x=mine.test@list.example", "[removed]@list.example"),
        ("<abc.123@laptop.home.test>", "<[removed]>"),
        ("host=home.test", "host=[removed]"),
        ("_home.test_ 在home.test在", "_[removed]_ 在[removed]在"),
        ("me@bücher.test jörg@BÜCHER.test", "[removed] shop@mine.test"),
        ("j%C3%B6rg%40xn--bcher-kva.test", "shop%40mine.test"),
        ("home.test.home.test..home.test", "[removed].[removed]..[removed]"),
        ("src=\"cid:part1.x@home.test\"", "src=\"cid:part1.x@mine.test\""),
    ] {
        assert_eq!(usual(written), left, "{written}");
    }
}

#[test]
fn disguises_of_links_and_pages_are_seen_through() {
    for (written, left) in [
        ("a?to=me%40home.test&x=1", "a?to=shop%40mine.test&x=1"),
        ("a?to=me%2540home%252Etest", "a?to=shop%40mine.test"),
        ("%6de@h%6fme.test", "shop%40mine.test"),
        ("ra%2Bbob.k3x%40mine.test", "bob%40stranger.test"),
        ("me&#64;home.test", "shop@mine.test"),
        ("me&#x40;home&#46;test;", "shop@mine.test;"),
        ("me&commat;home&period;test", "shop@mine.test"),
        ("me@home\u{ad}.test \u{200b}home\u{200b}.test", "shop@mine.test \u{200b}[removed]"),
        ("me@<wbr>home.<WBR/>test<br>", "shop@mine.test<br>"),
        ("me=40home.test", "shop@mine.test"),
        ("me＠home。test", "shop@mine.test"),
        ("100% &amp; &#xffffffffff; %zz %e2%82 &#", "100% &amp; &#xffffffffff; %zz %e2%82 &#"),
    ] {
        assert_eq!(usual(written), left, "{written}");
    }
}

#[test]
fn other_names_that_only_look_alike_stay() {
    for text in [
        "myhome.test my-home.test home.testing home-test",
        "me@mine.test shop@mine.test bob@stranger.test",
        "Come home. Test it.",
        "",
        "  \r\n\t ",
    ] {
        assert_eq!(usual(text), text);
    }
}

#[test]
fn a_domain_that_both_sides_can_see_is_no_secret_and_the_address_is() {
    let text = "me@big.test me+x@big.test bob@big.test carol@big.test www.big.test";
    assert_eq!(
        replaced(text, "shop@mine.test", "bob@big.test", &["me@big.test"]),
        "shop@mine.test shop@mine.test bob@big.test carol@big.test www.big.test"
    );
    let text = "me@own.test shop@mail.own.test laptop.own.test";
    assert_eq!(
        replaced(text, "shop@mail.own.test", "bob@stranger.test", &["me@own.test"]),
        "shop@mail.own.test shop@mail.own.test [removed]"
    );
}

#[test]
fn hosts_within_hosts_and_literals_are_found() {
    assert_eq!(
        replaced(
            "xmx.home.test mx.home.test me@mx.home.test",
            "shop@mine.test",
            "bob@stranger.test",
            &["a@mx.home.test", "me@home.test"]
        ),
        "[removed] [removed] [removed]"
    );
    assert_eq!(
        replaced(
            "me@[192.0.2.7] x@[192.0.2.7] 192.0.2.70",
            "shop@mine.test",
            "bob@stranger.test",
            &["me@[192.0.2.7]"]
        ),
        "shop@mine.test [removed] 192.0.2.70"
    );
}
