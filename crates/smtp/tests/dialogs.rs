//! Plays every conversation in `tests/dialogs/` against a real session over an in-memory stream: each written whole, and octet by octet.
//!
//! ```text
//! # a comment; the first says what the dialog proves
//! ! admitted              a setting: admitted, require-tls, tls, no-chunking, whole (not octet by octet), errors=N, messages=N, idle=N
//! C: NOOP                 the client sends a line; \r \n \0 \t \\ and \xHH are escapes; {x*100} repeats
//! C| raw                  the same without CRLF
//! S: 250 2.0.0            the next reply's last line begins so
//! S+ STARTTLS             the reply just read has this line
//! S- STARTTLS             … has no such line
//! S= closed               the server has closed
//! M: <from> <to>,<to>     the backend took this message next
//! M| content              … with this content
//! M= none                 the backend took nothing more
//! L: alice bob            who tried to log in, so far
//! ```
//! Client lines that follow each other are written at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use std::path::Path;
use std::time::Duration;

use smtp::server::Settings;
use support::{House, Served, serve_in_memory, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                let (value, octets) = match rest.as_bytes()[0] {
                    b'r' => (b'\r', 1),
                    b'n' => (b'\n', 1),
                    b't' => (b'\t', 1),
                    b'0' => (0, 1),
                    b'x' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
                    other => (other, 1),
                };
                bytes.push(value);
                rest = &rest[octets..];
            }
            '{' if rest.split_once('}').is_some_and(|(inside, _)| inside.contains('*')) => {
                let (inside, after) = rest.split_once('}').unwrap();
                let (what, times) = inside.rsplit_once('*').unwrap();
                bytes.extend(unescape(what).repeat(times.parse().unwrap()));
                rest = after;
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    bytes
}

fn set_up(text: &str) -> (House, Settings, bool) {
    let (mut house, mut settings, mut whole) = (House::default(), settings(), false);
    for option in text
        .lines()
        .filter_map(|line| line.strip_prefix("! "))
        .flat_map(str::split_whitespace)
    {
        match option.split_once('=').unwrap_or((option, "0")) {
            ("admitted", _) => house.admit_everyone = true,
            ("require-tls", _) => settings.require_tls_for_auth = true,
            ("tls", _) => settings.tls = Some(support::tls().0),
            ("no-chunking", _) => settings.chunking = false,
            ("whole", _) => whole = true,
            ("errors", count) => settings.limits.max_errors = count.parse().unwrap(),
            ("messages", count) => settings.limits.max_messages_per_connection = count.parse().unwrap(),
            ("idle", count) => settings.limits.max_idle_commands = count.parse().unwrap(),
            ("recipients", count) => settings.limits.max_recipients = count.parse().unwrap(),
            (other, _) => panic!("unknown option {other}"),
        }
    }
    (house, settings, whole)
}

struct Player {
    served: Served,
    unread: Vec<u8>,
    octet_by_octet: bool,
    taken: usize,
}

impl Player {
    async fn send(&mut self, bytes: &[u8]) {
        let pieces = if self.octet_by_octet {
            bytes.chunks(1)
        } else {
            bytes.chunks(bytes.len().max(1))
        };
        for piece in pieces {
            // A server that has closed is the next expectation's affair.
            let _ = self.served.client.write_all(piece).await;
            if self.octet_by_octet {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The next reply's lines; empty at the end.
    async fn reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                let line = String::from_utf8(line[..end].to_vec()).unwrap();
                assert!(line.len() <= 510, "G25: {line}");
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    return lines;
                }
            }
            let mut buffer = [0; 4096];
            match self.served.client.read(&mut buffer).await {
                Ok(0) | Err(_) => return lines,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

async fn play(name: &str, text: &str, octet_by_octet: bool) {
    let (house, settings, _) = set_up(text);
    let mut player = Player {
        served: serve_in_memory(house, settings),
        unread: Vec::new(),
        octet_by_octet,
        taken: 0,
    };
    let (mut pending, mut last, mut hello) = (Vec::new(), Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let at = format!(
            "{name}:{} ({})",
            number + 1,
            if octet_by_octet { "octet by octet" } else { "whole" }
        );
        let Some((sign, rest)) = line.split_at_checked(2) else { continue };
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if sign != "C:" && sign != "C|" && !pending.is_empty() {
            player.send(&std::mem::take(&mut pending)).await;
        }
        match sign {
            "C:" | "C|" => {
                pending.extend(unescape(rest));
                if sign == "C:" {
                    pending.extend(b"\r\n");
                }
                hello |= rest.starts_with("EHLO");
            }
            "S:" => {
                last = player.reply().await;
                let told = last.last().cloned().unwrap_or_else(|| "closed".to_owned());
                assert!(told.starts_with(rest), "{at}: expected {rest:?}, got {told:?}");
                // G24: after EHLO every 2xx, 4xx and 5xx but EHLO's own answer carries a code of its class.
                if hello && !told.starts_with('3') && !told.contains("ENHANCEDSTATUSCODES") && !told[4..].starts_with("mx.here.test") {
                    assert_eq!(
                        told.as_bytes()[4],
                        told.as_bytes()[0],
                        "{at}: {told:?} has no enhanced code of its class"
                    );
                }
            }
            "S+" => assert!(last.iter().any(|line| line[4..].starts_with(rest)), "{at}: {last:?} lacks {rest}"),
            "S-" => assert!(!last.iter().any(|line| line[4..].starts_with(rest)), "{at}: {last:?} has {rest}"),
            "S=" => {
                let told = player.reply().await;
                assert!(told.is_empty(), "{at}: expected the end, got {told:?}");
            }
            "M:" | "M|" => {
                let accepted = player.served.house.accepted.lock().unwrap();
                let index = if sign == "M:" { player.taken } else { player.taken - 1 };
                let (envelope, content) = accepted.get(index).unwrap_or_else(|| panic!("{at}: no such message"));
                if sign == "M:" {
                    let to: Vec<String> = envelope
                        .recipients
                        .iter()
                        .map(|recipient| format!("<{}>", recipient.address))
                        .collect();
                    assert_eq!(format!("<{}> {}", envelope.sender, to.join(",")), rest, "{at}");
                    player.taken += 1;
                } else {
                    assert_eq!(String::from_utf8_lossy(content), String::from_utf8_lossy(&unescape(rest)), "{at}");
                }
            }
            "M=" => assert_eq!(player.served.house.accepted.lock().unwrap().len(), player.taken, "{at}"),
            "L:" => assert_eq!(player.served.house.logins.lock().unwrap().join(" "), rest, "{at}"),
            "# " | "! " => {}
            _ => assert!(line.trim().is_empty() || line.starts_with('#'), "{at}: {line}"),
        }
    }
    drop(player.served.client);
    player.served.session.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_dialog_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "the dialogs are there");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{name} opens with what it proves");
        let whole_only = set_up(&text).2;
        for octet_by_octet in [false, true] {
            if octet_by_octet && whole_only {
                continue;
            }
            let played = play(&name, &text, octet_by_octet);
            tokio::time::timeout(Duration::from_secs(3600), played)
                .await
                .unwrap_or_else(|_| panic!("{name} hangs"));
        }
    }
}
