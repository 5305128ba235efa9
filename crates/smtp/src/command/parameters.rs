//! The parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461), AUTH (RFC 4954 §5).

use mail::quote::xtext_decode;
use mail::{ForwardPath, Notify, ReversePath};

use crate::reply::{Reply, replies};

/// BODY=.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// Said, or not said at all.
    #[default]
    SevenBit,
    /// Octets above 127 may come.
    EightBitMime,
}

/// RET=: what a failure report carries of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// What MAIL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailParameters {
    /// The reverse-path.
    pub sender: ReversePath,
    /// SIZE: octets the client expects to send; a hint, never trusted.
    pub size: Option<u64>,
    /// BODY.
    pub body: Body,
    /// SMTPUTF8 was declared.
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, decoded.
    pub envelope_id: Option<String>,
    /// How many parameters were given: a session that said HELO may give none.
    pub(crate) extended: bool,
}

/// What RCPT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientParameters {
    /// The forward-path.
    pub recipient: ForwardPath,
    /// The path was written with characters beyond ASCII.
    pub beyond_ascii: bool,
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT, decoded, with its type: `rfc822;someone@example.org`.
    pub original_recipient: Option<String>,
}

impl MailParameters {
    pub(super) fn parse(text: &str) -> Result<Self, Reply> {
        let mut parsed = Self {
            sender: ReversePath::Null,
            size: None,
            body: Body::SevenBit,
            smtputf8: false,
            ret: None,
            envelope_id: None,
            extended: false,
        };
        let mut seen = Seen::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
            let keyword_is = |name: &str| keyword.eq_ignore_ascii_case(name);
            if keyword_is("SIZE") {
                seen.once(1)?;
                parsed.size = Some(size(value)?);
            } else if keyword_is("BODY") {
                seen.once(2)?;
                parsed.body = body(value)?;
            } else if keyword_is("SMTPUTF8") {
                seen.once(4)?;
                if value.is_some() {
                    return Err(replies::BAD_PARAMETER);
                }
                parsed.smtputf8 = true;
            } else if keyword_is("RET") {
                seen.once(8)?;
                parsed.ret = Some(match value {
                    Some(value) if value.eq_ignore_ascii_case("FULL") => Return::Full,
                    Some(value) if value.eq_ignore_ascii_case("HDRS") => Return::Headers,
                    _ => return Err(replies::BAD_PARAMETER),
                });
            } else if keyword_is("ENVID") {
                seen.once(16)?;
                let value = value
                    .filter(|value| !value.is_empty() && value.len() <= 100)
                    .ok_or(replies::BAD_PARAMETER)?;
                parsed.envelope_id = Some(xtext_decode(value).map_err(|_| replies::BAD_PARAMETER)?);
            } else if keyword_is("AUTH") {
                // RFC 4954 §5: whom another server believes to have logged in. Checked for form and otherwise ignored: it proves nothing.
                seen.once(32)?;
                let value = value
                    .filter(|value| !value.is_empty() && value.len() <= 500)
                    .ok_or(replies::BAD_PARAMETER)?;
                xtext_decode(value).map_err(|_| replies::BAD_PARAMETER)?;
            } else {
                return Err(replies::UNKNOWN_PARAMETER);
            }
        }
        parsed.extended = seen.0 != 0;
        Ok(parsed)
    }
}

impl RecipientParameters {
    pub(super) fn parse(recipient: ForwardPath, beyond_ascii: bool, text: &str) -> Result<Self, Reply> {
        let mut parsed = Self {
            recipient,
            beyond_ascii,
            notify: None,
            original_recipient: None,
        };
        let mut seen = Seen::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
            if keyword.eq_ignore_ascii_case("NOTIFY") {
                seen.once(1)?;
                let value = value.ok_or(replies::BAD_PARAMETER)?;
                parsed.notify = Some(Notify::parse(value).map_err(|_| {
                    let never = value.split(',').any(|word| word.eq_ignore_ascii_case("NEVER"));
                    if never {
                        replies::NOTIFY_NEVER_ALONE
                    } else {
                        replies::BAD_PARAMETER
                    }
                })?);
            } else if keyword.eq_ignore_ascii_case("ORCPT") {
                seen.once(2)?;
                parsed.original_recipient = Some(value.and_then(original_recipient).ok_or(replies::BAD_PARAMETER)?);
            } else {
                return Err(replies::UNKNOWN_PARAMETER);
            }
        }
        Ok(parsed)
    }
}

/// Which parameters have been given.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn once(&mut self, bit: u8) -> Result<(), Reply> {
        if self.0 & bit != 0 {
            return Err(replies::DUPLICATE_PARAMETER);
        }
        self.0 |= bit;
        Ok(())
    }
}

/// RFC 1870 §3: up to twenty digits. A number that is well formed and beyond our reach is too big, not malformed, when it fits in 64 bits.
fn size(value: Option<&str>) -> Result<u64, Reply> {
    let value = value.filter(|value| matches!(value.len(), 1..=20) && value.bytes().all(|byte| byte.is_ascii_digit()));
    value.and_then(|value| value.parse().ok()).ok_or(replies::BAD_PARAMETER)
}

/// BINARYMIME is not offered (RFC 3030 §3): a value that this server does not implement.
fn body(value: Option<&str>) -> Result<Body, Reply> {
    match value {
        Some(value) if value.eq_ignore_ascii_case("7BIT") => Ok(Body::SevenBit),
        Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Ok(Body::EightBitMime),
        Some(value) if value.eq_ignore_ascii_case("BINARYMIME") => Err(replies::UNKNOWN_PARAMETER),
        _ => Err(replies::BAD_PARAMETER),
    }
}

/// `type;xtext`, at most 500 octets (RFC 3461 §4.2). The type is an atom such as `rfc822` or `utf-8`.
fn original_recipient(value: &str) -> Option<String> {
    if value.len() > 500 {
        return None;
    }
    let (kind, address) = value.split_once(';')?;
    let atom = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !atom || address.is_empty() {
        return None;
    }
    // RFC 6533 §3: in a session with SMTPUTF8 the address may stand there as UTF-8.
    let decoded = if address.is_ascii() {
        xtext_decode(address).ok()?
    } else {
        (kind.eq_ignore_ascii_case("utf-8") && !address.chars().any(char::is_control)).then(|| address.to_owned())?
    };
    Some(format!("{kind};{decoded}"))
}
