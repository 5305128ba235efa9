//! Messages that came in, for trying a rule on them.

use super::Scope;
use crate::{
    Result,
    ids::{MessageId, OrganizationId},
};
use sqlx::PgExecutor;

/// A message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct PastMessage {
    /// Its id.
    pub id: MessageId,
    /// Empty: the null reverse-path.
    pub envelope_sender: String,
    /// The address it came for.
    pub recipient: String,
    /// SPF, DKIM and DMARC, as verified when it came.
    pub verdicts: Option<serde_json::Value>,
}

/// Up to `limit` messages that came in within the scope and whose content is still kept, the newest first.
///
/// # Errors
/// When the database fails; a search that takes longer than a statement may is `Unavailable`.
pub async fn past(executor: impl PgExecutor<'_>, organization: OrganizationId, scope: Scope, limit: i64) -> Result<Vec<PastMessage>> {
    // rules::past
    Ok(sqlx::query_as!(
        PastMessage,
        r#"select m.id as "id: MessageId", m.envelope_sender, m.original_recipient as "recipient!", m.verdicts
           from message m
           where m.organization_id = $1 and m.original_recipient is not null and ($2::uuid is null or m.domain_id = $2)
             and ($3::uuid is null or m.alias_id = $3) and exists (select from content c where c.message_id = m.id)
           order by m.id desc limit $4"#,
        organization.0,
        scope.domain(),
        scope.alias(),
        limit
    )
    .fetch_all(executor)
    .await?)
}
