//! What other processes must forget: triggers announce, on commit, each organization whose aliases, destinations, catch-alls, contacts, rules,
//! sender lists or domain settings changed. Counting a message or a match is no change.

use crate::{Result, ids::OrganizationId};
use sqlx::{PgPool, postgres::PgListener};

const CHANNEL: &str = "postroad_changes";

/// Calls `heard` with each organization that changed something, until the connection is lost. What changed before the first call, or
/// while there was no connection, is not told: whoever remembers things forgets all of them when it (re)connects, which `listening` tells.
///
/// # Errors
/// When the database is out of reach.
pub async fn listen(pool: &PgPool, listening: impl Fn(), heard: impl Fn(OrganizationId)) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    listening();
    // `try_recv`, because `recv` reconnects by itself and does not tell
    while let Some(notification) = listener.try_recv().await? {
        if let Ok(organization) = notification.payload().parse() {
            heard(OrganizationId(organization));
        }
    }
    Ok(())
}
