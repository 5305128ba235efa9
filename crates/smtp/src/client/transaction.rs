//! One mail transaction: MAIL, RCPT…, content, in as few round trips as the peer allows.

use std::fmt::Write as _;

use mail::{Recipient, ReversePath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::commands::Commands;
use super::failure::{Failure, Fault, Stage, Unfit};
use super::payload::Payload;
use crate::Reply;

/// Up to this size a message follows MAIL and RCPT in the same write, when the peer offers PIPELINING and CHUNKING. Larger ones wait
/// until a recipient has been accepted, so as not to be sent for nothing.
pub const ONE_ROUND_TRIP_OCTETS: usize = 128 * 1024;

/// What to send, to whom.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    /// MAIL FROM.
    pub sender: &'a ReversePath,
    /// RCPT TO, at least one. NOTIFY and ORCPT are passed on when the peer offers DSN.
    pub recipients: &'a [Recipient],
    /// ENVID, passed on when the peer offers DSN.
    pub envelope_id: Option<&'a str>,
    /// RET=HDRS, passed on when the peer offers DSN.
    pub headers_only: bool,
    /// The header holds UTF-8, or the message came declared as SMTPUTF8 and is to leave as such.
    pub smtputf8: bool,
    /// The message in pieces (added header fields, stored content), with CRLF line ends. A missing final CRLF is added.
    pub parts: &'a [&'a [u8]],
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of the recipients: the reply to the end of the message for those who got it, or why not.
    pub fates: Vec<Result<Reply, Failure>>,
    /// The connection had ended before this transaction began, as idle ones do: nothing happened, dial again without counting it (ASSURANCE
    /// S05, S13).
    pub stale: bool,
    /// How often we waited for the peer.
    pub round_trips: u32,
}

struct Progress {
    fates: Vec<Option<Result<Reply, Failure>>>,
    round_trips: u32,
    answered: bool,
    stale: bool,
}

impl Progress {
    /// Everyone whose fate is open shares this one.
    fn settle(&mut self, fate: &Result<Reply, Failure>) {
        for open in self.fates.iter_mut().filter(|fate| fate.is_none()) {
            *open = Some(fate.clone());
        }
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        let open: Vec<usize> = self
            .fates
            .iter()
            .enumerate()
            .filter(|(_, fate)| fate.is_none())
            .map(|(number, _)| number)
            .collect();
        open.into_iter()
    }
}

pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, transaction: &Transaction<'_>) -> Report {
    let mut progress = Progress {
        fates: vec![None; transaction.recipients.len()],
        round_trips: 0,
        answered: false,
        stale: false,
    };
    let reused = connection.transactions > 0;
    connection.transactions += 1;
    let ended = perform(connection, transaction, &mut progress, reused).await;
    if let Err(failure) = ended {
        progress.settle(&Err(failure));
    }
    let lost = || Err(Failure::new(Stage::Mail, Fault::Closed));
    Report {
        fates: progress.fates.into_iter().map(|fate| fate.unwrap_or_else(lost)).collect(),
        stale: progress.stale,
        round_trips: progress.round_trips,
    }
}

