//! What a domain does with mail that comes in, as requests say it and answers show it.

use super::DomainPatch;
use crate::{
    ApiError, FieldError,
    app::App,
    resources::destinations::given::{self, Given},
};
use serde::{Deserialize, Serialize};
use store::{
    PgConnection,
    ids::{DomainId, OrganizationId},
    incoming::{self, Incoming, IncomingChange},
    models::DmarcFailure,
};
use utoipa::ToSchema;

const MOST_REPLY: usize = 200;

/// What a domain does with mail that comes in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IncomingView {
    /// What takes mail that no alias does; `null`: it is refused.
    #[schema(required)]
    catch_all: Option<CatchAll>,
    /// Whether `local+tag` is `local`.
    subaddressing: bool,
    /// What a paused alias answers instead of the standard refusal.
    paused_reply: Option<String>,
    /// What becomes of mail that fails DMARC: `as_published`, `accept`, `quarantine` or `refuse`.
    #[schema(value_type = String)]
    dmarc_fail: DmarcFailure,
}

/// What takes mail that no alias does.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CatchAll {
    /// Where it goes: mailboxes or `https` URLs, 1 to 20.
    destinations: Vec<String>,
}

impl From<Incoming> for IncomingView {
    fn from(row: Incoming) -> Self {
        let destinations: Vec<String> = row.catch_all.into_iter().map(|target| target.address).collect();
        Self {
            catch_all: (!destinations.is_empty()).then_some(CatchAll { destinations }),
            subaddressing: row.subaddressing,
            paused_reply: row.paused_reply,
            dmarc_fail: row.dmarc_fail,
        }
    }
}

impl Default for IncomingView {
    fn default() -> Self {
        Self {
            catch_all: None,
            subaddressing: true,
            paused_reply: None,
            dmarc_fail: DmarcFailure::AsPublished,
        }
    }
}

/// What one domain does.
///
/// # Errors
/// 404 when it is gone.
pub(super) async fn view(connection: &mut PgConnection, organization: OrganizationId, id: DomainId) -> Result<IncomingView, ApiError> {
    let mut found = incoming::of_domains(connection, organization, &[id]).await?;
    found.remove(&id).map(IncomingView::from).ok_or_else(ApiError::not_found)
}

/// What a patch says about mail that comes in.
#[derive(Debug)]
pub(super) struct Wanted {
    /// `Some(None)` takes it away.
    catch_all: Option<Option<Vec<Given>>>,
    subaddressing: Option<bool>,
    paused_reply: Option<Option<String>>,
    dmarc_fail: Option<DmarcFailure>,
}

/// Reads that part of a patch.
pub(super) fn read(app: &App, patch: &mut DomainPatch, faults: &mut Vec<FieldError>) -> Wanted {
    if let Some(Some(reply)) = &patch.paused_reply
        && (reply.trim().is_empty() || reply.len() > MOST_REPLY || !reply.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
    {
        let message = format_args!("must be one line of 1 to {MOST_REPLY} printable ASCII characters");
        faults.push(FieldError::new("paused_reply", message));
    }
    let mut destinations = |catch_all: CatchAll| given::read_list("catch_all.destinations", &catch_all.destinations, &app.settings, faults);
    Wanted {
        catch_all: patch.catch_all.take().map(|catch_all| catch_all.map(&mut destinations)),
        subaddressing: patch.subaddressing,
        paused_reply: patch.paused_reply.take(),
        dmarc_fail: patch.dmarc_fail,
    }
}

/// Changes it inside the caller's transaction.
///
/// # Errors
/// 404 when the domain is gone; what [`given::ensure`] refuses.
pub(super) async fn save(
    app: &App,
    connection: &mut PgConnection,
    organization: OrganizationId,
    id: DomainId,
    wanted: Wanted,
) -> Result<given::Ensured, ApiError> {
    let given = wanted
        .catch_all
        .as_ref()
        .and_then(|catch_all| catch_all.as_deref())
        .unwrap_or_default();
    let ensured = given::ensure(app, connection, organization, given).await?;
    let ids = ensured.ids();
    let change = IncomingChange {
        subaddressing: wanted.subaddressing,
        paused_reply: wanted.paused_reply.as_ref().map(Option::as_deref),
        dmarc_fail: wanted.dmarc_fail,
        catch_all: wanted.catch_all.as_ref().map(|_| ids.as_slice()),
    };
    incoming::update(connection, organization, id, change).await?;
    Ok(ensured)
}
