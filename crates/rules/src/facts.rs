//! What rules can know of a message. Everything costly is found when a condition first asks, and once for all recipients.

use mail::header::{Headers, authors};
use mail::{Address, Domain, Host, ReversePath};
use std::sync::OnceLock;

use crate::attachments::has_attachments;
use crate::fold::fold;

/// Octets of one value that conditions on text look at; the rest of a longer one is not seen. Bounds what a message that consists
/// of header can cost.
pub const MAX_TEXT_OCTETS: usize = 16 * 1024;

/// How the checks of the sender came out, as the words of RFC 8601 §2.7 (`pass`, `fail`, `softfail`…). An empty word is `none`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdicts<'a> {
    /// SPF (RFC 7208).
    pub spf: &'a str,
    /// DKIM (RFC 6376): `pass` when at least one signature verifies.
    pub dkim: &'a str,
    /// DMARC (RFC 7489).
    pub dmarc: &'a str,
}

/// A message that comes in, whoever it is for.
#[derive(Debug)]
pub struct Incoming<'a> {
    raw: &'a [u8],
    headers: Headers<'a>,
    envelope_sender: &'a ReversePath,
    verdicts: Verdicts<'a>,
    senders: OnceLock<Vec<Address>>,
    sender_texts: OnceLock<Vec<Text>>,
    sender_domain_texts: OnceLock<Vec<Text>>,
    envelope_sender_texts: OnceLock<Vec<Text>>,
    fields: OnceLock<Vec<HeaderField>>,
    attachments: OnceLock<bool>,
}

#[derive(Debug)]
struct HeaderField {
    name: Box<[u8]>,
    value: Text,
}

impl<'a> Incoming<'a> {
    /// Looks at a raw message, header and body. Reads nothing yet but where the header ends.
    #[must_use]
    pub fn new(raw: &'a [u8], envelope_sender: &'a ReversePath, verdicts: Verdicts<'a>) -> Self {
        Self {
            raw,
            headers: Headers::scan(raw),
            envelope_sender,
            verdicts,
            senders: OnceLock::new(),
            sender_texts: OnceLock::new(),
            sender_domain_texts: OnceLock::new(),
            envelope_sender_texts: OnceLock::new(),
            fields: OnceLock::new(),
            attachments: OnceLock::new(),
        }
    }

    /// The facts for the evaluation for one recipient.
    #[must_use]
    pub fn to<'f>(&'f self, recipient: &'f Address) -> Facts<'f> {
        Facts {
            incoming: self,
            recipient,
            recipient_texts: OnceLock::new(),
        }
    }

    /// Who the message says it is from: the addresses in its From fields; where none can be read, the envelope's sender; empty for a
    /// bounce without one. Also what sender lists are asked about. It is a claim, which DMARC may or may not bear out.
    pub fn senders(&self) -> &[Address] {
        self.senders.get_or_init(|| {
            let mut found: Vec<Address> = self
                .headers
                .iter()
                .filter(|field| field.is("From"))
                .flat_map(|field| authors(field.value))
                .collect();
            if found.is_empty()
                && let ReversePath::Address(address) = self.envelope_sender
            {
                found.push(address.clone());
            }
            found
        })
    }

    fn fields(&self) -> &[HeaderField] {
        self.fields.get_or_init(|| {
            self.headers
                .iter()
                .filter(|field| !field.name.is_empty())
                .map(|field| {
                    // Encoded words take more room than what they say; four times as much covers base64 and most quoted forms.
                    let value = &field.value[..field.value.len().min(4 * MAX_TEXT_OCTETS)];
                    // A fold's tab is a blank to whoever reads the message.
                    let decoded = mail::header::decode(value).replace('\t', " ");
                    HeaderField {
                        name: field.name.into(),
                        value: Text::new(decoded),
                    }
                })
                .collect()
        })
    }
}

/// A message that comes in for one recipient.
#[derive(Debug)]
pub struct Facts<'a> {
    incoming: &'a Incoming<'a>,
    recipient: &'a Address,
    recipient_texts: OnceLock<Vec<Text>>,
}

impl Facts<'_> {
    /// The message.
    #[must_use]
    pub fn incoming(&self) -> &Incoming<'_> {
        self.incoming
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.incoming.raw.len() as u64
    }

    pub(crate) fn has_attachments(&self) -> bool {
        *self.incoming.attachments.get_or_init(|| has_attachments(self.incoming.raw))
    }

    pub(crate) fn verdicts(&self) -> Verdicts<'_> {
        self.incoming.verdicts
    }

    /// Does a value of the header fields of that name satisfy the test? One that is not there is one empty value.
    pub(crate) fn any_header(&self, name: &str, test: impl Fn(&Text) -> bool) -> bool {
        let mut there = false;
        for field in self.incoming.fields() {
            if field.name.eq_ignore_ascii_case(name.as_bytes()) {
                if test(&field.value) {
                    return true;
                }
                there = true;
            }
        }
        !there && test(&Text::default())
    }

    /// Each spelling of each sender, or one empty text; so with the others.
    pub(crate) fn sender_texts(&self) -> &[Text] {
        let incoming = self.incoming;
        incoming
            .sender_texts
            .get_or_init(|| or_empty(incoming.senders().iter().flat_map(address_spellings).collect()))
    }

    pub(crate) fn sender_domain_texts(&self) -> &[Text] {
        let incoming = self.incoming;
        incoming.sender_domain_texts.get_or_init(|| {
            or_empty(
                incoming
                    .senders()
                    .iter()
                    .flat_map(|address| host_spellings(address.host()))
                    .collect(),
            )
        })
    }

    pub(crate) fn envelope_sender_texts(&self) -> &[Text] {
        let incoming = self.incoming;
        incoming.envelope_sender_texts.get_or_init(|| {
            or_empty(match incoming.envelope_sender {
                ReversePath::Null => Vec::new(),
                ReversePath::Address(address) => address_spellings(address),
            })
        })
    }

    pub(crate) fn recipient_texts(&self) -> &[Text] {
        self.recipient_texts.get_or_init(|| or_empty(address_spellings(self.recipient)))
    }
}

fn or_empty(texts: Vec<String>) -> Vec<Text> {
    if texts.is_empty() {
        return vec![Text::default()];
    }
    texts.into_iter().map(Text::new).collect()
}

/// With A-labels, and with U-labels where that differs: whoever writes a rule may know either.
fn host_spellings(host: &Host) -> Vec<String> {
    let written = host.to_string();
    match host.domain().map(Domain::to_unicode) {
        Some(unicode) if unicode != written => vec![written, unicode],
        _ => vec![written],
    }
}

fn address_spellings(address: &Address) -> Vec<String> {
    let written = address.to_string();
    let before_host = written.strip_suffix(&address.host().to_string()).unwrap_or(&written);
    host_spellings(address.host())
        .iter()
        .map(|host| format!("{before_host}{host}"))
        .collect()
}

/// A text of the message, as it is and without its case.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) plain: String,
    pub(crate) folded: String,
}

impl Text {
    fn new(mut plain: String) -> Self {
        plain.truncate(plain.floor_char_boundary(MAX_TEXT_OCTETS));
        Self {
            folded: fold(&plain),
            plain,
        }
    }
}
