//! The conversation of one connection.

use super::{Behaviour, Message, Moment, Reply, Seen};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

pub(super) async fn serve(stream: TcpStream, behaviour: Behaviour, seen: Arc<Mutex<Seen>>, connection: usize) {
    let mut session = Session {
        behaviour,
        seen,
        message: Message {
            connection,
            ..Message::default()
        },
        greeted: false,
        mail: false,
    };
    let tls = session.behaviour.tls.clone();
    if let Some(tls) = tls.clone().filter(|_| session.behaviour.implicit_tls) {
        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
            session.message.tls = true;
            session.talk(stream, true).await;
        }
        return;
    }
    let (Some(Next::StartTls(stream)), Some(tls)) = (session.talk(stream, true).await, tls) else {
        return;
    };
    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
        session.message = Message {
            connection,
            tls: true,
            ..Message::default()
        };
        session.greeted = false;
        session.talk(stream, false).await;
    }
}

struct Session {
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
    message: Message,
    greeted: bool,
    mail: bool,
}

enum Next<S> {
    StartTls(S),
}

impl Session {
    /// Talks until the end; `None` when the connection is over.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S, greet: bool) -> Option<Next<S>> {
        let mut stream = BufReader::new(stream);
        if greet {
            self.answer(&mut stream, "CONNECT", "", "220 sink.test ESMTP").await?;
        }
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok().filter(|read| *read > 0)?;
            let Some(line) = line.strip_suffix(b"\r\n") else {
                say(&mut stream, "500 5.5.2 bare line ending").await;
                return None;
            };
            let line = String::from_utf8_lossy(line).into_owned();
            self.seen.lock().unwrap().lines.push(line.clone());
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => {
                    self.reset();
                    self.greeted = true;
                    line.get(5..).unwrap_or_default().clone_into(&mut self.message.helo);
                    let mut lines = vec!["sink.test".to_owned()];
                    if verb == "EHLO" {
                        lines.extend(self.behaviour.extensions.iter().cloned());
                        if self.behaviour.tls.is_some() && !self.message.tls {
                            lines.push("STARTTLS".into());
                        }
                    }
                    let last = lines.len() - 1;
                    let lines: Vec<String> = lines
                        .iter()
                        .enumerate()
                        .map(|(at, text)| format!("250{}{text}", if at == last { ' ' } else { '-' }))
                        .collect();
                    self.answer(&mut stream, &verb, &line, &lines.join("\r\n")).await?;
                }
                "STARTTLS" if self.behaviour.tls.is_some() && !self.message.tls => {
                    if self.answer(&mut stream, &verb, &line, "220 2.0.0 go on").await? {
                        return Some(Next::StartTls(stream.into_inner()));
                    }
                }
                "AUTH" if self.behaviour.offers("AUTH") => {
                    if self.answer(&mut stream, &verb, &line, "235 2.7.0 welcome").await? {
                        self.message.auth = line.split(' ').nth(2).map(str::to_owned);
                    }
                }
                "MAIL" => self.mail(&mut stream, &line).await?,
                "RCPT" => self.rcpt(&mut stream, &line).await?,
                "DATA" => self.data(&mut stream, &line).await?,
                "BDAT" if self.behaviour.offers("CHUNKING") => self.bdat(&mut stream, &line).await?,
                "RSET" => {
                    self.reset();
                    self.answer(&mut stream, &verb, &line, "250 2.0.0 ok").await?;
                }
                "NOOP" => {
                    self.answer(&mut stream, &verb, &line, "250 2.0.0 ok").await?;
                }
                "QUIT" => {
                    self.answer(&mut stream, &verb, &line, "221 2.0.0 bye").await?;
                    return None;
                }
                _ => {
                    self.answer(&mut stream, &verb, &line, "502 5.5.1 unknown").await?;
                }
            }
        }
    }

    async fn mail<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>, line: &str) -> Option<()> {
        let Some((path, parameters)) = argument(line, "MAIL FROM:").filter(|_| self.greeted && !self.mail) else {
            return say(stream, "503 5.5.1 not now, or not so").await;
        };
        let unknown = parameters.iter().find(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let extension = match name.to_ascii_uppercase().as_str() {
                "SIZE" => "SIZE",
                "BODY" if value.eq_ignore_ascii_case("8BITMIME") || value.eq_ignore_ascii_case("7BIT") => "8BITMIME",
                "SMTPUTF8" => "SMTPUTF8",
                "RET" | "ENVID" => "DSN",
                "AUTH" => "AUTH",
                _ => return true,
            };
            !self.behaviour.offers(extension)
        });
        if let Some(unknown) = unknown {
            return say(stream, &format!("555 5.5.4 not offered: {unknown}")).await;
        }
        if self.answer(stream, "MAIL", line, "250 2.1.0 ok").await? {
            self.mail = true;
            self.message.from = path;
            line["MAIL FROM:".len()..].clone_into(&mut self.message.mail);
        }
        Some(())
    }

    async fn rcpt<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>, line: &str) -> Option<()> {
        let Some((path, parameters)) = argument(line, "RCPT TO:").filter(|(path, _)| self.mail && !path.is_empty()) else {
            return say(stream, "503 5.5.1 not now, or not so").await;
        };
        if !parameters.is_empty() && !self.behaviour.offers("DSN") {
            return say(stream, "555 5.5.4 not offered").await;
        }
        if self.answer(stream, "RCPT", line, "250 2.1.5 ok").await? {
            self.message.to.push(path);
            self.message.rcpt.push(line["RCPT TO:".len()..].to_owned());
        }
        Some(())
    }

    async fn data<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>, line: &str) -> Option<()> {
        if self.message.to.is_empty() {
            return say(stream, "503 5.5.1 no recipients").await;
        }
        if !self.answer(stream, "DATA", line, "354 go on").await? {
            return Some(());
        }
        let (mut data, mut fresh) = (Vec::new(), true);
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok().filter(|read| *read > 0)?;
            if fresh && line == b".\r\n" {
                break;
            }
            let stuffed = fresh && line.starts_with(b".");
            fresh = line.ends_with(b"\r\n");
            data.extend_from_slice(&line[usize::from(stuffed)..]);
        }
        self.dot(stream, data).await
    }

    async fn bdat<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>, line: &str) -> Option<()> {
        let mut words = line.split(' ').skip(1);
        let length: usize = words.next()?.parse().ok()?;
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        let mut chunk = vec![0; length];
        stream.read_exact(&mut chunk).await.ok()?;
        if self.message.to.is_empty() {
            return say(stream, "503 5.5.1 no recipients").await;
        }
        self.message.data.extend_from_slice(&chunk);
        if last {
            let data = std::mem::take(&mut self.message.data);
            return self.dot(stream, data).await;
        }
        self.answer(stream, "BDAT", line, "250 2.0.0 ok").await?;
        Some(())
    }

    async fn dot<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>, data: Vec<u8>) -> Option<()> {
        let clean = is_clean(&data);
        self.message.data = data;
        // Kept before the reply leaves: who has the reply may look at once.
        let message = self.message.clone();
        if clean {
            let reply = (self.behaviour.script)(&Moment {
                verb: "DOT",
                line: "",
                message: &message,
            });
            if reply == Reply::Usual || matches!(&reply, Reply::Line(line) if line.starts_with('2')) {
                self.seen.lock().unwrap().messages.push(message);
            }
            give(stream, reply, "250 2.0.0 queued as sink").await?;
        } else {
            say(stream, "554 5.6.0 bare CR, LF or NUL").await?;
        }
        self.reset();
        Some(())
    }

    /// Asks the script, says the reply; whether it was positive.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        verb: &str,
        line: &str,
        usual: &str,
    ) -> Option<bool> {
        let reply = (self.behaviour.script)(&Moment {
            verb,
            line,
            message: &self.message,
        });
        give(stream, reply, usual).await
    }

    fn reset(&mut self) {
        self.mail = false;
        let Message {
            helo,
            tls,
            auth,
            connection,
            ..
        } = std::mem::take(&mut self.message);
        self.message = Message {
            helo,
            tls,
            auth,
            connection,
            ..Message::default()
        };
    }
}

async fn give<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, reply: Reply, usual: &str) -> Option<bool> {
    match reply {
        Reply::Usual => say(stream, usual).await.map(|()| true),
        Reply::Line(line) => {
            say(stream, &line).await?;
            if line.starts_with("421") {
                None
            } else {
                Some(line.starts_with(['2', '3']))
            }
        }
        Reply::Raw(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
            Some(false)
        }
        Reply::Close => None,
        Reply::Stall => std::future::pending().await,
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// The path without brackets and the parameters.
fn argument(line: &str, verb: &str) -> Option<(String, Vec<String>)> {
    let rest = line
        .get(..verb.len())
        .filter(|start| start.eq_ignore_ascii_case(verb))
        .map(|_| &line[verb.len()..])?;
    let (path, parameters) = rest.strip_prefix('<')?.rsplit_once('>')?;
    Some((path.to_owned(), parameters.split_whitespace().map(str::to_owned).collect()))
}

fn is_clean(data: &[u8]) -> bool {
    let pairs = data.windows(2).filter(|pair| *pair == b"\r\n").count();
    let lone = |octet: u8| data.iter().filter(|byte| **byte == octet).count();
    lone(b'\r') == pairs && lone(b'\n') == pairs && lone(0) == 0
}
