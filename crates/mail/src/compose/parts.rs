//! The MIME structure of a composed message.
//!
//! ```text
//! mixed                       when files are attached
//!   related                   when files belong to the HTML
//!     alternative             when there is text and HTML
//!       text/plain, text/html
//!     inline files
//!   attached files
//! ```

use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use sha2::{Digest, Sha256};

use super::{Attachment, Draft};
use crate::quote::quoted_printable;

/// Writes the fields of MIME, the empty line and the body.
pub(super) fn write(draft: &Draft, message: &mut Vec<u8>) {
    let mut boundaries = Boundaries::of(&draft.message_id);
    let inline = |attachment: &&Attachment| draft.html.is_some() && attachment.content_id.is_some();
    let (mut body, kind) = match (&draft.text, &draft.html) {
        (Some(text), Some(html)) => {
            let parts = vec![text_part("text/plain", text), text_part("text/html", html)];
            (boundaries.multipart("multipart/alternative", None, parts), "multipart/alternative")
        }
        (None, Some(html)) => (text_part("text/html", html), "text/html"),
        (text, None) => (text_part("text/plain", text.as_deref().unwrap_or_default()), "text/plain"),
    };
    let shown: Vec<_> = draft
        .attachments
        .iter()
        .filter(inline)
        .map(|attachment| file(attachment, "inline"))
        .collect();
    if !shown.is_empty() {
        body = boundaries.multipart("multipart/related", Some(kind), std::iter::once(body).chain(shown).collect());
    }
    let attached: Vec<_> = draft
        .attachments
        .iter()
        .filter(|attachment| !inline(attachment))
        .map(|attachment| file(attachment, "attachment"))
        .collect();
    if !attached.is_empty() {
        body = boundaries.multipart("multipart/mixed", None, std::iter::once(body).chain(attached).collect());
    }
    body.write_part(message);
    if !message.ends_with(b"\r\n") {
        message.extend_from_slice(b"\r\n");
    }
}

/// A size to reserve: base64 and its line ends add somewhat more than a third.
pub(super) fn estimated_octets(draft: &Draft) -> usize {
    let files: usize = draft
        .attachments
        .iter()
        .map(|attachment| attachment.content.len() * 7 / 5 + 512)
        .sum();
    let texts: usize = [&draft.text, &draft.html]
        .into_iter()
        .flatten()
        .map(|text| text.len() * 6 / 5 + 256)
        .sum();
    files + texts
}

/// Boundaries follow from the Message-ID: the same draft gives the same octets. `=_` cannot occur in base64 or quoted-printable, and
/// nothing else is written, so no body can contain one.
struct Boundaries {
    seed: String,
    made: u8,
}

impl Boundaries {
    fn of(message_id: &str) -> Self {
        let seed = Sha256::digest(message_id.as_bytes())[..12]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        Self { seed, made: 0 }
    }

    /// `root`: the type of the part that the others belong to, which multipart/related has to name (RFC 2387 §3.1).
    fn multipart<'a>(&mut self, kind: &'a str, root: Option<&'a str>, parts: Vec<MimePart<'a>>) -> MimePart<'a> {
        self.made += 1;
        let mut content_type = ContentType::new(kind).attribute("boundary", format!("=_{}_{}", self.seed, self.made));
        if let Some(root) = root {
            content_type = content_type.attribute("type", root);
        }
        MimePart::new(content_type, parts)
    }
}

fn text_part<'a>(kind: &'a str, text: &str) -> MimePart<'a> {
    let mut encoded = quoted_printable(text.replace("\r\n", "\n").replace('\r', "\n"));
    if !encoded.ends_with("\r\n") {
        encoded.push_str("\r\n");
    }
    MimePart::new(ContentType::new(kind).attribute("charset", "utf-8"), encoded).transfer_encoding("quoted-printable")
}

fn file<'a>(attachment: &'a Attachment, disposition: &'a str) -> MimePart<'a> {
    let given = attachment.content_type.as_deref().and_then(content_type);
    let kind = given.unwrap_or_else(|| ContentType::new("application/octet-stream"));
    let mut shown = ContentType::new(disposition);
    if let Some(name) = attachment.filename.as_deref().filter(|name| !name.is_empty()) {
        shown = shown.attribute("filename", name);
    }
    let part = MimePart::new(kind, attachment.content.as_slice()).header("Content-Disposition", shown);
    match &attachment.content_id {
        Some(id) => part.header("Content-ID", Text::new(format!("<{}>", bare_content_id(id)))),
        None => part,
    }
}

/// The id without the angle brackets it may have been given with.
pub(super) fn bare_content_id(id: &str) -> &str {
    id.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(id)
}

/// Reads `type/subtype; name=value; …` (RFC 2045 §5.1). `None`: not of that form.
pub(super) fn content_type(text: &str) -> Option<ContentType<'static>> {
    if text.len() > 500 || !text.chars().all(|character| matches!(character, ' '..='~')) {
        return None;
    }
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (main, sub) = kind.trim().split_once('/')?;
    if !is_token(main) || !is_token(sub) {
        return None;
    }
    let mut parsed = ContentType::new(format!("{main}/{sub}").to_ascii_lowercase());
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        if !is_token(name) || value.is_empty() || value.contains(['"', '\\']) {
            return None;
        }
        parsed = parsed.attribute(name.to_ascii_lowercase(), value.to_owned());
    }
    Some(parsed)
}

/// RFC 2045 §5.1 `token`.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}
