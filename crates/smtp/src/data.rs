//! Message content as it arrives: finds its end, undoes dot-stuffing, keeps it in one growing buffer.
//!
//! Promises: only `CRLF . CRLF` ends content, or `. CRLF` as its first line; every other sequence that some server somewhere takes for
//! an end is content here. Content with a bare CR, bare LF or NUL, too long a line, or too much of it, is still read to its true
//! end, but no longer kept: memory stays flat, the conversation in step. No allocation and no copy per line.

use bytes::{Bytes, BytesMut};

/// What one message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLimits {
    /// Octets of content after dot-unstuffing.
    pub max_octets: usize,
    /// Octets of one line without its CRLF; `None`: any.
    pub max_line_octets: Option<usize>,
}

/// Why content is refused. The first found of the most serious kind counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataFault {
    /// A line beyond [`DataLimits::max_line_octets`].
    LineTooLong,
    /// Memory for bodies is used up; temporary.
    OutOfMemory,
    /// Beyond [`DataLimits::max_octets`].
    TooBig,
    /// A bare CR, a bare LF or a NUL: an attempt at smuggling, or a broken client.
    Bare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After CRLF, and at the beginning.
    LineStart,
    /// After a dot at a line's start. The dot is not content.
    Dot,
    /// After that dot and a CR: an LF now ends the message.
    DotCr,
    /// Within a line.
    Line,
    /// After a CR within a line; the CR is not yet kept.
    Cr,
}

/// Reads one message, whole or in pieces.
#[derive(Debug)]
pub struct DataReader {
    limits: DataLimits,
    body: BytesMut,
    state: State,
    octets: usize,
    line_octets: usize,
    fault: Option<DataFault>,
}

impl DataReader {
    /// Ready for the first octet after 354, or of the first chunk.
    #[must_use]
    pub fn new(limits: DataLimits) -> Self {
        Self {
            limits,
            body: BytesMut::new(),
            state: State::LineStart,
            octets: 0,
            line_octets: 0,
            fault: None,
        }
    }

    /// Makes room for an announced size, within reason: the announcement is the client's word.
    pub fn expect(&mut self, octets: u64) {
        let octets = usize::try_from(octets)
            .unwrap_or(usize::MAX)
            .min(self.limits.max_octets)
            .min(1024 * 1024);
        self.body.reserve(octets);
    }

    /// Takes octets sent after DATA. Returns how many were used, and whether the message ended with the last of them.
    pub fn feed(&mut self, input: &[u8]) -> (usize, bool) {
        // `kept_to`: input before this is in the body already. Runs of lines are copied at once.
        let (mut at, mut kept_to) = (0, 0);
        while at < input.len() {
            match self.state {
                State::LineStart => {
                    if input[at] == b'.' {
                        self.keep(&input[kept_to..at]);
                        at += 1;
                        kept_to = at;
                        self.state = State::Dot;
                    } else {
                        self.state = State::Line;
                    }
                }
                State::Dot => {
                    if input[at] == b'\r' {
                        at += 1;
                        kept_to = at;
                        self.state = State::DotCr;
                    } else {
                        self.state = State::Line;
                    }
                }
                State::DotCr => {
                    if input[at] == b'\n' {
                        return (at + 1, true);
                    }
                    self.spoil(DataFault::Bare);
                    self.state = State::Line;
                }
                State::Line => match memchr::memchr3(b'\r', b'\n', 0, &input[at..]) {
                    Some(found) => {
                        self.line_octets += found;
                        at += found;
                        if input[at] == b'\r' {
                            self.state = State::Cr;
                        } else {
                            // Neither ends a line.
                            self.spoil(DataFault::Bare);
                        }
                        at += 1;
                    }
                    None => {
                        self.line_octets += input.len() - at;
                        at = input.len();
                    }
                },
                State::Cr => {
                    if input[at] == b'\n' {
                        at += 1;
                        self.end_line();
                    } else {
                        // The octet is looked at again: a second CR may be the one that belongs to an LF.
                        self.spoil(DataFault::Bare);
                        self.state = State::Line;
                    }
                }
            }
        }
        self.keep(&input[kept_to..]);
        if self.limits.max_line_octets.is_some_and(|most| self.line_octets > most) {
            self.spoil(DataFault::LineTooLong);
        }
        (input.len(), false)
    }

    /// Takes octets of a BDAT chunk, where a dot is only a dot (RFC 3030). Line ends are held to the same rules: BINARYMIME is not offered.
    pub fn feed_chunk(&mut self, input: &[u8]) {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Cr => {
                    if input[at] == b'\n' {
                        at += 1;
                        self.end_line();
                    } else {
                        self.spoil(DataFault::Bare);
                        self.state = State::Line;
                    }
                }
                _ => match memchr::memchr3(b'\r', b'\n', 0, &input[at..]) {
                    Some(found) => {
                        self.line_octets += found;
                        at += found;
                        if input[at] == b'\r' {
                            self.state = State::Cr;
                        } else {
                            self.state = State::Line;
                            self.spoil(DataFault::Bare);
                        }
                        at += 1;
                    }
                    None => {
                        self.line_octets += input.len() - at;
                        self.state = State::Line;
                        at = input.len();
                    }
                },
            }
        }
        self.keep(input);
    }

    fn end_line(&mut self) {
        if self.limits.max_line_octets.is_some_and(|most| self.line_octets > most) {
            self.spoil(DataFault::LineTooLong);
        }
        self.line_octets = 0;
        self.state = State::LineStart;
    }

    fn keep(&mut self, octets: &[u8]) {
        self.octets = self.octets.saturating_add(octets.len());
        if self.octets > self.limits.max_octets {
            self.spoil(DataFault::TooBig);
        }
        if self.fault.is_none() {
            self.body.extend_from_slice(octets);
        }
    }

    /// Marks the message as refused and forgets what was kept of it.
    pub fn spoil(&mut self, fault: DataFault) {
        self.fault = self.fault.max(Some(fault));
        self.body = BytesMut::new();
    }

    /// Octets of memory the body takes now.
    #[must_use]
    pub fn kept_octets(&self) -> usize {
        self.body.capacity()
    }

    /// Octets of content seen so far, kept or not.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// Is the message refused already?
    #[must_use]
    pub const fn fault(&self) -> Option<DataFault> {
        self.fault
    }

    /// The content, ending with CRLF unless it is empty (a last chunk need not end a line).
    ///
    /// # Errors
    /// Why the message is refused.
    pub fn finish(mut self) -> Result<Bytes, DataFault> {
        match self.state {
            State::Cr => self.spoil(DataFault::Bare),
            State::Line => {
                self.keep(b"\r\n");
                self.end_line();
            }
            State::LineStart | State::Dot | State::DotCr => {}
        }
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.body.freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
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
}
