//! The loop: the only place where a session reads, writes and looks at the clock.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::sync::CancellationToken;

use super::session::{Next, Session, Step};
use super::wire::{Incoming, LINE_READ, TLS_HANDSHAKE, Wire};
use super::{Backend, End, Peer, Settings, content};
use crate::reply::replies;
use crate::transport::{TlsInfo, Transport};

/// Serves one session to its end. Returns when the connection can be dropped.
///
/// When `stop` is cancelled, a session that waits for a command is told 421 and closed; content on its way is still taken, and answered.
pub async fn serve<S, B>(stream: S, peer: Peer, backend: Arc<B>, settings: Arc<Settings>, stop: CancellationToken) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    let mut wire = Wire::new(stream, settings.limits.write_timeout, stop);
    let mut session = Session::new(backend, settings, peer);
    let end = match converse(&mut wire, &mut session).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    session.backend.ended(&session.info, end);
    Box::pin(farewell(&mut wire, end)).await;
    end
}

/// Uninhabited: a conversation ends only by an [`End`].
enum Never {}

async fn converse<S, B>(wire: &mut Wire<S>, session: &mut Session<B>) -> Result<Never, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    let limits = session.settings.limits;
    let last_moment = Instant::now() + limits.session_timeout;
    if session.settings.implicit_tls {
        Box::pin(handshake(wire, session)).await?;
    }
    Box::pin(greet(wire, session)).await?;
    loop {
        let now = Instant::now();
        if now >= last_moment {
            wire.say(&replies::SESSION_TOO_LONG);
            return Err(End::Closed);
        }
        let incoming = wire.line((now + limits.command_timeout).min(last_moment)).await?;
        let (octets, step) = match incoming {
            Incoming::Line(octets) => (octets, session.line(&wire.input[..octets - 2]).await),
            Incoming::BareLf(octets) => (octets, session.bare_line()),
            Incoming::TooLong => (0, session.line_too_long()),
        };
        wire.consume(octets);
        perform(wire, session, step).await?;
        if wire.is_full() {
            wire.flush().await?;
        }
    }
}

/// Does what a step asks for.
async fn perform<S, B>(wire: &mut Wire<S>, session: &mut Session<B>, step: Step) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    let Step { reply, next } = step;
    match next {
        Next::Chunk { size, last } => {
            // The replies before it may wait for its own: a client that pipelines a whole transaction gets one answer.
            content::chunk(wire, session, size, true).await?;
            let step = session.chunk_ended(last).await;
            return finish(wire, session, &step);
        }
        Next::Discard { size } => content::chunk(wire, session, size, false).await?,
        Next::Content => {
            // Whoever has not logged in may be someone else's puppet: a browser, a smuggler. Content ahead of our 354 gives it away.
            if session.info.login.is_none() && wire.has_more().await {
                session.note(&replies::OUT_OF_STEP);
                wire.say(&replies::OUT_OF_STEP);
                return Err(End::Closed);
            }
            wire.say(&reply);
            wire.flush().await?;
            content::data(wire, session).await?;
            let step = session.content_ended().await;
            return finish(wire, session, &step);
        }
        Next::NoContent if !wire.input.is_empty() => {
            session.note(&reply);
            wire.say(&reply);
            return Err(End::Closed);
        }
        Next::StartTls => {
            wire.say(&reply);
            wire.flush().await?;
            wire.purge();
            return Box::pin(handshake(wire, session)).await;
        }
        Next::Foreign => return Err(End::Foreign),
        Next::Continue | Next::NoContent | Next::Close { .. } => {}
    }
    finish(wire, session, &Step { reply, next })
}

/// Says the reply, and ends the session where the step does.
fn finish<S, B>(wire: &mut Wire<S>, session: &Session<B>, step: &Step) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    session.note(&step.reply);
    wire.say(&step.reply);
    match step.next {
        Next::Close { quit: true } => Err(End::Quit),
        Next::Close { quit: false } => Err(End::Closed),
        _ => Ok(()),
    }
}

/// From the connection to the greeting. A client that speaks first is told off, or left alone if it does not even speak SMTP.
async fn greet<S, B>(wire: &mut Wire<S>, session: &mut Session<B>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    if let Err(reply) = session.connect().await {
        session.note(&reply);
        wire.say(&reply);
        return Err(End::Closed);
    }
    let pause = session.settings.limits.greeting_pause;
    let spoke = if session.info.login.is_some() || pause.is_zero() {
        wire.has_more().await
    } else {
        match wire
            .read::<LINE_READ>(Instant::now() + pause, true, |bytes, input| input.extend_from_slice(bytes))
            .await
        {
            Ok(()) => true,
            Err(End::TimedOut) => false,
            Err(end) => return Err(end),
        }
    };
    if spoke {
        if wire.input[0] == TLS_HANDSHAKE {
            return Err(End::Foreign);
        }
        session.note(&replies::OUT_OF_STEP);
        wire.say(&replies::OUT_OF_STEP);
        return Err(End::Closed);
    }
    wire.say(&session.greeting());
    Ok(())
}

async fn handshake<S, B>(wire: &mut Wire<S>, session: &mut Session<B>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let (Some(config), Some(stream)) = (session.settings.tls.clone(), wire.stream.take_plain()) else {
        return Err(End::Tls);
    };
    let accept = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(session.settings.limits.handshake_timeout, accept).await {
        Ok(Ok(stream)) => {
            session.secured(TlsInfo::of(stream.get_ref().1));
            wire.stream = Transport::Tls(Box::new(TlsStream::Server(stream)));
            Ok(())
        }
        Ok(Err(_)) => Err(End::Tls),
        Err(_) => Err(End::TimedOut),
    }
}

/// Last words, as far as someone still listens.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, end: End) {
    match end {
        End::Gone | End::Tls | End::Foreign => {}
        End::Quit => {
            if wire.flush().await.is_ok() && matches!(wire.stream, Transport::Tls(_)) {
                let _ = tokio::time::timeout(std::time::Duration::from_secs(2), wire.stream.shutdown()).await;
            }
        }
        End::TimedOut => {
            wire.say(&replies::TIMEOUT);
            wire.linger().await;
        }
        End::Stopped => {
            wire.say(&replies::SHUTTING_DOWN);
            wire.linger().await;
        }
        End::Closed => wire.linger().await,
    }
}
