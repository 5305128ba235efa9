//! One transaction to come: a message and those of its recipients that share a destination.

use mail::{Address, Notify, Recipient, ReversePath};
use std::collections::HashMap;
use store::{
    ids::MessageId,
    models::DeliveryStatus,
    queue::{Claimed, Finish, Outcome},
};

/// A transaction to come.
#[derive(Debug)]
pub struct Job {
    /// The claimed deliveries, at least one; what they say of their message is the same for all.
    pub deliveries: Vec<Claimed>,
    /// Their recipients, in the same order.
    pub recipients: Vec<Recipient>,
    /// The message, when it was small enough to be fetched with the others of its claim.
    pub body: Option<Vec<u8>>,
}

impl Job {
    /// Groups claimed deliveries into transactions. Rows that cannot be read come back as outcomes: they are set aside for a person to
    /// look at, so that they never stop the others.
    #[must_use]
    pub fn group(claimed: Vec<Claimed>) -> (Vec<Self>, Vec<(i64, Outcome)>) {
        let mut jobs: Vec<Self> = Vec::new();
        let mut index: HashMap<(MessageId, i16), usize> = HashMap::new();
        let mut unreadable = Vec::new();
        for delivery in claimed {
            if is_endpoint(&delivery.recipient) {
                // A call each: endpoints share nothing.
                jobs.push(Self {
                    deliveries: vec![delivery],
                    recipients: Vec::new(),
                    body: None,
                });
                continue;
            }
            let Some(recipient) = recipient(&delivery) else {
                unreadable.push((delivery.lane, quarantined(&delivery, "the recipient's address cannot be read")));
                continue;
            };
            let place = *index.entry((delivery.message, delivery.destination)).or_insert_with(|| {
                jobs.push(Self {
                    deliveries: Vec::new(),
                    recipients: Vec::new(),
                    body: None,
                });
                jobs.len() - 1
            });
            jobs[place].deliveries.push(delivery);
            jobs[place].recipients.push(recipient);
        }
        (jobs, unreadable)
    }

    /// What the deliveries share.
    #[must_use]
    pub fn head(&self) -> &Claimed {
        &self.deliveries[0] // `group` makes no job without a delivery
    }

    /// Whether it goes to an HTTP endpoint.
    #[must_use]
    pub fn is_call(&self) -> bool {
        is_endpoint(&self.head().recipient)
    }

    /// The sender as the client gave it; a return path of ours stands for it on the way out.
    #[must_use]
    pub fn original_sender(&self) -> Option<ReversePath> {
        ReversePath::parse(&self.head().envelope_sender).ok()
    }
}

/// An outcome that sets a delivery aside.
#[must_use]
pub fn quarantined(delivery: &Claimed, reason: &str) -> Outcome {
    Outcome {
        message: delivery.message,
        number: delivery.number,
        token: delivery.token,
        finish: Finish::Over(DeliveryStatus::Quarantined),
        enhanced_code: Some("5.3.0".to_owned()),
        reason: Some(reason.to_owned()),
        suppress: false,
        report: false,
    }
}

fn is_endpoint(recipient: &str) -> bool {
    recipient.starts_with("https://") || recipient.starts_with("http://")
}

fn recipient(delivery: &Claimed) -> Option<Recipient> {
    let address = Address::parse(&delivery.recipient).ok()?;
    Some(Recipient {
        address,
        notify: delivery
            .dsn_notify
            .and_then(|bits| u8::try_from(bits).ok())
            .and_then(Notify::from_bits),
        original_recipient: delivery.dsn_orcpt.clone(),
    })
}
