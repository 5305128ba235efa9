//! The canonicalisations that change something (RFC 6376 §3.4.2 to §3.4.4), without copying what they leave alone.

use mail::header::Field;

/// Appends a field in relaxed form, with its CRLF: lower-case name, unfolded value, runs of blanks as one space, none at either end.
pub(super) fn field(field: &Field<'_>, to: &mut Vec<u8>) {
    to.extend(field.name.iter().map(u8::to_ascii_lowercase));
    to.push(b':');
    let start = to.len();
    let mut blank = false;
    for byte in field.value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => blank = to.len() > start,
            byte => {
                if std::mem::take(&mut blank) {
                    to.push(b' ');
                }
                to.push(*byte);
            }
        }
    }
    to.extend_from_slice(b"\r\n");
}

/// Feeds a body (CRLF line ends) in relaxed form to `sink`, in as few pieces as possible.
pub(super) fn body(body: &[u8], mut sink: impl FnMut(&[u8])) {
    // What is left of trailing lines of blanks, and of blanks at the end of the last line, is nothing.
    let Some(last) = body.iter().rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) else {
        return;
    };
    let body = &body[..=last];
    let (mut kept, mut from) = (0, 0);
    while let Some(start) = reducible(body, from) {
        // The body ends in something else, so that every run of blanks ends inside it.
        let end = body[start..]
            .iter()
            .position(|byte| !is_blank(*byte))
            .map_or(body.len(), |length| start + length);
        from = end;
        sink(&body[kept..start]);
        kept = end;
        if !body[end..].starts_with(b"\r\n") {
            sink(b" ");
        }
    }
    sink(&body[kept..]);
    sink(b"\r\n");
}

/// Feeds a body (CRLF line ends) in simple form to `sink`: without the empty lines at its end, and with a CRLF there.
pub(super) fn simple_body(body: &[u8], mut sink: impl FnMut(&[u8])) {
    let mut kept = body;
    while let Some(shorter) = kept.strip_suffix(b"\r\n") {
        kept = shorter;
    }
    sink(kept);
    sink(b"\r\n");
}

const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where, from `from` on, the first blank stands that is not a lone space inside a line. Written so that the compiler looks at many
/// octets at a time: most bodies hold a space every few octets and nothing to reduce.
fn reducible(body: &[u8], from: usize) -> Option<usize> {
    const STEP: usize = 32;
    let reduced = |byte: u8, next: u8| (byte == b'\t') | ((byte == b' ') & ((next == b' ') | (next == b'\t') | (next == b'\r')));
    let pairs = body.get(from..)?.iter().zip(body.get(from + 1..)?);
    let (mut at, mut rest) = (from, &body[from..]);
    while rest.len() > STEP {
        let (now, next) = (&rest[..STEP], &rest[1..=STEP]);
        if now
            .iter()
            .zip(next)
            .fold(false, |found, (byte, next)| found | reduced(*byte, *next))
        {
            break;
        }
        at += STEP;
        rest = &rest[STEP..];
    }
    pairs
        .skip(at - from)
        .position(|(byte, next)| reduced(*byte, *next))
        .map(|offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::header::Headers;

    fn relaxed(raw: &str) -> String {
        let mut bytes = Vec::new();
        body(raw.as_bytes(), |piece| bytes.extend_from_slice(piece));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn bodies_in_a_table() {
        for (raw, wanted) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"), // RFC 6376 §3.4.5
            ("", ""),
            ("\r\n", ""),
            (" \r\n", ""),
            ("\t\r\n \r\n\r\n", ""),
            ("hello\r\n \r\n", "hello\r\n"),
            ("hello\r\n ", "hello\r\n"),
            ("hello \t", "hello\r\n"),
            ("hello", "hello\r\n"),
            ("\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n"),
            ("  a\t\tb  c \r\n", " a b c\r\n"),
            ("a b c\r\nd e f\r\n", "a b c\r\nd e f\r\n"),
            (".\r\n..\r\n", ".\r\n..\r\n"),
        ] {
            assert_eq!(relaxed(raw), wanted, "{raw:?}");
        }
    }

    #[test]
    fn simple_bodies_in_a_table() {
        for (raw, wanted) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"), // RFC 6376 §3.4.5
            ("", "\r\n"),
            ("\r\n\r\n", "\r\n"),
            (" \r\n", " \r\n"),
            ("hello", "hello\r\n"),
            ("\r\n\r\na\r\n", "\r\n\r\na\r\n"),
        ] {
            let mut bytes = Vec::new();
            simple_body(raw.as_bytes(), |piece| bytes.extend_from_slice(piece));
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted, "{raw:?}");
        }
    }

    #[test]
    fn fields_in_a_table() {
        for (raw, wanted) in [
            ("A: X\r\n", "a:X\r\n"), // RFC 6376 §3.4.5
            ("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"),
            ("SubJect:\r\n  one\r\n\t two \r\n", "subject:one two\r\n"),
            ("To:\r\n", "to:\r\n"),
            ("To:   \r\n", "to:\r\n"),
        ] {
            let mut bytes = Vec::new();
            field(&Headers::scan(raw.as_bytes()).iter().next().unwrap(), &mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted, "{raw:?}");
        }
    }
}
