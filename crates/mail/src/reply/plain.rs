//! A word as a reader's program understands it: in lower case, percent escapes and HTML character references undone, what is invisible left
//! out.

/// A word spelled out, and where each of its octets came from.
pub(super) struct Plain {
    pub(super) text: String,
    /// For each octet of the text, where in the word it begins…
    pub(super) from: Vec<usize>,
    /// …and ends.
    pub(super) to: Vec<usize>,
    /// How many of the octets before this one came from percent escapes.
    escapes: Vec<usize>,
}

impl Plain {
    pub(super) fn of(word: &str) -> Self {
        let mut plain = Self {
            text: String::with_capacity(word.len()),
            from: Vec::with_capacity(word.len()),
            to: Vec::with_capacity(word.len()),
            escapes: Vec::with_capacity(word.len() + 1),
        };
        plain.escapes.push(0);
        let mut at = 0;
        while let Some(character) = word[at..].chars().next() {
            let rest = &word[at..];
            let (read, length, escaped) = match character {
                '%' => percent(rest).map_or((Some('%'), 1, false), |(read, length)| (Some(read), length, true)),
                '&' => reference(rest).map_or((Some('&'), 1, false), |(read, length)| (Some(read), length, false)),
                // What quoted-printable left behind, as in contacts of old and in sources quoted as text.
                '=' if rest.starts_with("=40") => (Some('@'), 3, false),
                '<' => match word_break(rest) {
                    Some(length) => (None, length, false),
                    None => (Some('<'), 1, false),
                },
                other => (Some(other), other.len_utf8(), false),
            };
            for read in read.and_then(visible).into_iter().flat_map(char::to_lowercase) {
                plain.text.push(read);
                for _ in 0..read.len_utf8() {
                    plain.from.push(at);
                    plain.to.push(at + length);
                    plain
                        .escapes
                        .push(plain.escapes.last().copied().unwrap_or_default() + usize::from(escaped));
                }
            }
            at += length;
        }
        plain
    }

    /// Did any of these octets come from a percent escape?
    pub(super) fn escaped(&self, from: usize, to: usize) -> bool {
        self.escapes[to] > self.escapes[from]
    }
}

/// Without what is not seen, and with the other full stops and at signs as ours (UTS 46).
fn visible(character: char) -> Option<char> {
    match character {
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => None,
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => Some('.'),
        '\u{ff20}' | '\u{fe6b}' => Some('@'),
        control if control.is_control() => Some(' '),
        other => Some(other),
    }
}

/// `%40`, `%2540` and so on, and UTF-8 in escapes.
fn percent(text: &str) -> Option<(char, usize)> {
    let (first, mut length) = escaped_octet(text.as_bytes())?;
    if first.is_ascii() {
        return Some((char::from(first), length));
    }
    let mut octets = vec![first];
    while octets.len() < 4 {
        if let Ok(read) = std::str::from_utf8(&octets) {
            return read.chars().next().map(|read| (read, length));
        }
        let (next, more) = escaped_octet(&text.as_bytes()[length..])?;
        octets.push(next);
        length += more;
    }
    std::str::from_utf8(&octets).ok()?.chars().next().map(|read| (read, length))
}

fn escaped_octet(bytes: &[u8]) -> Option<(u8, usize)> {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    if bytes.first() != Some(&b'%') {
        return None;
    }
    let mut at = 1;
    // An escape that was escaped again, as links within links are.
    while bytes.get(at..at + 2) == Some(b"25") && digit(at + 2).is_some() && digit(at + 3).is_some() {
        at += 2;
    }
    // Two hexadecimal digits make at most 255.
    Some(((digit(at)? * 16 + digit(at + 1)?) as u8, at + 2))
}

/// An HTML character reference, by number or one of the names that can stand in an address.
fn reference(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 14] = [
        ("commat;", '@'),
        ("period;", '.'),
        ("plus;", '+'),
        ("lowbar;", '_'),
        ("hyphen;", '-'),
        ("dash;", '-'),
        ("shy;", '\u{ad}'),
        ("zwnj;", '\u{200c}'),
        ("zwj;", '\u{200d}'),
        ("equals;", '='),
        ("colon;", ':'),
        ("nbsp;", ' '),
        ("lt;", '<'),
        ("gt;", '>'),
    ];
    let body = text.strip_prefix('&')?;
    let Some(number) = body.strip_prefix('#') else {
        return NAMES
            .iter()
            .find(|(name, _)| body.starts_with(name))
            .map(|(name, read)| (*read, 1 + name.len()));
    };
    let (digits, radix, prefix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 3),
        None => (number, 10, 2),
    };
    let count = digits.chars().take(16).take_while(|digit| digit.is_digit(radix)).count();
    let read = char::from_u32(u32::from_str_radix(&digits[..count], radix).ok()?)?;
    Some((read, prefix + count + usize::from(digits[count..].starts_with(';'))))
}

/// `<wbr>`: a place where a line may be broken.
fn word_break(text: &str) -> Option<usize> {
    let tag = text.get(..4).filter(|tag| tag.eq_ignore_ascii_case("<wbr"))?;
    let rest = &text[tag.len()..];
    [">", "/>"]
        .iter()
        .find(|end| rest.starts_with(**end))
        .map(|end| tag.len() + end.len())
}
