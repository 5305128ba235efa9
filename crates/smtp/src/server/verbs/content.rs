//! DATA and BDAT, and what becomes of the content they bring.

use mail::Envelope;

use crate::command::{Body, Return};
use crate::data::{DataFault, DataLimits, DataReader};
use crate::reply::{Reply, replies};
use crate::server::Backend;
use crate::server::session::{Next, Session, Step, Transaction};

impl<B: Backend> Session<B> {
    pub(in crate::server) fn data(&mut self) -> Step {
        let refusal = match &self.transaction {
            _ if self.info.helo.is_none() => replies::HELLO_FIRST,
            None => replies::MAIL_FIRST,
            Some(transaction) if transaction.chunked => replies::CHUNKS_BEGUN,
            Some(transaction) if transaction.recipients.is_empty() => replies::RECIPIENT_FIRST,
            Some(_) => {
                self.open_reader();
                return Step {
                    reply: replies::GO_AHEAD,
                    next: Next::Content,
                };
            }
        };
        let mut step = self.error(refusal);
        if step.next == Next::Continue {
            step.next = Next::NoContent;
        }
        step
    }

    pub(in crate::server) fn bdat(&mut self, size: u64, last: bool) -> Step {
        if !self.settings.chunking {
            return self.error(replies::NOT_IMPLEMENTED);
        }
        // RFC 3030 §2: the octets follow at once, whatever we think of the command, so they are always taken.
        let refusal = match &mut self.transaction {
            _ if self.info.helo.is_none() => replies::HELLO_FIRST,
            None => replies::MAIL_FIRST,
            Some(transaction) if transaction.recipients.is_empty() => replies::RECIPIENT_FIRST,
            Some(transaction) => {
                transaction.chunked = true;
                if transaction.reader.is_none() {
                    self.open_reader();
                }
                if let Some(reader) = self.transaction.as_mut().and_then(|transaction| transaction.reader.as_mut()) {
                    reader.expect(size);
                }
                return Step {
                    reply: replies::CHUNK_OK,
                    next: Next::Chunk { size, last },
                };
            }
        };
        let step = self.error(refusal);
        if step.next == Next::Continue {
            Step {
                reply: step.reply,
                next: Next::Discard { size },
            }
        } else {
            step
        }
    }

    fn open_reader(&mut self) {
        let limits = &self.settings.limits;
        let max_line_octets = if self.info.login.is_some() {
            limits.submission_max_line
        } else {
            limits.inbound_max_line
        };
        if let Some(transaction) = &mut self.transaction {
            let mut reader = DataReader::new(DataLimits {
                max_octets: limits.max_message_bytes,
                max_line_octets,
            });
            reader.expect(transaction.mail.size.unwrap_or(0));
            transaction.reader = Some(reader);
        }
    }

    /// The end of a DATA has come.
    pub(in crate::server) async fn content_ended(&mut self) -> Step {
        let Some(mut transaction) = self.transaction.take() else {
            return Step::close(replies::INTERNAL);
        };
        let Some(reader) = transaction.reader.take() else {
            return Step::close(replies::INTERNAL);
        };
        match reader.finish() {
            Ok(content) => self.hand_over(*transaction, content).await,
            // What follows in the client's stream may be the tail of a smuggled message: none of it is executed (ASSURANCE §2.2).
            Err(DataFault::Bare) => Step::close(replies::BARE_IN_DATA),
            Err(fault) => Step::say(refusal(fault)),
        }
    }

    /// A chunk has come completely.
    pub(in crate::server) async fn chunk_ended(&mut self, last: bool) -> Step {
        let Some(transaction) = &mut self.transaction else {
            return Step::close(replies::INTERNAL);
        };
        let Some(reader) = &mut transaction.reader else {
            return Step::close(replies::INTERNAL);
        };
        if !last {
            // Too much is told at once: the client need not send the rest. RFC 3030 §2 leaves RSET as the way out.
            if let Some(fault @ (DataFault::TooBig | DataFault::OutOfMemory)) = reader.fault() {
                self.transaction = None;
                return Step::say(refusal(fault));
            }
            return Step::say(replies::CHUNK_OK);
        }
        let Some(mut transaction) = self.transaction.take() else {
            return Step::close(replies::INTERNAL);
        };
        match transaction.reader.take().map(DataReader::finish) {
            Some(Ok(content)) => self.hand_over(*transaction, content).await,
            Some(Err(fault)) => Step::say(refusal(fault)),
            None => Step::close(replies::INTERNAL),
        }
    }

    async fn hand_over(&mut self, transaction: Transaction, content: bytes::Bytes) -> Step {
        let Transaction {
            mail, recipients, held, ..
        } = transaction;
        let envelope = Envelope {
            sender: mail.sender,
            recipients,
            envelope_id: mail.envelope_id,
            headers_only: mail.ret == Some(Return::Headers),
            smtputf8: mail.smtputf8,
            eight_bit_declared: mail.body == Body::EightBitMime,
        };
        let verdict = Box::pin(self.backend.message(&self.info, envelope, content)).await;
        drop(held);
        match verdict {
            Ok(reply) => {
                self.info.messages += 1;
                self.idle_commands = 0;
                Step::say(reply)
            }
            Err(reply) => Step::verdict(reply),
        }
    }
}

const fn refusal(fault: DataFault) -> Reply {
    match fault {
        DataFault::Bare => replies::BARE_IN_DATA,
        DataFault::TooBig => replies::TOO_BIG,
        DataFault::OutOfMemory => replies::OUT_OF_MEMORY,
        DataFault::LineTooLong => replies::DATA_LINE_TOO_LONG,
    }
}
