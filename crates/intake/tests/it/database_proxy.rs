//! A way to PostgreSQL that can be shut, and that can swallow the answer to a COMMIT.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use store::PgPool;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What becomes of the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is carried out; the connection ends before the answer.
    CarriedOut,
    /// It is carried out; the answer is that an administrator ended the connection.
    CarriedOutAndTerminated,
    /// It never arrives; the connection ends.
    Lost,
}

struct State {
    open: bool,
    next: Fate,
    connections: Vec<tokio::task::AbortHandle>,
}

pub(crate) struct DatabaseProxy {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for DatabaseProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shut();
    }
}

impl DatabaseProxy {
    pub(crate) async fn start(pool: &PgPool) -> Self {
        let options = pool.connect_options();
        let target = format!("{}:{}", options.get_host(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            open: true,
            next: Fate::Answered,
            connections: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut state = shared.lock().unwrap();
                if state.open {
                    let passing = tokio::spawn(pass(client, target.clone(), Arc::clone(&shared)));
                    state.connections.push(passing.abort_handle());
                }
            }
        });
        Self { state, address, task }
    }

    /// A pool that goes this way and gives up soon.
    pub(crate) fn pool(&self, pool: &PgPool) -> PgPool {
        let options: PgConnectOptions = (*pool.connect_options()).clone();
        let options = options.host("127.0.0.1").port(self.address.port()).ssl_mode(PgSslMode::Disable);
        PgPoolOptions::new()
            .max_connections(5)
            .acquire_timeout(Duration::from_millis(500))
            .connect_lazy_with(options)
    }

    /// Cuts every connection and takes no new one.
    pub(crate) fn shut(&self) {
        let mut state = self.state.lock().unwrap();
        state.open = false;
        state.connections.drain(..).for_each(|connection| connection.abort());
    }

    pub(crate) fn reopen(&self) {
        self.state.lock().unwrap().open = true;
    }

    pub(crate) fn next_commit(&self, fate: Fate) {
        self.state.lock().unwrap().next = fate;
    }

    /// Whether the COMMIT that was waited for has come.
    pub(crate) fn is_spent(&self) -> bool {
        self.state.lock().unwrap().next == Fate::Answered
    }
}

async fn pass(client: TcpStream, target: String, state: Arc<Mutex<State>>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The startup message has no type.
    let Some(startup) = frame(&mut from_client, false).await else {
        return;
    };
    if to_server.write_all(&startup).await.is_err() {
        return;
    }
    let hold = tokio::sync::watch::channel(false);
    let answers = async {
        let mut buffer = [0; 4096];
        loop {
            match from_server.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if *hold.1.borrow() => {
                    hold.0.send_replace(false); // the answer to the COMMIT: it has been carried out
                    return;
                }
                Ok(read) if to_client.write_all(&buffer[..read]).await.is_ok() => {}
                Ok(_) => return,
            }
        }
    };
    let mut carried_out = None;
    let questions = async {
        while let Some(question) = frame(&mut from_client, true).await {
            let is_commit = question[0] == b'Q' && question[5..].starts_with(b"COMMIT");
            let fate = if is_commit {
                std::mem::replace(&mut state.lock().unwrap().next, Fate::Answered)
            } else {
                Fate::Answered
            };
            if fate == Fate::Lost {
                return;
            }
            if fate != Fate::Answered {
                hold.0.send_replace(true);
                carried_out = Some(fate);
            }
            if to_server.write_all(&question).await.is_err() {
                return;
            }
            if fate != Fate::Answered {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        () = questions => {}
    }
    if carried_out == Some(Fate::CarriedOutAndTerminated) {
        let fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        let _ = to_client.write_all(&[b"E".as_slice(), &length, fields].concat()).await;
    }
}

/// One message of the frontend, its type and length included.
async fn frame(stream: &mut (impl AsyncRead + Unpin), typed: bool) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4 + usize::from(typed)];
    stream.read_exact(&mut bytes).await.ok()?;
    let length = u32::from_be_bytes(bytes[usize::from(typed)..].try_into().ok()?);
    let start = bytes.len();
    bytes.resize(start + usize::try_from(length).ok()? - 4, 0);
    stream.read_exact(&mut bytes[start..]).await.ok()?;
    Some(bytes)
}
