//! Which program reads the settings: defaults and requirements differ.

/// The program that is starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// `postroad-smtp`: the listener.
    Smtp,
    /// `postroad-api`: the HTTP interface.
    Api,
    /// `postroad-worker`: delivery and background work.
    Worker,
    /// `postroad up`: all three in one process, with a database of its own unless `DATABASE_URL` is set.
    Up,
    /// Any other command of `postroad`: nothing is required beforehand.
    Cli,
}

impl Service {
    /// The program's name: in logs, in traces and to the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "postroad-smtp",
            Self::Api => "postroad-api",
            Self::Worker => "postroad-worker",
            Self::Up | Self::Cli => "postroad",
        }
    }

    /// Whether this program listens for SMTP.
    #[must_use]
    pub const fn serves_smtp(self) -> bool {
        matches!(self, Self::Smtp | Self::Up)
    }

    /// Whether this program listens for HTTP.
    #[must_use]
    pub const fn serves_api(self) -> bool {
        matches!(self, Self::Api | Self::Up)
    }

    /// Whether this program stands alone and so must be told its database and its secret.
    pub(crate) const fn must_be_told(self) -> bool {
        matches!(self, Self::Smtp | Self::Api | Self::Worker)
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