/// The whole exchange. An error is the fate of all recipients who have none yet.
async fn perform<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    transaction: &Transaction<'_>,
    progress: &mut Progress,
    reused: bool,
) -> Result<(), Failure> {
    let payload = check(connection, transaction, progress)?;
    if progress.open().next().is_none() {
        return Ok(());
    }
    if !connection.usable || (reused && connection.wire.was_disturbed().await) {
        // Whatever an idle peer says, a 421 or its end, it is not about this message.
        progress.stale = true;
        let fault = match connection.wire.reply(connection.timeouts.quit).await {
            Ok(reply) if reply.is_transient() || reply.is_permanent() => Fault::Refused(reply),
            Ok(reply) => Fault::Garbage(format!("unasked-for {}", reply.code)),
            Err(fault) => fault,
        };
        return Err(connection.broken(Stage::Mail, fault));
    }
    if std::mem::take(&mut connection.needs_reset) {
        progress.round_trips += 1;
        // In a round trip of its own: a server that ends the conversation here has certainly not seen this message (ASSURANCE S13).
        let reset = match connection.ask(Stage::Reset, "RSET\r\n").await {
            Ok(reply) => connection.expect(Stage::Reset, reply, 250).map(|_| ()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = reset {
            connection.usable = false;
            progress.stale = true;
            return Err(failure);
        }
    }
    let commands = Commands::new(&connection.extensions, transaction, payload.eight_bit, payload.octets);
    let recipients: Vec<usize> = progress.open().collect();
    let ended = if connection.extensions.pipelining {
        pipelined(connection, transaction, &commands, &recipients, payload, progress).await
    } else {
        step_by_step(connection, transaction, &commands, &recipients, payload, progress).await
    };
    if let Err(failure) = &ended {
        let gone = matches!(failure.fault, Fault::Closed | Fault::Io(_)) || failure.reply().is_some_and(Reply::is_closing);
        progress.stale = reused && !progress.answered && failure.stage == Stage::Mail && gone;
    }
    ended
}

/// What this peer cannot take, before a byte is sent.
fn check<'a, S: AsyncRead + AsyncWrite + Unpin>(
    connection: &Connection<S>,
    transaction: &Transaction<'a>,
    progress: &mut Progress,
) -> Result<Payload<'a>, Failure> {
    let extensions = &connection.extensions;
    let unfit = |unfit: Unfit| Failure::new(Stage::Mail, unfit.into());
    let payload = Payload::new(transaction.parts).map_err(unfit)?;
    if let Some(Some(limit)) = extensions.size
        && u64::try_from(payload.octets).is_ok_and(|octets| octets > limit)
    {
        return Err(unfit(Unfit::TooLarge { limit }));
    }
    if !extensions.smtputf8 {
        if transaction.smtputf8 || transaction.sender.address().is_some_and(|address| !address.is_ascii()) {
            return Err(unfit(Unfit::Utf8));
        }
        for (recipient, fate) in transaction.recipients.iter().zip(&mut progress.fates) {
            if !recipient.address.is_ascii() {
                *fate = Some(Err(unfit(Unfit::Utf8)));
            }
        }
    }
    if payload.eight_bit && !extensions.eight_bit_mime {
        return Err(unfit(Unfit::EightBit));
    }
    Ok(payload)
}

/// MAIL, all RCPTs and the content's command in one write; a small message to a CHUNKING peer comes right behind them.
async fn pipelined<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    transaction: &Transaction<'_>,
    commands: &Commands,
    recipients: &[usize],
    payload: Payload<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let chunking = connection.extensions.chunking;
    let at_once = chunking && payload.octets <= ONE_ROUND_TRIP_OCTETS;
    let mut lines = String::with_capacity(64 * (recipients.len() + 3));
    lines.push_str(&commands.mail);
    for number in recipients {
        commands.rcpt(&transaction.recipients[*number], &mut lines);
    }
    if at_once {
        let _ = write!(lines, "BDAT {} LAST\r\n", payload.octets);
    } else if !chunking {
        lines.push_str("DATA\r\n");
    }
    connection.wire.transcript.sent(lines.as_bytes());
    let content = at_once.then(|| payload.plain()).into_iter().flatten();
    if at_once {
        connection.wire.transcript.note(&format!("[{} octets]", payload.octets));
    }
    let block = connection.timeouts.block;
    let sent = connection.wire.send(std::iter::once(lines.as_bytes()).chain(content), block).await;
    progress.round_trips += 1;
    // A peer that stopped listening may have said why: its replies are read before the fault is believed.
    let stop = |connection: &mut Connection<S>, stage: Stage, fault: Fault| match &sent {
        Ok(()) => connection.broken(if at_once { Stage::FinalDot } else { stage }, fault),
        Err(first) => connection.broken(stage, first.clone()),
    };
    let mail = match connection.wire.reply(connection.timeouts.mail).await {
        Ok(reply) => sort(connection, Stage::Mail, reply),
        Err(fault) => return Err(stop(connection, Stage::Mail, fault)),
    };
    // After a 421 or nonsense no further reply is waited for.
    let mail = match mail {
        Err(failure) if !connection.usable => return Err(failure),
        other => other,
    };
    progress.answered = true;
    let mut accepted = false;
    for number in recipients {
        let fate = match connection.wire.reply(connection.timeouts.recipient).await {
            Ok(reply) => sort(connection, Stage::Recipient, reply),
            Err(fault) => return Err(stop(connection, Stage::Recipient, fault)),
        };
        match (&mail, fate) {
            // What RCPT says after a refused MAIL is only an echo of that.
            (Err(failure), _) => progress.fates[*number] = Some(Err(failure.clone())),
            (Ok(_), Ok(_)) => accepted = true,
            (Ok(_), Err(failure)) => progress.fates[*number] = Some(Err(failure)),
        }
        if !connection.usable {
            let fate = progress.fates[*number].clone();
            return fate.map_or(Ok(()), |fate| fate.map(|_| ()));
        }
    }
    connection.needs_reset = mail.is_ok();
    if at_once {
        let within = connection.timeouts.final_dot;
        return match connection.wire.reply(within).await {
            Ok(reply) => conclude(connection, reply, progress),
            Err(fault) => Err(stop(connection, Stage::FinalDot, fault)),
        };
    }
    if chunking {
        if accepted {
            send_chunk(connection, payload, progress).await
        } else {
            Ok(())
        }
    } else {
        let reply = match connection.wire.reply(connection.timeouts.data).await {
            Ok(reply) => reply,
            Err(fault) => return Err(stop(connection, Stage::Data, fault)),
        };
        finish_data(connection, reply, accepted, payload, progress).await
    }
}

