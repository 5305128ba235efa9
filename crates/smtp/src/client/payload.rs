//! A message as it goes onto the wire: looked over once, then sent in place, dot-stuffed without being copied.

use super::failure::Unfit;

/// The parts of one message, found fit to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a> {
    parts: &'a [&'a [u8]],
    /// Octets, with the final CRLF that `parts` may lack.
    pub(super) octets: usize,
    /// Holds octets above 127.
    pub(super) eight_bit: bool,
    lacks_crlf: bool,
}

impl<'a> Payload<'a> {
    /// Looks a message over.
    ///
    /// # Errors
    /// [`Unfit::BareLineEnding`]: what is sent must not be able to end a message early at a laxer peer (ASSURANCE D24).
    pub(super) fn new(parts: &'a [&'a [u8]]) -> Result<Self, Unfit> {
        let mut after_cr = false;
        let mut last = [0u8; 2];
        for part in parts {
            let mut start = 0;
            if after_cr && !part.is_empty() {
                if part[0] != b'\n' {
                    return Err(Unfit::BareLineEnding);
                }
                start = 1;
                after_cr = false;
            }
            while let Some(found) = memchr::memchr3(b'\r', b'\n', 0, &part[start..]) {
                let at = start + found;
                if part[at] != b'\r' {
                    return Err(Unfit::BareLineEnding);
                }
                match part.get(at + 1) {
                    Some(b'\n') => start = at + 2,
                    Some(_) => return Err(Unfit::BareLineEnding),
                    None => {
                        after_cr = true;
                        break;
                    }
                }
            }
            match part {
                [.., before, end] => last = [*before, *end],
                [end] => last = [last[1], *end],
                [] => {}
            }
        }
        if after_cr {
            return Err(Unfit::BareLineEnding);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let lacks_crlf = length > 0 && last != *b"\r\n";
        Ok(Self {
            parts,
            octets: length + if lacks_crlf { 2 } else { 0 },
            eight_bit: !parts.iter().all(|part| part.is_ascii()),
            lacks_crlf,
        })
    }

    /// The message as it is, for BDAT.
    pub(super) fn plain(self) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().copied().chain(self.lacks_crlf.then_some(&b"\r\n"[..]))
    }

    /// The message dot-stuffed, with its end, for DATA (RFC 5321 §4.5.2).
    pub(super) fn stuffed(self) -> impl Iterator<Item = &'a [u8]> {
        let mut line_start = true;
        let parts = self.parts.iter().flat_map(move |part| {
            let begins = line_start;
            line_start = part.last().map_or(begins, |end| *end == b'\n');
            Stuffed {
                rest: part,
                dot_next: begins && part.first() == Some(&b'.'),
            }
        });
        let end: &[u8] = if self.lacks_crlf { b"\r\n.\r\n" } else { b".\r\n" };
        parts.chain(std::iter::once(end))
    }
}

/// One part, cut before each dot that begins a line; a lone dot is put between.
struct Stuffed<'a> {
    rest: &'a [u8],
    dot_next: bool,
}

impl<'a> Iterator for Stuffed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if std::mem::take(&mut self.dot_next) {
            return Some(b".");
        }
        if self.rest.is_empty() {
            return None;
        }
        match memchr::memmem::find(self.rest, b"\n.") {
            Some(at) => {
                let (piece, rest) = self.rest.split_at(at + 1);
                self.rest = rest;
                self.dot_next = true;
                Some(piece)
            }
            None => Some(std::mem::take(&mut self.rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(parts: &[&[u8]]) -> String {
        String::from_utf8(Payload::new(parts).unwrap().stuffed().flatten().copied().collect()).unwrap()
    }

    #[test]
    fn d19_dots_at_line_starts_are_doubled_even_across_parts() {
        assert_eq!(stuffed(&[b"a\r\n.\r\n..b\r\nc.d\r\n"]), "a\r\n..\r\n...b\r\nc.d\r\n.\r\n");
        assert_eq!(stuffed(&[b".a\r\n", b".b", b".c\r\n"]), "..a\r\n..b.c\r\n.\r\n");
        assert_eq!(stuffed(&[b"a\r", b"\n", b"", b".b\r\n"]), "a\r\n..b\r\n.\r\n");
        assert_eq!(stuffed(&[]), ".\r\n");
        assert_eq!(stuffed(&[b"no end"]), "no end\r\n.\r\n");
        assert_eq!(Payload::new(&[b"no end"]).unwrap().octets, 8);
        assert_eq!(Payload::new(&[b"a\r", b"\n"]).unwrap().octets, 3);
    }

    #[test]
    fn d24_nothing_bare_is_ever_sent() {
        for parts in [
            &[&b"a\nb\r\n"[..]][..],
            &[b"a\rb\r\n"],
            &[b"a\0\r\n"],
            &[b"a\r\n.\n"],
            &[b"a\r"],
            &[b"a\r", b"b"],
            &[b"a\r", b"\r\n"],
            &[b"\n"],
        ] {
            assert_eq!(Payload::new(parts).unwrap_err(), Unfit::BareLineEnding, "{parts:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_stuffed_is_read_back_unchanged(lines in proptest::collection::vec("[.a]{0,4}", 0..20), cuts in proptest::collection::vec(0usize..100, 0..5)) {
            let whole: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &whole.as_bytes()[cut[0]..cut[1]]).collect();
            let wire = stuffed(&parts);
            let mut reader = crate::data::DataReader::new(crate::data::DataLimits { max_octets: 10_000, max_line_octets: None });
            let (taken, ended) = reader.feed(wire.as_bytes());
            proptest::prop_assert!(ended && taken == wire.len());
            proptest::prop_assert_eq!(&reader.finish().unwrap()[..], whole.as_bytes());
        }
    }
}
