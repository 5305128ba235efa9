//! MAIL and RCPT.

use mail::Recipient;

use crate::command::{MailParameters, RecipientParameters};
use crate::reply::replies;
use crate::server::Backend;
use crate::server::memory::Held;
use crate::server::session::{Session, Step, Transaction};

impl<B: Backend> Session<B> {
    pub(in crate::server) async fn mail(&mut self, mail: MailParameters) -> Step {
        let limits = &self.settings.limits;
        if self.info.helo.is_none() {
            return self.error(replies::HELLO_FIRST);
        }
        if self.transaction.is_some() {
            return self.error(replies::TRANSACTION_OPEN);
        }
        if mail.extended && !self.info.esmtp {
            return self.error(replies::UNKNOWN_PARAMETER);
        }
        if self.info.messages >= limits.max_messages_per_connection {
            return Step::close(replies::TOO_MANY_MESSAGES);
        }
        if let Some(size) = mail.size {
            if usize::try_from(size).map_or(true, |size| size > limits.max_message_bytes) {
                return self.idle(replies::TOO_BIG);
            }
            if !self.settings.memory.has_room(size) {
                return self.idle(replies::OUT_OF_MEMORY);
            }
        }
        if let Err(reply) = Box::pin(self.backend.sender(&self.info, &mail)).await {
            return self.idle(reply);
        }
        let held = Held::new(&self.settings.memory);
        self.transaction = Some(Box::new(Transaction {
            mail,
            recipients: Vec::new(),
            reader: None,
            chunked: false,
            held,
        }));
        Step::say(replies::SENDER_OK)
    }

    pub(in crate::server) async fn rcpt(&mut self, recipient: RecipientParameters) -> Step {
        if self.info.helo.is_none() {
            return self.error(replies::HELLO_FIRST);
        }
        let Some(transaction) = &mut self.transaction else {
            return self.error(replies::MAIL_FIRST);
        };
        if transaction.chunked {
            return self.error(replies::CHUNKS_BEGUN);
        }
        if recipient.beyond_ascii && !transaction.mail.smtputf8 {
            return self.error(replies::NEEDS_SMTPUTF8);
        }
        if !self.info.esmtp && (recipient.notify.is_some() || recipient.original_recipient.is_some()) {
            return self.error(replies::UNKNOWN_PARAMETER);
        }
        let position = transaction.recipients.len();
        if position >= self.settings.limits.max_recipients {
            return Step::say(replies::TOO_MANY_RECIPIENTS);
        }
        let verdict = Box::pin(self.backend.recipient(&self.info, &transaction.mail, &recipient, position)).await;
        let RecipientParameters {
            recipient,
            notify,
            original_recipient,
            ..
        } = recipient;
        let verdict = verdict.and_then(|()| recipient.or_postmaster_of(&self.settings.hostname).ok_or(replies::BAD_RECIPIENT));
        match verdict {
            Ok(address) => {
                transaction.recipients.push(Recipient {
                    address,
                    notify,
                    original_recipient,
                });
                Step::say(replies::RECIPIENT_OK)
            }
            Err(reply) => {
                self.refused_recipients += 1;
                if self.refused_recipients > self.settings.limits.max_refused_recipients {
                    return Step::close(replies::TOO_MANY_ERRORS);
                }
                Step::verdict(reply)
            }
        }
    }
}
