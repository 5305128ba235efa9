//! Trying a rule on a sample or on past messages. Nothing is kept, counted or changed.

use super::{READ, check};
use crate::{ApiError, FieldError, access::Caller, app::App, extract::Body, resources::rule_scopes};
use ::rules::{Action, Compiled, Incoming, Rule, Verdicts};
use axum::{Json, extract::State};
use mail::{Address, ReversePath};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{ids::MessageId, queue, rules};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const MOST_PAST: u32 = 100;

/// A rule, and what to try it on: exactly one of `message` and `last`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The rule, as it would be made.
    #[schema(value_type = super::NewRuleBody)]
    rule: Rule,
    /// A sample.
    message: Option<Sample>,
    /// The last messages that came in within the rule's scope, at most 100.
    last: Option<u32>,
}

/// A sample message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    /// The envelope's sender; empty: a bounce.
    from: String,
    /// The recipient.
    to: String,
    /// The message.
    raw: String,
    /// How SPF came out, such as `pass`.
    spf: Option<String>,
    /// How DKIM came out.
    dkim: Option<String>,
    /// How DMARC came out.
    dmarc: Option<String>,
}

/// What the rule would have done, message by message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trials {
    /// The newest first.
    data: Vec<Tried>,
}

/// What the rule would have done with one message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tried {
    /// The past message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    message: Option<MessageId>,
    /// Whether its conditions hold.
    matched: bool,
    /// What it would do then.
    #[schema(value_type = Option<Object>, required)]
    action: Option<Action>,
}

/// A message to try on.
struct Tryable {
    id: Option<MessageId>,
    sender: ReversePath,
    recipient: Address,
    words: [String; 3],
}

/// Try a rule without keeping it.
#[utoipa::path(post, path = "/rules/test", tag = "rules", request_body = Trial, security(("api_key" = ["rules.read"])),
    responses((status = 200, body = Trials), (status = 404, body = crate::error::ErrorBody), (status = 422, body = crate::error::ErrorBody)))]
async fn test(State(app): State<Arc<App>>, caller: Caller, Body(trial): Body<Trial>) -> Result<Json<Trials>, ApiError> {
    caller.require(READ)?;
    let compiled = Arc::new(check(&trial.rule).map_err(within_rule)?);
    let scope = rule_scopes::resolve(&app, &caller, &trial.rule.scope).await?;
    let data = match (trial.message, trial.last) {
        (Some(sample), None) => {
            let (tryable, raw) = read(sample)?;
            vec![tried(&compiled, tryable, raw).await?]
        }
        (None, Some(last)) if (1..=MOST_PAST).contains(&last) => {
            let mut data = Vec::new();
            for past in rules::past(&app.pool, caller.organization, scope, i64::from(last)).await? {
                let Some(tryable) = remembered(&past) else { continue };
                // one at a time: each may be as large as a message may be
                let Some((_, raw)) = queue::bodies(&app.pool, &[past.id]).await?.into_iter().next() else {
                    continue;
                };
                data.push(tried(&compiled, tryable, raw).await?);
            }
            data
        }
        (None, Some(_)) => return Err(ApiError::field("last", format_args!("must be between 1 and {MOST_PAST}"))),
        _ => return Err(ApiError::field("message", "give either a message or last")),
    };
    Ok(Json(Trials { data }))
}

fn within_rule(error: ApiError) -> ApiError {
    let fields = error.fields.into_iter();
    ApiError::invalid(
        fields
            .map(|fault| FieldError::new(format!("rule.{}", fault.field), fault.message))
            .collect(),
    )
}

fn read(sample: Sample) -> Result<(Tryable, Vec<u8>), ApiError> {
    let sender = match sample.from.trim() {
        "" | "<>" => ReversePath::Null,
        text => ReversePath::Address(Address::parse(text).map_err(|error| ApiError::field("message.from", error))?),
    };
    let recipient = Address::parse(sample.to.trim()).map_err(|error| ApiError::field("message.to", error))?;
    let words = [sample.spf, sample.dkim, sample.dmarc].map(Option::unwrap_or_default);
    let tryable = Tryable {
        id: None,
        sender,
        recipient,
        words,
    };
    Ok((tryable, sample.raw.into_bytes()))
}

/// `None`: its addresses were stored by rules that have changed since.
fn remembered(past: &rules::PastMessage) -> Option<Tryable> {
    let sender = match past.envelope_sender.as_str() {
        "" => ReversePath::Null,
        text => ReversePath::Address(Address::parse(text).ok()?),
    };
    Some(Tryable {
        id: Some(past.id),
        sender,
        recipient: Address::parse(&past.recipient).ok()?,
        words: ["spf", "dkim", "dmarc"].map(|check| word(past.verdicts.as_ref(), check)),
    })
}

/// The word of one check: of several signatures, `pass` if one passed.
fn word(verdicts: Option<&serde_json::Value>, check: &str) -> String {
    let result = |verdict: &serde_json::Value| verdict.as_str().or_else(|| verdict.get("result")?.as_str()).map(str::to_owned);
    let word = match verdicts.and_then(|verdicts| verdicts.get(check)) {
        Some(serde_json::Value::Array(several)) => {
            let words: Vec<String> = several.iter().filter_map(result).collect();
            words.iter().find(|word| *word == "pass").or(words.first()).cloned()
        }
        Some(verdict) => result(verdict),
        None => None,
    };
    word.unwrap_or_default()
}

/// A large message takes a while to look through: that is done beside the requests of others.
async fn tried(compiled: &Arc<Compiled>, tryable: Tryable, raw: Vec<u8>) -> Result<Tried, ApiError> {
    let compiled = Arc::clone(compiled);
    let evaluated = tokio::task::spawn_blocking(move || {
        let [spf, dkim, dmarc] = &tryable.words;
        let incoming = Incoming::new(&raw, &tryable.sender, Verdicts { spf, dkim, dmarc });
        let matched = compiled.matches(&incoming.to(&tryable.recipient));
        Tried {
            message: tryable.id,
            matched,
            action: matched.then(|| compiled.action().clone()),
        }
    });
    evaluated.await.map_err(|error| {
        tracing::error!(%error, "a trial did not end");
        ApiError::internal()
    })
}

/// The route.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(test))
}
