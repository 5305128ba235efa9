//! A bare SMTP connection for saying exactly these bytes.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// Speaks over any stream: a socket, TLS, an in-memory pipe.
#[derive(Debug)]
pub struct Client<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Reads nothing yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends these bytes as they are.
    ///
    /// # Panics
    /// When the peer has closed.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the peer reads");
        self.stream.flush().await.expect("the peer reads");
    }

    /// The next reply with all its lines; empty when the peer has closed.
    ///
    /// # Panics
    /// When nothing comes within [`crate::PATIENCE`].
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            let read = tokio::time::timeout(crate::PATIENCE, self.stream.read_until(b'\n', &mut line))
                .await
                .expect("a reply in time");
            if read.unwrap_or(0) == 0 {
                return reply;
            }
            reply.push_str(&String::from_utf8_lossy(&line));
            if line.get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Sends one line and reads its reply.
    pub async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// The stream, for a TLS handshake.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}
