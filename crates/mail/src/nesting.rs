//! How deep MIME parts lie inside each other (ASSURANCE G29).
//!
//! A message may be a chain of a thousand parts, each in the former: nobody writes that, and programs behind us have crashed on it. An
//! ordinary message costs one vectorised search; only one that names many boundaries or attached messages is followed line by line.

use std::collections::HashMap;

use memchr::{memchr, memchr2_iter};

use crate::mime;

/// Levels that pass.
pub(crate) const MOST_LEVELS: usize = 100;

/// Whether parts lie more than [`MOST_LEVELS`] deep.
pub(crate) fn is_too_deep(raw: &[u8]) -> bool {
    could_be(raw) && Walk::default().goes_too_deep(raw)
}

/// Each level takes a `boundary=` or a `message/…`.
fn could_be(raw: &[u8]) -> bool {
    let named = |at: usize, name: &[u8]| at >= name.len() && raw[at - name.len()..at].eq_ignore_ascii_case(name);
    memchr2_iter(b'=', b'/', raw)
        .filter(|at| named(*at, if raw[*at] == b'=' { b"boundary" } else { b"message" }))
        .nth(MOST_LEVELS)
        .is_some()
}

/// Where in the structure a line is.
#[derive(Default)]
struct Walk {
    /// The boundary of each level around us; `None` for an attached message, which ends with the part it is.
    levels: Vec<Option<Vec<u8>>>,
    /// At which level a boundary was opened.
    opened: HashMap<Vec<u8>, usize>,
    /// The Content-Type field of the header section we are in, as far as it has been seen.
    content_type: Vec<u8>,
    in_content_type: bool,
}

impl Walk {
    fn goes_too_deep(&mut self, raw: &[u8]) -> bool {
        let mut rest = raw;
        let mut in_header = true;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = rest[..end].trim_ascii_end();
            rest = &rest[end..];
            if line.starts_with(b"--")
                && let Some(begins) = self.boundary(&line[2..])
            {
                in_header = begins;
            } else if in_header && line.is_empty() {
                in_header = self.header_ended();
                if self.levels.len() > MOST_LEVELS {
                    return true;
                }
            } else if in_header {
                self.header_line(line);
            }
        }
        false
    }

    /// Goes back to the level of a boundary that is open. Gives whether a part begins here; `None`: no boundary of ours.
    fn boundary(&mut self, text: &[u8]) -> Option<bool> {
        let (level, begins) = match self.opened.get(text) {
            Some(level) => (*level, true),
            None => (*self.opened.get(text.strip_suffix(b"--")?)?, false),
        };
        for left in self.levels.drain(if begins { level + 1 } else { level }..).flatten() {
            self.opened.remove(&left);
        }
        self.content_type.clear();
        self.in_content_type = false;
        Some(begins)
    }

    fn header_line(&mut self, line: &[u8]) {
        const NAME: &[u8] = b"content-type:";
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if !folded {
            let named = line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
            self.in_content_type = named && self.content_type.is_empty();
        }
        if self.in_content_type {
            self.content_type.extend_from_slice(if folded { line } else { &line[NAME.len()..] });
        }
    }

    /// Enters what the header section announced. Gives whether another header section follows.
    fn header_ended(&mut self) -> bool {
        let declared = std::mem::take(&mut self.content_type);
        self.in_content_type = false;
        let declared = String::from_utf8_lossy(&declared);
        let (kind, parameters) = declared.split_once(';').unwrap_or((&declared, ""));
        let kind = kind.trim().to_ascii_lowercase();
        if kind.starts_with("message/") {
            self.levels.push(None);
            return true;
        }
        if kind.starts_with("multipart/")
            && let Some(boundary) = mime::parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
        {
            let boundary = boundary.into_bytes();
            self.opened.insert(boundary.clone(), self.levels.len());
            self.levels.push(Some(boundary));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiparts(levels: usize) -> String {
        let level = |n: usize| format!("Content-Type: multipart/mixed;\r\n\tBoundary=\"b {n}\"\r\n\r\npreamble\r\n--b {n}\r\n");
        (0..levels).map(level).collect::<String>() + "\r\ntext\r\n"
    }

    #[test]
    fn g29_a_thousand_levels_are_too_deep_and_a_hundred_are_not() {
        assert!(is_too_deep(multiparts(1000).as_bytes()));
        assert!(is_too_deep(multiparts(101).as_bytes()));
        assert!(!is_too_deep(multiparts(100).as_bytes()));
        assert!(is_too_deep("Content-Type: message/rfc822\r\n\r\n".repeat(1000).as_bytes()));
    }

    #[test]
    fn many_parts_beside_each_other_are_not_deep() {
        let part = |n: usize| format!("--a\r\nContent-Type: multipart/alternative; boundary=x{n}\r\n\r\n--x{n}\r\n\r\none\r\n--x{n}--\r\n");
        let attached = "--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ntext\r\n";
        let raw = format!(
            "Content-Type: multipart/mixed; boundary=a\r\n\r\n{}{}--a--\r\n",
            (0..500).map(part).collect::<String>(),
            attached.repeat(500)
        );
        assert!(could_be(raw.as_bytes()) && !is_too_deep(raw.as_bytes()));
        assert!(!is_too_deep("text about boundary= and message/\r\n".repeat(500).as_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_the_walk_panic(lines in proptest::collection::vec("(--)?(a|b)(--)?|Content-Type: (multipart|message)/x; boundary=(a|b)| ;|", 0..40)) {
            Walk::default().goes_too_deep(lines.join("\r\n").as_bytes());
        }
    }
}
