//! Many aliases with one request.

use super::{AliasView, WRITE, domain_name, given::NewAliasBody, make};
use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{self, Creating},
    idempotency::{Begun, Once},
    resources::destinations::given::Ensured,
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::Acquire;
use std::sync::Arc;
use store::{
    PgConnection,
    aliases::{self, AliasFilter, Change, MOST_AT_ONCE},
    ids::AliasId,
    models::AliasState,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const MOST: usize = 1000;

/// What happens to the aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BulkAction {
    /// They refuse mail for now.
    Pause,
    /// They take mail again.
    Resume,
    /// They are deleted; their addresses stay taken.
    Delete,
    /// They are made.
    Create,
}

/// A change of many aliases. `create` takes `aliases`; the others take exactly one of `filter` and `aliases`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    /// What happens to them.
    action: BulkAction,
    /// Which ones: at least one member.
    filter: Option<BulkFilter>,
    /// `create`: the aliases to make, as `POST /aliases` takes them. Otherwise: the ids of the ones that are meant. At most 1,000.
    #[schema(value_type = Option<Vec<Object>>)]
    aliases: Option<Vec<serde_json::Value>>,
}

/// Which aliases are meant: those to which all given members apply.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkFilter {
    /// Of the domain of this name.
    domain: Option<String>,
    /// `active` or `paused`.
    #[schema(value_type = Option<String>)]
    state: Option<AliasState>,
    /// That forward to this address or URL.
    destination: Option<String>,
    /// Whose address or description contains this.
    q: Option<String>,
}

/// What a change did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// How many aliases changed; those that were so already are not counted.
    changed: usize,
    /// Whether there are more: 1,000 are changed at once. Ask again.
    has_more: bool,
    /// Their ids.
    #[schema(value_type = Vec<String>)]
    ids: Vec<AliasId>,
}

/// One result or error per alias, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Created {
    /// How many were made.
    created: usize,
    /// The results.
    data: Vec<CreateResult>,
}

/// What became of one alias.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum CreateResult {
    /// It was made.
    Made(Box<AliasView>),
    /// It was refused.
    Refused {
        /// Why.
        error: AliasError,
    },
}

/// Why one alias was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AliasError {
    /// The status that it would have had as a request of its own.
    status: u16,
    /// A stable word for programs.
    code: String,
    /// A sentence for people.
    message: String,
    /// Which members are at fault.
    fields: Vec<FieldError>,
}

/// Either answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BulkAnswer {
    /// Of `pause`, `resume` and `delete`.
    Changed(Changed),
    /// Of `create`.
    Created(Created),
}

/// Make, pause, resume or delete many aliases.
#[utoipa::path(post, path = "/aliases/bulk", tag = "aliases", request_body = Bulk,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), security(("api_key" = ["aliases.write"])),
    responses((status = 200, body = BulkAnswer), (status = 422, body = crate::error::ErrorBody)))]
async fn bulk(State(app): State<Arc<App>>, caller: Caller, request: Creating<Bulk>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let Bulk { action, filter, aliases } = request.value;
    if aliases.as_ref().is_some_and(|aliases| aliases.is_empty() || aliases.len() > MOST) {
        return Err(ApiError::field("aliases", format_args!("must name 1 to {MOST} aliases")));
    }
    let change = match action {
        BulkAction::Create => None,
        BulkAction::Pause => Some(Change::Pause),
        BulkAction::Resume => Some(Change::Resume),
        BulkAction::Delete => Some(Change::Delete),
    };
    let task = match (change, filter, aliases) {
        (None, None, Some(aliases)) => Task::Create(aliases),
        (None, ..) => return Err(ApiError::field("aliases", "create takes a list of aliases, and no filter")),
        (Some(change), Some(filter), None) => Task::Change(change, meant_by(filter)?),
        (Some(change), None, Some(ids)) => Task::Change(change, named(&ids)?),
        (Some(_), ..) => return Err(ApiError::field("filter", "give either a filter or the ids of aliases")),
    };
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let (answer, ensured) = match task {
        Task::Create(items) => create(&app, &caller, once.transaction(), items).await?,
        Task::Change(change, mut filter) => {
            filter.within = caller.domains.to_vec();
            let ids = aliases::change_many(once.transaction(), caller.organization, &filter, change).await?;
            let changed = Changed {
                changed: ids.len(),
                has_more: i64::try_from(ids.len()).is_ok_and(|count| count == MOST_AT_ONCE),
                ids,
            };
            (BulkAnswer::Changed(changed), Vec::new())
        }
    };
    let response = once.answer(StatusCode::OK, &answer).await?;
    for one in ensured {
        one.wake(&app);
    }
    Ok(response)
}

enum Task {
    Create(Vec<serde_json::Value>),
    Change(Change, AliasFilter),
}

fn meant_by(filter: BulkFilter) -> Result<AliasFilter, ApiError> {
    if filter.domain.is_none() && filter.state.is_none() && filter.destination.is_none() && filter.q.is_none() {
        return Err(ApiError::field("filter", "must have at least one member"));
    }
    Ok(AliasFilter {
        domain: filter.domain.as_deref().map(domain_name),
        state: filter.state,
        destination: filter.destination.as_deref().map(store::destinations::fold),
        q: filter.q,
        ..AliasFilter::default()
    })
}

/// Ids that are none, or another organization's, mean nothing: they change nothing.
fn named(ids: &[serde_json::Value]) -> Result<AliasFilter, ApiError> {
    let mut read = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let id = id
            .as_str()
            .ok_or_else(|| ApiError::field(format!("aliases[{index}]"), "must be the id of an alias"))?;
        read.extend(id.parse::<AliasId>());
    }
    Ok(AliasFilter {
        ids: Some(read),
        ..AliasFilter::default()
    })
}

async fn create(
    app: &App,
    caller: &Caller,
    connection: &mut PgConnection,
    items: Vec<serde_json::Value>,
) -> Result<(BulkAnswer, Vec<Ensured>), ApiError> {
    let (mut data, mut ensured) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        data.push(match one(app, caller, connection, item).await {
            Ok((alias, made)) => {
                ensured.push(made);
                CreateResult::Made(Box::new(alias))
            }
            Err(error) if error.status.is_server_error() => return Err(error),
            Err(error) => CreateResult::Refused {
                error: AliasError {
                    status: error.status.as_u16(),
                    code: error.code.to_owned(),
                    message: error.message.into_owned(),
                    fields: error.fields,
                },
            },
        });
    }
    let created = Created {
        created: ensured.len(),
        data,
    };
    Ok((BulkAnswer::Created(created), ensured))
}

/// Each in a transaction within the transaction: one that is refused leaves nothing behind.
async fn one(app: &App, caller: &Caller, connection: &mut PgConnection, item: serde_json::Value) -> Result<(AliasView, Ensured), ApiError> {
    let body: NewAliasBody = extract::value(item)?;
    let wanted = body.read(&app.settings).map_err(ApiError::invalid)?;
    let domain = make::usable_domain(app, caller, &wanted.domain).await?;
    let mut within = connection.begin().await.map_err(store::Error::from)?;
    let (alias, ensured) = make::make(app, &mut within, caller.organization, domain, &wanted).await?;
    within.commit().await.map_err(store::Error::from)?;
    Ok((alias.into(), ensured))
}

/// The route.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(bulk))
}
