//! Recipients that are hosted here: handed to the door again, never dialled.
//!
//! A destination whose mail server is this one is no loop but a neighbour: mail between organizations, from alias to alias, and reports to hosted
//! senders. The door counts hops and refuses what goes round in circles; a delivery enters once even if its worker dies right after.

use crate::{
    deliver::{Deliverer, Prepared, Started},
    dial::Unreachable,
    job::Job,
    outcome::{Circumstances, Fate},
};
use bytes::Bytes;
use intake::{Arrival, LocalOrigin, ReceivedInfo, Refusal};
use mail::{Address, Domain, EnhancedCode, Envelope, Recipient};
use store::models::AttemptOutcome;

/// "The destination's server is this one" (RFC 3463 5.4.6).
const LOOP: EnhancedCode = EnhancedCode(5, 4, 6);

impl Deliverer {
    /// Takes over a job that could not be dialled because its server is this one and its domain is hosted here. `false`: it is not.
    pub(crate) async fn hand_over(&self, destination: &str, job: &Job, unreachable: &Unreachable, started: Started) -> bool {
        if unreachable.fate.enhanced != Some(LOOP) || !self.is_hosted(destination).await {
            return false;
        }
        let Some(prepared) = self.prepare(job, started).await else {
            return true;
        };
        let raw: Bytes = [&prepared.signatures[..], &prepared.body].concat().into();
        let mut fates = Vec::with_capacity(job.deliveries.len());
        for (delivery, recipient) in job.deliveries.iter().zip(&job.recipients) {
            let origin = LocalOrigin {
                organization: delivery.organization,
                message: delivery.message,
                number: delivery.number,
            };
            let taken = self.enter(&prepared, &recipient.address, raw.clone(), origin, job).await;
            fates.push(taken.map_or_else(|refusal| fate_of(&refusal), |()| taken_in()));
        }
        let circumstances = Circumstances {
            host: Some(self.hostname.to_string()),
            transcript: "-- hosted here: handed to intake, nobody was dialled\n".to_owned(),
            ..started.circumstances()
        };
        self.finish(job, &fates, &circumstances).await;
        true
    }

    async fn is_hosted(&self, destination: &str) -> bool {
        match destination.parse::<Domain>() {
            // When the database cannot say, the attempt fails for good reasons only if it is asked again later.
            Ok(domain) => domain == self.hostname || self.intake.hosts(&domain).await.unwrap_or(true),
            Err(_) => false,
        }
    }

    async fn enter(&self, prepared: &Prepared<'_>, recipient: &Address, raw: Bytes, local: LocalOrigin, job: &Job) -> Result<(), Refusal> {
        if prepared.sender.is_null()
            && let Some(target) = self.intake.bounce_target(recipient).await?
        {
            return self.intake.take_bounce(target, &raw).await;
        }
        let arrival = Arrival {
            received: ReceivedInfo {
                helo: self.hostname.to_string(),
                peer: None,
                with: "LOCAL".to_owned(),
                tls: None,
            },
            envelope: Envelope {
                smtputf8: job.head().smtputf8,
                ..Envelope::new(prepared.sender.clone(), vec![Recipient::new(recipient.clone())])
            },
            raw,
            trace_context: job.head().trace_context.clone(),
            local: Some(local),
        };
        self.intake.receive(arrival).await.map(|_| ())
    }
}

fn taken_in() -> Fate {
    Fate {
        outcome: AttemptOutcome::Delivered,
        code: Some(250),
        enhanced: Some(EnhancedCode(2, 0, 0)),
        response: "250 2.0.0 taken by this host".to_owned(),
    }
}

fn fate_of(refusal: &Refusal) -> Fate {
    let enhanced = match refusal {
        Refusal::Loop { .. } => LOOP,
        Refusal::NoSuchAddress | Refusal::NotHosted { .. } => EnhancedCode(5, 1, 1),
        Refusal::AliasClosed { .. } => EnhancedCode(5, 2, 1),
        Refusal::TooLarge { .. } => EnhancedCode(5, 3, 4),
        Refusal::Malformed(_) => EnhancedCode(5, 6, 0),
        _ => EnhancedCode(5, 7, 1),
    };
    match refusal.is_temporary() {
        true => Fate::local(false, EnhancedCode(4, 3, 0), refusal.to_string()),
        false => Fate::local(true, enhanced, refusal.to_string()),
    }
}
