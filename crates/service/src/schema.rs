//! Agreement with the database about the schema, before any work begins.

use crate::context::{Context, chain};
use anyhow::bail;
use std::{sync::atomic::Ordering, time::Duration};
use store::schema::{State, state};

const AGAIN: Duration = Duration::from_secs(1);

/// Waits until the database answers, then checks its schema. `Ok(false)` when the process was stopped meanwhile.
///
/// # Errors
/// When the schema is not the one that this program was built for; the text names the cure.
pub async fn wait_for_schema(context: &Context) -> anyhow::Result<bool> {
    let mut tries: u32 = 0;
    loop {
        let asked = tokio::select! {
            asked = state(&context.pool) => asked,
            () = context.stop.cancelled() => return Ok(false),
        };
        match asked {
            Ok(State::Current) => {
                if tries > 0 {
                    tracing::info!("the database is there");
                }
                context.schema_known.store(true, Ordering::Release);
                return Ok(true);
            }
            Ok(State::Behind) => {
                bail!("migrations are missing in the database: run `postroad migrate` with this version, then start again")
            }
            Ok(State::Unknown) => bail!(
                "the database was migrated by another version of postroad: start that version, or run `postroad migrate` of a version that knows both"
            ),
            Err(error) => {
                // Once, and then now and again: a database may be away for long.
                if tries.is_multiple_of(30) {
                    tracing::warn!(cause = chain(&error), "the database does not answer: waiting for it, not ready");
                }
                tries = tries.saturating_add(1);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = context.stop.cancelled() => return Ok(false),
        }
    }
}
