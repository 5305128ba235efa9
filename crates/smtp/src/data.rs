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
mod tests;
