//! Content-Type and Content-Disposition: a value and parameters, which may be encoded and cut into pieces (RFC 2231).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::{cleaned_text, whole};
use super::replace::Replacements;
use crate::header::{Field, decode, to_text, unfold};
use crate::mime::parameters;

/// Parameters that are read; more have no meaning.
const MAX_PARAMETERS: usize = 100;

/// The field's value, read.
#[derive(Debug)]
pub(super) struct Parameters {
    /// What stands before the first semicolon.
    pub(super) value: String,
    /// Names in lower case without their marks, values decoded and put together.
    list: Vec<(String, String)>,
    amended: bool,
}

impl Parameters {
    pub(super) fn new(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            list: Vec::new(),
            amended: true,
        }
    }

    pub(super) fn read(value: &[u8]) -> Self {
        let text = unfold(value);
        let (value, rest) = text.split_once(';').unwrap_or((&text, ""));
        let mut pieces: Vec<Piece> = parameters(rest).take(MAX_PARAMETERS).map(Piece::of).collect();
        // Stable: pieces without a number keep their order.
        pieces.sort_by_key(|piece| piece.number);
        let mut list: Vec<(String, Vec<u8>, Option<String>)> = Vec::new();
        for piece in pieces {
            match list.iter_mut().find(|(name, ..)| *name == piece.name) {
                Some((_, octets, _)) if piece.number > 0 => octets.extend(piece.octets),
                Some(_) => {}
                None => list.push((piece.name, piece.octets, piece.charset)),
            }
        }
        Self {
            value: value.trim().to_owned(),
            list: list
                .into_iter()
                .map(|(name, octets, charset)| {
                    let text = to_text(charset.as_deref().unwrap_or("utf-8"), &octets);
                    // Many programs write encoded words here, though RFC 2047 §5 forbids it.
                    let text = if text.contains("=?") { decode(text.as_bytes()) } else { text };
                    (name, text)
                })
                .collect(),
            amended: false,
        }
    }

    pub(super) fn get(&self, wanted: &str) -> Option<&str> {
        self.list.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, wanted: &str, value: &str) {
        self.amended = true;
        self.list.retain(|(name, _)| name != wanted);
        self.list.push((wanted.to_owned(), value.to_owned()));
    }

    /// The field as it stands where nothing is to be changed, otherwise written anew.
    pub(super) fn write(&self, field: &Field<'_>, replacements: &Replacements) -> Vec<u8> {
        let shows = |text: &str| matches!(replacements.text(text), Cow::Owned(_));
        if !self.amended && cleaned_text(field.value, replacements).is_none() && !self.list.iter().any(|(_, value)| shows(value)) {
            return whole(field);
        }
        self.rewritten(&String::from_utf8_lossy(field.name), replacements).into_bytes()
    }

    /// The field written anew.
    pub(super) fn rewritten(&self, name: &str, replacements: &Replacements) -> String {
        let value: String = replacements
            .text(&self.value)
            .chars()
            .filter(|character| character.is_ascii_graphic())
            .take(200)
            .collect();
        let mut written = format!("{name}: {value}");
        for (name, value) in &self.list {
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
                || name.len() > 60
            {
                continue;
            }
            let value: String = replacements
                .text(value)
                .chars()
                .filter(|character| !character.is_control())
                .collect();
            if value.is_ascii() && value.len() <= 800 {
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                written.push_str(&format!(";\r\n\t{name}=\"{quoted}\""));
            } else {
                // An encoded word is what all programs read; file names longer than this have no reader.
                let short = &value[..value.floor_char_boundary(180)];
                written.push_str(&format!(";\r\n\t{name}=\"=?UTF-8?B?{}?=\"", STANDARD.encode(short)));
            }
        }
        written.push_str("\r\n");
        written
    }
}

/// One parameter as it is written: `name*2*=…`.
struct Piece {
    name: String,
    number: u16,
    octets: Vec<u8>,
    charset: Option<String>,
}

impl Piece {
    fn of((name, value): (&str, String)) -> Self {
        let lower = name.to_ascii_lowercase();
        let mut marks = lower.split('*');
        let name = marks.next().unwrap_or_default().to_owned();
        let number = marks.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        if !lower.ends_with('*') {
            return Self {
                name,
                number,
                octets: value.into_bytes(),
                charset: None,
            };
        }
        let mut charset = None;
        let mut encoded = value.as_str();
        // `charset'language'text` in the first piece.
        if number == 0
            && let Some((given, rest)) = value.split_once('\'')
            && let Some((_, rest)) = rest.split_once('\'')
        {
            charset = Some(given.to_owned()).filter(|given| !given.is_empty());
            encoded = rest;
        }
        Self {
            name,
            number,
            octets: unescape(encoded),
            charset,
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut octets = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            // Two hexadecimal digits make at most 255.
            (b'%', Some(high), Some(low)) => {
                octets.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                octets.push(byte);
                at += 1;
            }
        }
    }
    octets
}
