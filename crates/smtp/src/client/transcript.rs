//! The conversation as text, for people: bounded, without the message's content, without secrets.

/// Octets kept; what comes later is counted, not kept.
const MAX_OCTETS: usize = 16 * 1024;
/// Octets kept of one line.
const MAX_LINE_OCTETS: usize = 600;

/// Lines beginning with `>` (sent), `<` (received) or `*` (what happened otherwise).
#[derive(Debug, Default)]
pub(super) struct Transcript {
    text: String,
    dropped_lines: usize,
}

impl Transcript {
    /// Commands of ours: a line, or several with their CRLFs.
    pub(super) fn sent(&mut self, commands: &[u8]) {
        for line in commands.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.line('>', line);
        }
    }

    /// A line of the peer.
    pub(super) fn received(&mut self, line: &[u8]) {
        self.line('<', line);
    }

    /// What happened without words on the wire.
    pub(super) fn note(&mut self, text: &str) {
        self.line('*', text.as_bytes());
    }

    fn line(&mut self, sign: char, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = &line[..line.len().min(MAX_LINE_OCTETS)];
        if self.text.len() + line.len() + 3 > MAX_OCTETS {
            self.dropped_lines += 1;
            return;
        }
        self.text.push(sign);
        self.text.push(' ');
        match std::str::from_utf8(line) {
            Ok(line) if !line.bytes().any(|byte| byte.is_ascii_control()) => self.text.push_str(line),
            _ => self.text.extend(
                String::from_utf8_lossy(line)
                    .chars()
                    .map(|character| if character.is_control() { '?' } else { character }),
            ),
        }
        self.text.push('\n');
    }

    /// Hands over what was written since the last time.
    pub(super) fn take(&mut self) -> String {
        if self.dropped_lines > 0 {
            self.text.push_str(&format!("* {} more lines\n", self.dropped_lines));
            self.dropped_lines = 0;
        }
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_readable_and_bounded() {
        let mut transcript = Transcript::default();
        transcript.sent(b"MAIL FROM:<a@b.test>\r\nDATA\r\n");
        transcript.received(b"250 o\x1bk\r\n");
        assert_eq!(transcript.take(), "> MAIL FROM:<a@b.test>\n> DATA\n< 250 o?k\n");
        for _ in 0..10_000 {
            transcript.received(b"250 again");
        }
        let text = transcript.take();
        assert!(text.len() < MAX_OCTETS + 40 && text.ends_with("more lines\n"));
        assert_eq!(transcript.take(), "");
    }
}
