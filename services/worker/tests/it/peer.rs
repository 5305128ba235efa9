//! A server without any manners of its own: it says what its script says, holds answers back, and hangs up in the middle.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

/// What it does next.
pub(crate) enum Say {
    /// These lines, CRLF added.
    Line(&'static str),
    /// The same, then it hangs up.
    Last(&'static str),
    /// The same, each octet in a segment of its own.
    Slowly(&'static str),
}

type Script = dyn Fn(usize, &str) -> Say + Send + Sync;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The answer to a message's content takes one permit.
    pub(crate) gate: Arc<Semaphore>,
    connections: Arc<AtomicUsize>,
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server without extensions says; the connection's number and the line (`CONNECT`, `DOT` for the moments without one).
pub(crate) fn usual(line: &str) -> Say {
    Say::Line(match line {
        "CONNECT" => "220 peer.test",
        "DATA" => "354 go on",
        "DOT" => "250 2.0.0 ok",
        "QUIT" => return Say::Last("221 bye"),
        _ => "250 ok",
    })
}

impl Peer {
    pub(crate) async fn at(address: SocketAddr, script: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let gate = Arc::new(Semaphore::new(1_000_000));
        let connections = Arc::new(AtomicUsize::new(0));
        let messages = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let shared = (Arc::clone(&gate), Arc::clone(&connections), Arc::clone(&messages));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = shared.1.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(talk(
                    stream,
                    number,
                    Arc::clone(&script),
                    Arc::clone(&shared.0),
                    Arc::clone(&shared.2),
                ));
            }
        });
        Self {
            address,
            gate,
            connections,
            messages,
            task,
        }
    }

    pub(crate) async fn start(script: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), script).await
    }

    /// Everything is taken, but no answer to a message's content is given before the gate has a permit for it.
    pub(crate) async fn gated(address: SocketAddr) -> Self {
        let peer = Self::at(address, |_, line| usual(line)).await;
        peer.gate.forget_permits(usize::MAX);
        peer
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The contents that came completely, whatever was said to them.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        self.messages.lock().unwrap().clone()
    }

    pub(crate) async fn wait(&self, count: usize) -> Vec<Vec<u8>> {
        testkit::eventually("contents at the peer", || async {
            Some(self.messages()).filter(|messages| messages.len() >= count)
        })
        .await
    }
}

async fn talk(stream: TcpStream, number: usize, script: Arc<Script>, gate: Arc<Semaphore>, messages: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut stream = BufReader::new(stream);
    let mut line = "CONNECT".to_owned();
    loop {
        let (words, goes_on) = match script(number, &line) {
            Say::Line(words) => (words, say(&mut stream, words).await),
            Say::Last(words) => {
                say(&mut stream, words).await;
                return;
            }
            Say::Slowly(words) => (words, spell(&mut stream, words).await),
        };
        if !goes_on {
            return;
        }
        if line == "DATA" && words.starts_with("354") {
            let mut content = Vec::new();
            while !content.ends_with(b"\r\n.\r\n") && content != b".\r\n" {
                if stream.read_until(b'\n', &mut content).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            messages.lock().unwrap().push(content);
            gate.acquire().await.unwrap().forget();
            line = "DOT".to_owned();
            continue;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        line.truncate(line.trim_end().len());
    }
}

async fn say(stream: &mut BufReader<TcpStream>, words: &str) -> bool {
    stream.write_all(format!("{words}\r\n").as_bytes()).await.is_ok()
}

async fn spell(stream: &mut BufReader<TcpStream>, words: &str) -> bool {
    let _ = stream.get_ref().set_nodelay(true);
    for octet in format!("{words}\r\n").bytes() {
        if stream.write_all(&[octet]).await.is_err() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}
