//! A domain's signing keys. A new one waits until it is seen in DNS; then it signs, and the one it replaces retires.

use super::{READ, WRITE, own};
use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{Creating, Id, Ids},
    idempotency::{Begun, Once},
    paging::Page,
};
use auth::secrets::Purpose;
use axum::{Json, extract::State, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use http::StatusCode;
use mailauth::dkim::{self, Algorithm, Signer};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{
    dkim_keys::{self, NewDkimKey},
    ids::{DkimKeyId, DomainId},
    models::{DkimAlgorithm, DkimKeyState},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const MOST_KEYS: usize = 10;

/// A signing key, without its private half.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DkimKey {
    /// Its id.
    #[schema(value_type = String)]
    id: DkimKeyId,
    /// The label under `_domainkey`.
    selector: String,
    /// `rsa-sha256` or `ed25519-sha256`.
    #[schema(value_type = String)]
    algorithm: DkimAlgorithm,
    /// `pending`, `active` or `retiring`.
    #[schema(value_type = String)]
    state: DkimKeyState,
    /// What to publish.
    dns_record: KeyRecord,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// The TXT record of a key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyRecord {
    /// `TXT`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The full name.
    name: String,
    /// The text.
    value: String,
}

impl DkimKey {
    fn of(key: dkim_keys::DkimKey, domain: &str) -> Self {
        Self {
            dns_record: KeyRecord {
                kind: "TXT",
                name: format!("{}._domainkey.{domain}", key.selector),
                value: format!("v=DKIM1; k={}; p={}", ::domains::key_type(key.algorithm), key.public_key),
            },
            id: key.id,
            selector: key.selector,
            algorithm: key.algorithm,
            state: key.state,
            created_at: key.created_at,
        }
    }
}

/// What a new key shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// The label under `_domainkey`; a new one is made up unless given.
    selector: Option<String>,
    /// `rsa-sha256` (unless given) or `ed25519-sha256`.
    #[schema(value_type = Option<String>)]
    algorithm: Option<DkimAlgorithm>,
    /// To import a key: PKCS#8, in PEM or in base64. RSA of 2048 to 4096 bits.
    #[schema(value_type = Option<String>)]
    private_key: Option<SecretString>,
}

/// A key ready to be stored.
pub(super) struct Sealed {
    id: DkimKeyId,
    selector: String,
    algorithm: DkimAlgorithm,
    private_key: Vec<u8>,
    public_key: String,
}

impl Sealed {
    fn of(app: &App, algorithm: DkimAlgorithm, pkcs8: &[u8], public_key: String) -> Self {
        let id = DkimKeyId::generate();
        Self {
            id,
            selector: format!("pr{}", hex::encode(rand::random::<[u8; 4]>())),
            algorithm,
            private_key: app.secrets.seal(Purpose::Dkim, pkcs8, id.0.as_bytes()),
            public_key,
        }
    }

    pub(super) fn row(&self) -> NewDkimKey<'_> {
        NewDkimKey {
            id: self.id,
            selector: &self.selector,
            algorithm: self.algorithm,
            private_key: &self.private_key,
            public_key: &self.public_key,
        }
    }
}

/// Makes a key, off the async threads.
pub(super) async fn generate(app: &App, algorithm: DkimAlgorithm) -> Result<Sealed, ApiError> {
    let made = tokio::task::spawn_blocking(move || dkim::generate(signing(algorithm))).await;
    match made {
        Ok(Ok(made)) => Ok(Sealed::of(app, algorithm, &made.pkcs8, made.public_key)),
        Ok(Err(error)) => {
            tracing::error!(%error, "no signing key");
            Err(ApiError::internal())
        }
        Err(error) => {
            tracing::error!(%error, "making a signing key panicked");
            Err(ApiError::internal())
        }
    }
}

fn import(app: &App, algorithm: DkimAlgorithm, text: &SecretString) -> Result<Sealed, ApiError> {
    let fault = |error: &dyn std::fmt::Display| ApiError::field("private_key", error);
    let body: String = text
        .expose_secret()
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    let pkcs8 = BASE64_STANDARD.decode(body).map_err(|_| fault(&"is neither PEM nor base64"))?;
    // The names are checked elsewhere: only whether the key can sign counts here.
    let signer = Signer::new(signing(algorithm), &pkcs8, "domain.invalid", "selector").map_err(|error| fault(&error))?;
    let public_key = signer.public_key().map_err(|error| fault(&error))?;
    Ok(Sealed::of(app, algorithm, &pkcs8, public_key))
}