/// For peers without PIPELINING: one command, one reply.
async fn step_by_step<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    transaction: &Transaction<'_>,
    commands: &Commands,
    recipients: &[usize],
    payload: Payload<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    progress.round_trips += 1;
    connection.wire.transcript.sent(commands.mail.as_bytes());
    connection.write(Stage::Mail, &commands.mail).await?;
    let reply = connection.answer(Stage::Mail, connection.timeouts.mail).await?;
    connection.expect(Stage::Mail, reply, 250)?;
    progress.answered = true;
    connection.needs_reset = true;
    let mut accepted = false;
    for number in recipients {
        let mut line = String::new();
        commands.rcpt(&transaction.recipients[*number], &mut line);
        connection.wire.transcript.sent(line.as_bytes());
        progress.round_trips += 1;
        connection.write(Stage::Recipient, &line).await?;
        let reply = connection.answer(Stage::Recipient, connection.timeouts.recipient).await?;
        match connection.expect(Stage::Recipient, reply, 250) {
            Ok(_) => accepted = true,
            Err(failure) if connection.usable => progress.fates[*number] = Some(Err(failure)),
            Err(failure) => return Err(failure),
        }
    }
    if !accepted {
        return Ok(());
    }
    if connection.extensions.chunking {
        return send_chunk(connection, payload, progress).await;
    }
    progress.round_trips += 1;
    connection.wire.transcript.sent(b"DATA");
    connection.write(Stage::Data, "DATA\r\n").await?;
    let reply = connection.answer(Stage::Data, connection.timeouts.data).await?;
    finish_data(connection, reply, accepted, payload, progress).await
}

/// What follows the reply to DATA.
async fn finish_data<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    reply: Reply,
    accepted: bool,
    payload: Payload<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    connection.usable &= !reply.is_closing();
    let go = connection.expect(Stage::Data, reply, 354);
    if !accepted {
        if go.is_ok() {
            // The peer wants content although it took nobody (RFC 2920 §3.1): it gets an empty message, and nobody is marked delivered.
            connection.wire.transcript.sent(b".");
            connection.write(Stage::Data, ".\r\n").await?;
            progress.round_trips += 1;
            connection.answer(Stage::Data, connection.timeouts.final_dot).await?;
        }
        return Ok(());
    }
    go?;
    connection.wire.transcript.note(&format!("[{} octets]", payload.octets));
    let sent = connection.wire.send(payload.stuffed(), connection.timeouts.block).await;
    progress.round_trips += 1;
    end_of_content(connection, sent, progress).await
}

/// The message as one chunk, in a write of its own.
async fn send_chunk<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    payload: Payload<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let line = format!("BDAT {} LAST\r\n", payload.octets);
    connection.wire.transcript.sent(line.as_bytes());
    connection.wire.transcript.note(&format!("[{} octets]", payload.octets));
    let sent = connection
        .wire
        .send(std::iter::once(line.as_bytes()).chain(payload.plain()), connection.timeouts.block)
        .await;
    progress.round_trips += 1;
    end_of_content(connection, sent, progress).await
}

/// The verdict. A peer that refuses in the middle and closes makes our write fail; its words are worth more than that.
async fn end_of_content<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    sent: Result<(), Fault>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    match sent {
        Ok(()) => match connection.wire.reply(connection.timeouts.final_dot).await {
            Ok(reply) => conclude(connection, reply, progress),
            Err(fault) => Err(connection.broken(Stage::FinalDot, fault)),
        },
        Err(fault) => match connection.wire.reply(connection.timeouts.quit).await {
            Ok(reply) if reply.is_transient() || reply.is_permanent() => {
                connection.usable = false;
                Err(Failure::new(Stage::Body, Fault::Refused(reply)))
            }
            _ => Err(connection.broken(Stage::Body, fault)),
        },
    }
}

/// The reply to the complete message is the fate of all who were accepted.
fn conclude<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    reply: Reply,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let fate = sort(connection, Stage::FinalDot, reply);
    connection.needs_reset = fate.is_err();
    progress.settle(&fate);
    Ok(())
}

fn sort<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, stage: Stage, reply: Reply) -> Result<Reply, Failure> {
    connection.usable &= !reply.is_closing();
    connection.expect(stage, reply, 250)
}
