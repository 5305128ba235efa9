//! Rules about mail that comes in. What they say is checked and decided by the crate `rules`; here they are kept, ordered and tried.

mod trial;

use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Body, Creating, Id, Query},
    idempotency::{Begun, Once},
    paging::{Page, Paging},
    resources::{
        destinations::given::{self, Ensured, Given},
        rule_scopes::{self, DomainNames, ScopeView},
    },
};
use ::rules::{Action, Compiled, Condition, Definition, Match, Rule};
use auth::scopes::Scope;
use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::Arc};
use store::{
    PgConnection, destinations,
    ids::RuleId,
    rules::{self, NewRule, RuleChange, StoredRule},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const READ: Scope = Scope::Read("rules");
const WRITE: Scope = Scope::Write("rules");

/// Rules of an organization.
const MOST: i64 = 1000;

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleView {
    /// Its id.
    #[schema(value_type = String)]
    id: RuleId,
    /// What its people call it.
    name: String,
    /// Whose mail it is about.
    scope: ScopeView,
    /// Its place among the rules of its scope, the lowest first.
    position: i32,
    /// Whether it counts.
    enabled: bool,
    /// `match`, `conditions`, `action`.
    #[serde(flatten)]
    #[schema(value_type = DefinitionBody)]
    definition: serde_json::Value,
    /// How often it decided.
    match_count: i64,
    /// When it last did.
    last_matched_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// What a rule says.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only describes what the crate `rules` reads")]
pub(crate) struct DefinitionBody {
    /// `all` or `any`.
    r#match: String,
    /// `{"field","op","value"}` each.
    conditions: Vec<serde_json::Value>,
    /// `{"type":"forward"|"redirect"|"block"|"discard"|"quarantine",…}`.
    #[schema(value_type = Object)]
    action: serde_json::Value,
}

/// A rule to make.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only describes what the crate `rules` reads")]
pub(crate) struct NewRuleBody {
    /// 1 to 200 characters.
    name: String,
    /// `{"alias":"als_…"}`, `{"domain":"example.org"}` or `{"organization":true}`.
    #[schema(value_type = Object)]
    scope: serde_json::Value,
    /// Its place; the last one unless given.
    position: Option<i32>,
    /// `true` unless given.
    enabled: Option<bool>,
    /// `all` (unless given) or `any`.
    r#match: Option<String>,
    /// `{"field","op","value"}` each.
    conditions: Vec<serde_json::Value>,
    /// `{"type":"forward"|"redirect"|"block"|"discard"|"quarantine",…}`.
    #[schema(value_type = Object)]
    action: serde_json::Value,
}

/// What may be changed of a rule; what is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulePatch {
    /// 1 to 200 characters.
    name: Option<String>,
    /// `{"alias":"als_…"}`, `{"domain":"example.org"}` or `{"organization":true}`.
    #[schema(value_type = Option<Object>)]
    scope: Option<::rules::Scope>,
    /// Its place.
    position: Option<i32>,
    /// Whether it counts.
    enabled: Option<bool>,
    /// `all` or `any`.
    #[serde(rename = "match")]
    #[schema(value_type = Option<String>)]
    matching: Option<Match>,
    /// `{"field","op","value"}` each.
    #[schema(value_type = Option<Vec<Object>>)]
    conditions: Option<Vec<Condition>>,
    /// `{"type":…}`.
    #[schema(value_type = Option<Object>)]
    action: Option<Action>,
}

/// The rules that come first, in this order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// Their ids. Rules that are not named keep their order, behind these.
    ids: Vec<String>,
}

/// Which rules to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// 1 to 100, 25 unless given.
    limit: Option<u32>,
    /// The cursor of the former page.
    after: Option<String>,
    /// Only those of this domain itself, by name or id.
    domain: Option<String>,
    /// Only those of this alias, by id.
    alias: Option<String>,
}

