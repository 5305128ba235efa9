//! Addresses: what is accepted, in which form it is kept, and what is refused and why (assurance G05, G06, G12–G14, G16).

use mail::{Address, AddressError, Domain, DomainError, Host, ReversePath};
use proptest::prelude::*;

#[test]
fn accepted_addresses_have_one_rendered_form() {
    for (written, local_part, rendered) in [
        ("abc@example.org", "abc", "abc@example.org"),
        ("Abc@EXAMPLE.org", "Abc", "Abc@example.org"),
        ("\"abc\"@example.org", "abc", "abc@example.org"),
        ("\"a b\"@example.org", "a b", "\"a b\"@example.org"),
        ("\"a\\\"b\"@example.org", "a\"b", "\"a\\\"b\"@example.org"),
        ("\"a\\b\"@example.org", "ab", "ab@example.org"),
        ("\"a\\\\b\"@example.org", "a\\b", "\"a\\\\b\"@example.org"),
        ("\"a@b\"@example.org", "a@b", "\"a@b\"@example.org"),
        ("\"a..b\"@example.org", "a..b", "\"a..b\"@example.org"),
        ("a.b+tag@example.org", "a.b+tag", "a.b+tag@example.org"),
        (
            "!#$%&'*+-/=?^_`{|}~@example.org",
            "!#$%&'*+-/=?^_`{|}~",
            "!#$%&'*+-/=?^_`{|}~@example.org",
        ),
        (
            "victim%other.example@example.org",
            "victim%other.example",
            "victim%other.example@example.org",
        ),
        (
            "other.example!victim@example.org",
            "other.example!victim",
            "other.example!victim@example.org",
        ),
        (
            "\"victim@other.example\"@example.org",
            "victim@other.example",
            "\"victim@other.example\"@example.org",
        ),
        ("a@localhost", "a", "a@localhost"),
        ("a@example.org.", "a", "a@example.org"),
        ("a@[192.0.2.1]", "a", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a", "a@[IPv6:2001:db8::1]"),
        ("a@[ipv6:2001:db8::1]", "a", "a@[IPv6:2001:db8::1]"),
        ("jürgen@bücher.example", "jürgen", "jürgen@xn--bcher-kva.example"),
    ] {
        let address = Address::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(address.local_part(), local_part, "{written}");
        assert_eq!(address.to_string(), rendered, "{written}");
        assert_eq!(Address::parse(rendered), Ok(address), "{written}");
    }
}

#[test]
fn refused_addresses_name_their_fault() {
    use AddressError::{ControlCharacter, Empty, Literal, LocalPart, LocalPartEmpty, MissingAt, Quoting, SourceRoute};
    for (written, reason) in [
        ("", Empty),
        ("abc", MissingAt),
        ("\"abc\"", MissingAt),
        ("@example.org", LocalPartEmpty),
        ("\"\"@example.org", LocalPartEmpty),
        ("a@", AddressError::Domain(DomainError::Empty)),
        ("a..b@example.org", LocalPart),
        (".a@example.org", LocalPart),
        ("a.@example.org", LocalPart),
        ("a b@example.org", LocalPart),
        (" a@example.org", LocalPart),
        ("<a@example.org>", LocalPart),
        ("a(comment)@example.org", LocalPart),
        ("a,b@example.org", LocalPart),
        ("a\\b@example.org", LocalPart),
        ("a@example.org ", AddressError::Domain(DomainError::Character)),
        ("a@example.org> SIZE=1", AddressError::Domain(DomainError::Character)),
        ("victim@other.example(comment)", AddressError::Domain(DomainError::Character)),
        ("victim@other.example@example.org", AddressError::Domain(DomainError::Character)),
        ("victim@other.example,example.org", AddressError::Domain(DomainError::Character)),
        ("a@example..org", AddressError::Domain(DomainError::Label)),
        ("a@192.0.2.1", AddressError::Domain(DomainError::BareIpAddress)),
        ("\"abc@example.org", Quoting),
        ("\"abc\"def@example.org", Quoting),
        ("\"abc\\", Quoting),
        ("a@[192.0.2.256]", Literal),
        ("a@[192.0.2.1", Literal),
        ("a@[2001:db8::1]", Literal),
        ("a@[IPv6:192.0.2.1]", Literal),
        ("a@[x:tag]", Literal),
        ("a@[]", Literal),
        ("a\0@example.org", ControlCharacter),
        ("a@example.org\r\nDATA", ControlCharacter),
        ("\"a\tb\"@example.org", ControlCharacter),
        ("a\u{85}@example.org", ControlCharacter),
        ("a\u{2028}b@example.org", ControlCharacter),
        ("@a.example:user@c.example", SourceRoute),
        ("@a.example,@b.example:user@c.example", SourceRoute),
        ("@a.example,b.example:user@c.example", LocalPartEmpty),
        ("@a.example:@b.example:user@c.example", LocalPartEmpty),
        ("@a.example:", LocalPartEmpty),
    ] {
        assert_eq!(Address::parse(written), Err(reason), "{written:?}");
    }
}

#[test]
fn the_limits_of_rfc_5321_are_exact() {
    let local_part = "a".repeat(64);
    assert!(Address::parse(&format!("{local_part}@example.org")).is_ok());
    assert_eq!(
        Address::parse(&format!("{local_part}a@example.org")),
        Err(AddressError::LocalPartTooLong)
    );
    assert!(Address::parse(&format!("\"{}\"@example.org", " ".repeat(62))).is_ok());
    assert_eq!(
        Address::parse(&format!("\"{}\"@example.org", " ".repeat(63))),
        Err(AddressError::LocalPartTooLong)
    );

    // The path with its angle brackets has 256 octets, of which the local part takes 64 and the @ one.
    let domain = format!("{0}.{0}.{1}", "d".repeat(62), "e".repeat(63));
    assert_eq!(domain.len(), 189);
    assert!(Address::parse(&format!("{local_part}@{domain}")).is_ok());
    let domain = format!("{0}.{0}.{0}", "d".repeat(63).replacen('d', "x", 1));
    assert_eq!(domain.len(), 191);
    assert_eq!(Address::parse(&format!("{local_part}@{domain}")), Err(AddressError::TooLong));
    let domain = format!("{0}.{0}.{0}.{1}.a", "d".repeat(63), "e".repeat(62));
    assert_eq!(domain.len(), 256);
    assert_eq!(
        Address::parse(&format!("a@{domain}")),
        Err(AddressError::Domain(DomainError::TooLong))
    );
}

#[test]
fn case_of_the_local_part_is_kept_and_folded_for_look_ups() {
    let address = Address::parse("Anna.Ä@Example.ORG").unwrap();
    assert_eq!(address.to_string(), "Anna.Ä@example.org");
    assert_eq!(address.folded(), "anna.ä@example.org");
    assert!(!address.is_ascii());
    assert!(Address::parse("a@bücher.example").unwrap().is_ascii());
    assert_eq!(Address::parse("\"A B\"@x.example").unwrap().folded(), "\"a b\"@x.example");
}

#[test]
fn an_address_can_be_put_together_from_its_parts() {
    let host = Host::Domain(Domain::parse("example.org").unwrap());
    assert_eq!(Address::new("a b", host.clone()).unwrap().to_string(), "\"a b\"@example.org");
    assert_eq!(Address::new("", host.clone()), Err(AddressError::LocalPartEmpty));
    assert_eq!(Address::new("a\nb", host), Err(AddressError::ControlCharacter));
    assert_eq!(ReversePath::parse("a@b").unwrap().to_string(), "a@b");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_accepts_it_renders_stably(text in "\\PC{0,80}|[ -~]{0,40}@[a-z.\\[\\]:0-9-]{0,40}") {
        if let Ok(address) = Address::parse(&text) {
            let rendered = address.to_string();
            prop_assert!(rendered.len() <= 254);
            prop_assert_eq!(Address::parse(&rendered), Ok(address));
        }
    }

    #[test]
    fn every_printable_local_part_survives_rendering(local_part in "[ -~äß]{1,25}") {
        let host = Host::Domain(Domain::parse("example.org").unwrap());
        if let Ok(address) = Address::new(&local_part, host) {
            prop_assert_eq!(address.local_part(), local_part.as_str());
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn domains_are_stable_under_parsing(text in "\\PC{0,40}") {
        if let Ok(domain) = Domain::parse(&text) {
            prop_assert!(domain.as_str().is_ascii());
            prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain));
        }
    }

    #[test]
    fn octets_of_any_kind_can_be_scanned_as_a_header(raw in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'('), Just(b'"'), Just(b'<'), any::<u8>()], 0..200)) {
        let headers = mail::header::Headers::scan(&raw);
        let joined: Vec<u8> = headers.iter().flat_map(|field| field.raw.to_vec()).collect();
        prop_assert_eq!(&joined, &headers.as_bytes());
        for field in headers {
            let text = field.text();
            prop_assert!(!text.contains(['\r', '\n', '\0']));
            let _ = mail::header::authors(field.value);
        }
    }

    #[test]
    fn xtext_comes_back(text in "\\PC{0,40}") {
        prop_assume!(!text.chars().any(char::is_control));
        prop_assert_eq!(mail::quote::xtext_decode(&mail::quote::xtext_encode(&text)), Ok(text));
    }
}
