//! What can go wrong in the store, as decisions a caller can take.

/// The outcome of a store function.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store function gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such row in this organization.
    #[error("not found")]
    NotFound,
    /// A unique or check constraint refused it; the name is the constraint's.
    #[error("conflicts with {0}")]
    Conflict(String),
    /// The database could not be reached or was not able to answer: try again later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A fault of ours: a query or a row that should not be.
    #[error("database error")]
    Other(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::RowNotFound => Self::NotFound,
            E::Database(ref refused) => {
                let code = refused.code().unwrap_or_default();
                match &*code {
                    "23505" | "23514" | "23503" => Self::Conflict(refused.constraint().unwrap_or_default().to_owned()),
                    // 08 connection, 40 rolled back, 53 resources, 57 shutdown or cancel, 25006 read-only after a failover
                    _ if ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006" => {
                        Self::Unavailable(error)
                    }
                    _ => Self::Other(error),
                }
            }
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => Self::Unavailable(error),
            _ => Self::Other(error),
        }
    }
}

impl Error {
    /// Whether this is the violation of the named constraint.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Conflict(name) if name == constraint)
    }
}
