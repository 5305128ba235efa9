//! Every sequence of ASSURANCE §2.2, whole and split at each octet.

use super::*;

const LIMITS: DataLimits = DataLimits {
    max_octets: 10_000,
    max_line_octets: Some(998),
};

/// Fed whole, and split at every octet: the outcome must be the same.
fn read(wire: &[u8]) -> (usize, Result<Bytes, DataFault>) {
    let mut reader = DataReader::new(LIMITS);
    let (taken, ended) = reader.feed(wire);
    assert!(ended, "{:?} does not end", String::from_utf8_lossy(wire));
    let whole = (taken, reader.finish());
    for split in 0..wire.len() {
        let mut reader = DataReader::new(LIMITS);
        let (first, ended) = reader.feed(&wire[..split]);
        let taken = if ended { first } else { first + reader.feed(&wire[split..]).0 };
        assert_eq!((taken, reader.finish()), whole, "split at {split}");
    }
    let mut reader = DataReader::new(LIMITS);
    let taken = 1 + wire.iter().position(|byte| reader.feed(std::slice::from_ref(byte)).1).unwrap();
    assert_eq!((taken, reader.finish()), whole, "one by one");
    whole
}

#[test]
fn d17_d19_d25_dots_and_ends() {
    for (wire, content) in [
        (".\r\n", ""),
        ("a\r\n.\r\n", "a\r\n"),
        ("..\r\n.\r\n", ".\r\n"),
        ("a\r\n..b\r\n...\r\n.....\r\n.\r\n", "a\r\n.b\r\n..\r\n....\r\n"),
        (".a\r\n.\r\n", "a\r\n"),
        ("a.\r\nb\r\n.\r\n", "a.\r\nb\r\n"),
        ("\r\n\r\n.\r\n", "\r\n\r\n"),
    ] {
        assert_eq!(
            read(wire.as_bytes()),
            (wire.len(), Ok(Bytes::from_static(content.as_bytes()))),
            "{wire:?}"
        );
        let (taken, _) = read(format!("{wire}MAIL FROM:<a@b.test>\r\n").as_bytes());
        assert_eq!(taken, wire.len(), "{wire:?}: what follows is not content");
    }
}

#[test]
fn d01_to_d15_nothing_else_ends_a_message() {
    let ends: [&[u8]; 18] = [
        b"\n.\n",
        b"\n.\r",
        b"\r.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n. \r\n",
        b"\r\n.\t\r\n",
        b"\r\n.\x0b\r\n",
        b"\r\n.\x0c\r\n",
        b"\r\n.\xc2\x85\r\n",
        b"\r\n.\xe2\x80\xa8\r\n",
    ];
    for (number, end) in ends.iter().enumerate() {
        let wire = [&b"Subject: x\r\n\r\nbody"[..], end, b"MAIL FROM:<a@b.test>\r\nDATA\r\nx\r\n.\r\n"].concat();
        let (taken, content) = read(&wire);
        assert_eq!(taken, wire.len(), "D{:02} ended the message", number + 1);
        if number < 12 {
            assert_eq!(content, Err(DataFault::Bare), "D{:02}", number + 1);
        } else {
            assert!(content.is_ok(), "D{:02} is odd, and content", number + 1);
        }
    }
}

#[test]
fn d16_a_true_end_after_a_bare_cr_or_lf_ends_and_refuses() {
    for wire in [&b"a\r\r\n.\r\nMAIL"[..], b"a\n\r\n.\r\nMAIL"] {
        assert_eq!(read(wire), (wire.len() - 4, Err(DataFault::Bare)));
    }
}

#[test]
fn g08_lines_of_998_octets_pass_and_one_more_does_not() {
    for (octets, good) in [(998, true), (999, false), (9_000, false)] {
        let wire = format!("{}\r\n.\r\n", "x".repeat(octets));
        assert_eq!(read(wire.as_bytes()).1.is_ok(), good, "{octets}");
    }
    let mut reader = DataReader::new(DataLimits {
        max_line_octets: None,
        ..LIMITS
    });
    assert!(reader.feed(format!("{}\r\n.\r\n", "x".repeat(5_000)).as_bytes()).1);
    assert!(reader.finish().is_ok());
}

#[test]
fn g17_d18_beyond_the_limit_memory_is_flat_and_only_the_true_end_ends() {
    let mut reader = DataReader::new(LIMITS);
    for _ in 0..10_000 {
        assert_eq!(reader.feed(b"0123456789012345678901234567890123456789\r\n"), (42, false));
        assert!(reader.kept_octets() <= 32 * 1024);
    }
    assert_eq!(reader.feed(b"\n.\n"), (3, false));
    assert_eq!(reader.feed(b"x\r\n.\r\ntail"), (6, true));
    assert_eq!(reader.finish(), Err(DataFault::Bare));
    let mut reader = DataReader::new(DataLimits {
        max_octets: 5,
        max_line_octets: None,
    });
    assert_eq!(reader.feed(b"abc\r\n.\r\n"), (8, true));
    assert!(reader.finish().is_ok(), "exactly the limit");
    let mut reader = DataReader::new(DataLimits {
        max_octets: 5,
        max_line_octets: None,
    });
    reader.feed(b"abcd\r\n.\r\n");
    assert_eq!(reader.finish(), Err(DataFault::TooBig));
}

#[test]
fn d21_in_chunks_a_dot_is_a_dot() {
    let mut reader = DataReader::new(LIMITS);
    reader.feed_chunk(b".\r");
    reader.feed_chunk(b"\n.\r\n..");
    reader.feed_chunk(b"end");
    assert_eq!(reader.finish(), Ok(Bytes::from_static(b".\r\n.\r\n..end\r\n")));
    for chunk in [&b"a\nb"[..], b"a\rb", b"a\0", b"a\r"] {
        let mut reader = DataReader::new(LIMITS);
        reader.feed_chunk(chunk);
        assert_eq!(reader.finish(), Err(DataFault::Bare), "{chunk:?}");
    }
    assert_eq!(DataReader::new(LIMITS).finish(), Ok(Bytes::new()));
}

proptest::proptest! {
    #[test]
    fn g32_no_content_makes_the_reader_panic_or_differ_by_splitting(wire in proptest::collection::vec(proptest::sample::select(b"\r\n.a\0".to_vec()), 0..60)) {
        let mut whole = DataReader::new(LIMITS);
        let outcome = whole.feed(&wire);
        let mut pieces = DataReader::new(LIMITS);
        let mut taken = 0;
        let mut ended = false;
        for byte in &wire {
            ended = pieces.feed(std::slice::from_ref(byte)).1;
            taken += 1;
            if ended { break; }
        }
        proptest::prop_assert_eq!(outcome, (taken, ended));
        proptest::prop_assert_eq!(whole.finish(), pieces.finish());
    }
}