const fn signing(algorithm: DkimAlgorithm) -> Algorithm {
    match algorithm {
        DkimAlgorithm::RsaSha256 => Algorithm::RsaSha256,
        DkimAlgorithm::Ed25519Sha256 => Algorithm::Ed25519Sha256,
    }
}

fn check_selector(selector: &str) -> Result<(), ApiError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if selector.len() <= 63 && selector.split('.').all(label) {
        return Ok(());
    }
    let message = "must be DNS labels of lower-case letters, digits and hyphens, at most 63 characters together";
    Err(ApiError::invalid(vec![FieldError::new("selector", message)]))
}

/// List a domain's signing keys, the oldest first.
#[utoipa::path(get, path = "/domains/{id}/dkim-keys", tag = "domains", params(("id" = String, Path)),
    security(("api_key" = ["domains.read"])), responses((status = 200, body = Page<DkimKey>), (status = 404, body = crate::error::ErrorBody)))]
async fn list_keys(State(app): State<Arc<App>>, caller: Caller, Id(id): Id<DomainId>) -> Result<Json<Page<DkimKey>>, ApiError> {
    caller.require(READ)?;
    let domain = own(&app, &caller, id).await?;
    let keys = dkim_keys::of_domain(&app.pool, caller.organization, id).await?;
    Ok(Json(Page {
        data: keys.into_iter().map(|key| DkimKey::of(key, &domain.name)).collect(),
        has_more: false,
        next: None,
    }))
}

/// Add a signing key, made here or imported. It replaces the active one of its algorithm once it is seen in DNS.
#[utoipa::path(post, path = "/domains/{id}/dkim-keys", tag = "domains", request_body = NewKey, params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")),
    security(("api_key" = ["domains.write"])), responses((status = 201, body = DkimKey), (status = 404, body = crate::error::ErrorBody)))]
async fn create_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<DomainId>,
    request: Creating<NewKey>,
) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let domain = own(&app, &caller, id).await?;
    let NewKey {
        selector,
        algorithm,
        private_key,
    } = request.value;
    selector.as_deref().map(check_selector).transpose()?;
    if dkim_keys::of_domain(&app.pool, caller.organization, id).await?.len() >= MOST_KEYS {
        return Err(ApiError::conflict("too_many_keys", "delete a key that no longer signs first"));
    }
    let algorithm = algorithm.unwrap_or(DkimAlgorithm::RsaSha256);
    let mut key = match private_key {
        Some(text) => import(&app, algorithm, &text)?,
        None => generate(&app, algorithm).await?,
    };
    key.selector = selector.unwrap_or(key.selector);
    let mut once = match Once::begin(&app, &caller, request.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let made = dkim_keys::insert(once.transaction(), caller.organization, id, key.row())
        .await
        .map_err(|error| match error.violates("dkim_key_selector_key") {
            true => ApiError::conflict("selector_exists", "the domain has a key of this selector"),
            false => error.into(),
        })?;
    once.answer(StatusCode::CREATED, &DkimKey::of(made, &domain.name)).await
}

/// Delete a signing key that does not sign.
#[utoipa::path(delete, path = "/domains/{id}/dkim-keys/{key}", tag = "domains", params(("id" = String, Path), ("key" = String, Path)),
    security(("api_key" = ["domains.write"])),
    responses((status = 204), (status = 404, body = crate::error::ErrorBody), (status = 409, body = crate::error::ErrorBody)))]
async fn delete_key(State(app): State<Arc<App>>, caller: Caller, Ids(id, key): Ids<DomainId, DkimKeyId>) -> Result<StatusCode, ApiError> {
    caller.require(WRITE)?;
    own(&app, &caller, id).await?;
    let keys = dkim_keys::of_domain(&app.pool, caller.organization, id).await?;
    let found = keys.iter().find(|found| found.id == key).ok_or_else(ApiError::not_found)?;
    if found.state == DkimKeyState::Active {
        return Err(ApiError::conflict("key_in_use", "this key signs: replace it first"));
    }
    dkim_keys::delete(&app.pool, caller.organization, id, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of a domain's keys.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(delete_key))
}
