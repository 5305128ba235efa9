//! G32: whatever bytes come, in whatever state of the session, it neither panics nor hangs, and every answer is a well-formed reply.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{House, serve_in_memory, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The four states in which a stranger's bytes may arrive.
const STATES: [&str; 4] = [
    "",
    "EHLO client.test\r\n",
    "EHLO client.test\r\nMAIL FROM:<a@other.test>\r\nRCPT TO:<bob@here.test>\r\n",
    "EHLO client.test\r\nMAIL FROM:<a@other.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "EHLO x",
        "HELO x",
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<bob@here.test>",
        "DATA",
        "BDAT 3 LAST",
        "BDAT 2",
        "RSET",
        "NOOP",
        "QUIT",
        "AUTH PLAIN",
        "AUTH LOGIN",
        "AGFsaWNlAHNlY3JldA==",
        "*",
        ".",
        "..",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "VRFY x",
        "STARTTLS",
        "<",
        ">",
        " SIZE=1",
        "\"",
        "ü",
    ];
    prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        8 => Just(b"\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_in_any_state_get_replies_or_an_end(state in 0..STATES.len(), pieces in prop::collection::vec(piece(), 0..40), cut in any::<prop::sample::Index>()) {
        let bytes = pieces.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let said = runtime.block_on(async {
            let mut served = serve_in_memory(House::default(), settings());
            let mut said = vec![0; 512];
            let count = served.client.read(&mut said).await.unwrap();
            said.truncate(count);
            let at = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
            for part in [STATES[state].as_bytes(), &bytes[..at], &bytes[at..]] {
                let _ = served.client.write_all(part).await;
                for _ in 0..5 { tokio::task::yield_now().await; }
            }
            let _ = served.client.shutdown().await;
            tokio::time::timeout(Duration::from_secs(900), served.client.read_to_end(&mut said)).await.unwrap().unwrap();
            served.session.await.unwrap();
            said
        });
        let said = String::from_utf8(said).unwrap();
        for line in said.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510 && line.is_ascii() && line.as_bytes()[..3].iter().all(u8::is_ascii_digit), "{line:?}");
            prop_assert!(!line.contains(['\r', '\n', '\0']));
        }
    }
}
