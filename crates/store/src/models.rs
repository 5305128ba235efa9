//! The enumerations that SQL, Rust and JSON share, each with the one spelling used in all three.

/// The text is not one of the enumeration's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of: {1}")]
pub struct UnknownValue(String, &'static str);

macro_rules! enumerations {
    ($($(#[$doc:meta])* $name:ident $sql:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
        #[sqlx(type_name = $sql)]
        pub enum $name {
            $($(#[$variant_doc])* #[sqlx(rename = $text)] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in the order of the SQL type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The spelling in SQL and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownValue;
            fn from_str(text: &str) -> Result<Self, UnknownValue> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownValue(text.to_owned(), concat!($($text, " "),*))) }
            }
        }
    )*};
}

enumerations! {
    /// Which way a message goes.
    Direction "message_direction" {
        /// Submitted by a customer's program for somebody else's server.
        Outbound = "outbound",
        /// Taken without onward delivery.
        Inbound = "inbound",
        /// Came in for an alias, goes on to its destinations.
        Forward = "forward",
        /// Goes back out as the alias.
        Reply = "reply",
        /// A delivery status notification.
        Bounce = "bounce",
    }
    /// The door by which a message came.
    Via "message_via" {
        /// The SMTP listener.
        Smtp = "smtp",
        /// The HTTP API.
        Api = "api",
        /// Made by this instance.
        Internal = "internal",
    }
    /// Where one recipient of one message stands.
    DeliveryStatus "delivery_status" {
        /// Waits for its first attempt.
        Queued = "queued",
        /// Waits for the time its sender asked for.
        Scheduled = "scheduled",
        /// Waits for somebody to release it.
        Held = "held",
        /// Tried; will be tried again.
        Deferred = "deferred",
        /// The next server took it.
        Delivered = "delivered",
        /// A remote server refused it for good, at once or later.
        Bounced = "bounced",
        /// Failed for good without a remote server's reply.
        Failed = "failed",
        /// Could not be delivered in time.
        Expired = "expired",
        /// Delivered, and its reader complained.
        Complained = "complained",
        /// Never tried: the address is suppressed.
        Suppressed = "suppressed",
        /// Withdrawn by its sender.
        Canceled = "canceled",
        /// Refused by a rule.
        Blocked = "blocked",
        /// Set aside for a person to look at.
        Quarantined = "quarantined",
        /// Thrown away by a rule.
        Discarded = "discarded",
    }
    /// How a recipient was named.
    RecipientKind "recipient_kind" {
        /// By the SMTP envelope.
        Envelope = "envelope",
        /// In `to`.
        To = "to",
        /// In `cc`.
        Cc = "cc",
        /// In `bcc`.
        Bcc = "bcc",
    }
    /// How one attempt ended.
    AttemptOutcome "attempt_outcome" {
        /// The next server took it.
        Delivered = "delivered",
        /// A temporary refusal or fault.
        Deferred = "deferred",
        /// A permanent refusal by a remote server.
        Bounced = "bounced",
        /// A permanent fault without a remote reply.
        Failed = "failed",
        /// Nobody knows whether the next server took it.
        InDoubt = "in_doubt",
    }
    /// Why an address must not be written to.
    SuppressionReason "suppression_reason" {
        /// It does not exist, said its server.
        HardBounce = "hard_bounce",
        /// Its reader complained.
        Complaint = "complaint",
        /// A customer said so.
        Manual = "manual",
    }
    /// Whether a domain may be used.
    DomainStatus "domain_status" {
        /// Ownership was never proved.
        Pending = "pending",
        /// In use.
        Active = "active",
        /// Proved once, but its records no longer hold.
        Failing = "failing",
    }
    /// The signature algorithm of a DKIM key.
    DkimAlgorithm "dkim_algorithm" {
        /// RFC 6376.
        RsaSha256 = "rsa-sha256",
        /// RFC 8463.
        Ed25519Sha256 = "ed25519-sha256",
    }
    /// Where a DKIM key is in its life.
    DkimKeyState "dkim_key_state" {
        /// Not yet seen in DNS.
        Pending = "pending",
        /// Signs.
        Active = "active",
        /// No longer signs; stays published for mail still on its way.
        Retiring = "retiring",
    }
    /// What a wanted DNS record is for.
    RecordPurpose "record_purpose" {
        /// Proves who controls the domain.
        Ownership = "ownership",
        /// Brings the domain's mail here.
        Mx = "mx",
        /// Lets this instance send for the domain.
        Spf = "spf",
        /// Publishes a signing key.
        Dkim = "dkim",
        /// Says what to do with unauthenticated mail.
        Dmarc = "dmarc",
        /// Brings bounces here.
        ReturnPath = "return_path",
    }
    /// The type of a wanted DNS record.
    RecordType "record_type" {
        /// Text.
        Txt = "TXT",
        /// Mail exchanger.
        Mx = "MX",
        /// Canonical name.
        Cname = "CNAME",
    }
    /// Whether an alias takes mail.
    AliasState "alias_state" {
        /// It does.
        Active = "active",
        /// It refuses for now.
        Paused = "paused",
    }
    /// How an alias's mail can be answered.
    RepliesAs "replies_as" {
        /// To the author, from the private mailbox.
        Direct = "direct",
        /// Through a reverse address, as the alias.
        AsAlias = "as_alias",
    }
    /// What a destination is.
    DestinationKind "destination_kind" {
        /// A private mailbox.
        Mailbox = "mailbox",
        /// An HTTP endpoint.
        Endpoint = "endpoint",
    }
    /// What becomes of mail that fails DMARC.
    DmarcFailure "dmarc_failure" {
        /// What the author's domain asks for.
        AsPublished = "as_published",
        /// It is accepted.
        Accept = "accept",
        /// It is set aside.
        Quarantine = "quarantine",
        /// It is refused.
        Refuse = "refuse",
    }
    /// What a sender list says of a sender.
    SenderListing "sender_listing" {
        /// Let through, before every rule.
        Allow = "allow",
        /// Refused, before every rule.
        Deny = "deny",
    }
    /// What a check of a wanted record found.
    RecordStatus "record_status" {
        /// As wanted.
        Ok = "ok",
        /// Nothing there.
        Missing = "missing",
        /// Something else there.
        Wrong = "wrong",
        /// Not looked up yet, or the look-up failed.
        Unchecked = "unchecked",
    }
}

impl DeliveryStatus {
    /// Whether nothing more will happen to the delivery by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Scheduled | Self::Held | Self::Deferred)
    }
}
