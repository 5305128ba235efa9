//! NOTIFY and LISTEN between the processes that accept and those that deliver.

use crate::Result;
use sqlx::{PgPool, postgres::PgListener};

const CHANNEL: &str = "postroad_queue";

/// Tells every listening worker that these lanes have something new. Not to be called inside an accepting transaction.
///
/// # Errors
/// When the database is out of reach.
pub async fn notify(pool: &PgPool, lanes: &[i64]) -> Result<()> {
    let payload = lanes.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    // wake::notify
    sqlx::query!("select pg_notify($1, $2)", CHANNEL, payload).fetch_one(pool).await?;
    Ok(())
}

/// Calls `heard` with the lanes of each notification, until the connection is lost.
///
/// # Errors
/// When the database is out of reach.
pub async fn listen(pool: &PgPool, heard: impl Fn(Vec<i64>)) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        heard(notification.payload().split(',').filter_map(|lane| lane.parse().ok()).collect());
    }
}