fn view(names: &DomainNames, row: StoredRule) -> RuleView {
    RuleView {
        id: row.id,
        name: row.name,
        scope: names.view(row.scope),
        position: row.position,
        enabled: row.enabled,
        definition: row.definition,
        match_count: row.match_count,
        last_matched_at: row.last_matched_at,
        created_at: row.created_at,
    }
}

async fn shown(app: &App, caller: &Caller, row: StoredRule) -> Result<RuleView, ApiError> {
    let names = DomainNames::of(app, caller.organization, std::iter::once(row.scope)).await?;
    Ok(view(&names, row))
}

/// Checks a whole rule.
fn check(rule: &Rule) -> Result<Compiled, ApiError> {
    Compiled::new(rule).map_err(|faults| {
        ApiError::invalid(
            faults
                .into_iter()
                .map(|fault| FieldError::new(fault.field, fault.message))
                .collect(),
        )
    })
}

/// Makes sure that a redirect's destinations are the organization's, and writes them as they are kept.
async fn keep(
    app: &App,
    caller: &Caller,
    connection: &mut PgConnection,
    mut definition: Definition,
) -> Result<(serde_json::Value, Ensured), ApiError> {
    let mut ensured = Ensured::default();
    if let Action::Redirect { destinations: texts } = &mut definition.action {
        let mut faults = Vec::new();
        let mut wanted = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let field = format!("action.destinations[{index}]");
            let address = match text.parse() {
                Ok(id) => match destinations::find(&mut *connection, caller.organization, id).await {
                    Ok(destination) => destination.address,
                    Err(store::Error::NotFound) => {
                        faults.push(FieldError::new(field, "is not a destination of yours"));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(_) => text.clone(),
            };
            match Given::read(&address, &app.settings) {
                Ok(given) => wanted.push(given),
                Err(fault) => faults.push(FieldError::new(field, fault)),
            }
        }
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        ensured = given::ensure(app, connection, caller.organization, &wanted).await?;
        *texts = ensured.destinations.iter().map(|destination| destination.address.clone()).collect();
    }
    let value = serde_json::to_value(&definition).map_err(|error| {
        tracing::error!(%error, "a rule cannot be written");
        ApiError::internal()
    })?;
    Ok((value, ensured))
}

/// List rules in their order.
#[utoipa::path(get, path = "/rules", tag = "rules", params(Filter),
    security(("api_key" = ["rules.read"])), responses((status = 200, body = Page<RuleView>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Page<RuleView>>, ApiError> {
    caller.require(READ)?;
    let paging = Paging::read(&app, "rules", filter.limit, filter.after.as_deref())?;
    let scope = rule_scopes::of_list(&app, &caller, filter.domain, filter.alias).await?;
    let rows = rules::list(&app.pool, caller.organization, scope, paging.after(RuleId), paging.fetch()).await?;
    let names = DomainNames::of(&app, caller.organization, rows.iter().map(|row| row.scope)).await?;
    Ok(Json(paging.page(&app, rows, |row| row.id.0, |row| view(&names, row))))
}

/// Make a rule. It holds at once.
#[utoipa::path(post, path = "/rules", tag = "rules", request_body = NewRuleBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), security(("api_key" = ["rules.write"])),
    responses((status = 201, body = RuleView), (status = 404, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn create(State(app): State<Arc<App>>, caller: Caller, request: Creating<Rule>) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let rule = request.value;
    check(&rule)?;
    let scope = rule_scopes::resolve(&app, &caller, &rule.scope).await?;
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    if rules::count(once.transaction(), caller.organization).await? >= MOST {
        return Err(ApiError::conflict(
            "too_many_rules",
            format!("an organization has at most {MOST} rules"),
        ));
    }
    let (definition, ensured) = keep(&app, &caller, once.transaction(), rule.definition).await?;
    let new = NewRule {
        scope,
        name: rule.name.trim(),
        position: rule.position,
        enabled: rule.enabled,
        definition: &definition,
    };
    let made = rules::insert(once.transaction(), caller.organization, new).await?;
    let view = shown(&app, &caller, made).await?;
    let response = once.answer(StatusCode::CREATED, &view).await?;
    ensured.wake(&app);
    Ok(response)
}

async fn own(app: &App, caller: &Caller, id: RuleId) -> Result<StoredRule, ApiError> {
    let rule = rules::find(&app.pool, caller.organization, id).await?;
    rule_scopes::require(app, caller, rule.scope).await?;
    Ok(rule)
}

/// Look at a rule.
#[utoipa::path(get, path = "/rules/{id}", tag = "rules", params(("id" = String, Path)),
    security(("api_key" = ["rules.read"])), responses((status = 200, body = RuleView), (status = 404, body = crate::error::ErrorBody)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<RuleId>) -> Result<Json<RuleView>, ApiError> {
    caller.require(READ)?;
    let rule = own(&app, &caller, id).await?;
    Ok(Json(shown(&app, &caller, rule).await?))
}

/// Change a rule. It holds at once.
#[utoipa::path(patch, path = "/rules/{id}", tag = "rules", params(("id" = String, Path)), request_body = RulePatch, security(("api_key" = ["rules.write"])),
    responses((status = 200, body = RuleView), (status = 404, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<RuleId>,
    Body(patch): Body<RulePatch>,
) -> Result<Json<RuleView>, ApiError> {
    caller.require(WRITE)?;
    let former = own(&app, &caller, id).await?;
    let scope = match &patch.scope {
        Some(scope) => Some(rule_scopes::resolve(&app, &caller, scope).await?),
        None => None,
    };
    let says_other = patch.matching.is_some() || patch.conditions.is_some() || patch.action.is_some();
    let kept: Definition = crate::extract::value(former.definition)?;
    let whole = Rule {
        name: patch.name.unwrap_or(former.name),
        scope: patch.scope.unwrap_or(::rules::Scope::Organization),
        position: patch.position,
        enabled: patch.enabled.unwrap_or(former.enabled),
        definition: Definition {
            matching: patch.matching.unwrap_or(kept.matching),
            conditions: patch.conditions.unwrap_or(kept.conditions),
            action: patch.action.unwrap_or(kept.action),
        },
    };
    check(&whole)?;
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    let (definition, ensured) = match says_other {
        true => {
            let (definition, ensured) = keep(&app, &caller, &mut transaction, whole.definition).await?;
            (Some(definition), ensured)
        }
        false => (None, Ensured::default()),
    };
    let change = RuleChange {
        scope,
        name: Some(whole.name.trim()),
        position: whole.position,
        enabled: Some(whole.enabled),
        definition: definition.as_ref(),
    };
    let changed = rules::update(&mut *transaction, caller.organization, id, change).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    ensured.wake(&app);
    Ok(Json(shown(&app, &caller, changed).await?))
}

/// Forget a rule.
#[utoipa::path(delete, path = "/rules/{id}", tag = "rules", params(("id" = String, Path)),
    security(("api_key" = ["rules.write"])), responses((status = 204), (status = 404, body = crate::error::ErrorBody)))]
async fn delete(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<RuleId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    rules::delete(&app.pool, caller.organization, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put rules in order.
#[utoipa::path(put, path = "/rules/order", tag = "rules", request_body = Order, security(("api_key" = ["rules.write"])),
    responses((status = 204), (status = 404, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn order(State(app): State<Arc<App>>, caller: Caller, Body(order): Body<Order>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    rule_scopes::require_everything(&caller)?;
    let ids: Vec<RuleId> = order
        .ids
        .iter()
        .map(|id| id.parse().map_err(|_| ApiError::not_found()))
        .collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.iter().collect::<HashSet<_>>().len() != ids.len() {
        return Err(ApiError::field("ids", "must name at least one rule, and none twice"));
    }
    let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
    rules::reorder(&mut transaction, caller.organization, &ids).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, patch, delete))
        .routes(routes!(order))
        .merge(trial::router())
}
