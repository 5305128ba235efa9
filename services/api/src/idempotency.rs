//! `Idempotency-Key`: a repeated request is answered as the first one was, without being done again.
//!
//! [`Once`] holds the transaction in which a request does its work: the record commits with the effect. The kept answer is sealed under
//! the instance secret, because some answers hold a secret that is otherwise shown once and stored nowhere. Sends keep their records
//! through the intake, where the message commits.

use crate::{ApiError, access::Caller, app::App};
use auth::secrets::Purpose;
use axum::response::{IntoResponse, Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::{PgConnection, Postgres, Transaction, idempotency::Name, ids::OrganizationId};

/// The header of a replayed answer.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 256;

/// A request that came with a key.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    /// Method and path: the same key means something else on another route.
    pub route: String,
    /// The client's key.
    pub key: String,
    /// SHA-256 of query and body.
    pub hash: [u8; 32],
}

impl Keyed {
    /// Reads the header.
    ///
    /// # Errors
    /// 422 when it is empty, too long, or given twice.
    pub(crate) fn read(parts: &Parts, body: &[u8]) -> Result<Option<Self>, ApiError> {
        let mut values = parts.headers.get_all(KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().unwrap_or_default();
        if values.next().is_some() || key.is_empty() || key.len() > MAX_KEY {
            return Err(ApiError::field(
                "Idempotency-Key",
                format_args!("must be 1 to {MAX_KEY} visible ASCII characters, given once"),
            ));
        }
        let path = parts.uri.path();
        let path = path.strip_prefix(crate::routes::BASE).unwrap_or(path);
        let hash = Sha256::new()
            .chain_update(parts.uri.query().unwrap_or_default())
            .chain_update([0])
            .chain_update(body)
            .finalize();
        Ok(Some(Self {
            route: format!("{} {path}", parts.method),
            key: key.to_owned(),
            hash: hash.into(),
        }))
    }

    const fn name(&self) -> Name<'_> {
        Name {
            route: self.route.as_str(),
            key: self.key.as_str(),
        }
    }

    /// What the seal of the kept answer is bound to.
    fn row(&self, organization: OrganizationId) -> Vec<u8> {
        [
            organization.0.as_bytes().as_slice(),
            self.route.as_bytes(),
            b"\n",
            self.key.as_bytes(),
        ]
        .concat()
    }
}

/// A request's one transaction. Dropped without an answer, it leaves nothing behind.
pub(crate) struct Once<'a> {
    app: &'a App,
    organization: OrganizationId,
    keyed: Option<Keyed>,
    transaction: Transaction<'static, Postgres>,
}

/// How a request begins.
pub(crate) enum Begun<'a> {
    /// It is new: do it.
    New(Once<'a>),
    /// It was done before: this was the answer.
    Replay(Response),
}

impl std::fmt::Debug for Once<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Once")
            .field("organization", &self.organization)
            .finish_non_exhaustive()
    }
}

impl<'a> Once<'a> {
    /// Begins a request.
    ///
    /// # Errors
    /// 409 when the key was used for another request or is being worked on.
    pub(crate) async fn begin(app: &'a App, caller: &Caller, keyed: Option<Keyed>) -> Result<Begun<'a>, ApiError> {
        let organization = caller.organization;
        let mut transaction = app.pool.begin().await.map_err(store::Error::from)?;
        if let Some(keyed) = &keyed {
            if !store::idempotency::try_lock(&mut transaction, organization, keyed.name()).await? {
                return Err(ApiError::key_in_progress());
            }
            if let Some(record) = store::idempotency::find(&mut *transaction, organization, keyed.name()).await? {
                // Now, not when the connection is next looked at: the lock would keep another repetition out meanwhile.
                transaction.rollback().await.map_err(store::Error::from)?;
                return replay(app, organization, keyed, &record).map(Begun::Replay);
            }
        }
        Ok(Begun::New(Self {
            app,
            organization,
            keyed,
            transaction,
        }))
    }

    /// The transaction to work in.
    pub(crate) fn transaction(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Keeps the answer, commits, and gives the response.
    ///
    /// # Errors
    /// When the database fails: nothing happened then.
    pub(crate) async fn answer(mut self, status: StatusCode, answer: &impl Serialize) -> Result<Response, ApiError> {
        let body = serde_json::to_vec(answer).map_err(|error| {
            tracing::error!(%error, "an answer cannot be written");
            ApiError::internal()
        })?;
        if let Some(keyed) = &self.keyed {
            let sealed = self.app.secrets.seal(Purpose::Answer, &body, &keyed.row(self.organization));
            let kept = serde_json::json!({ "sealed": BASE64_STANDARD.encode(sealed) });
            let number = i16::try_from(status.as_u16()).unwrap_or(200);
            store::idempotency::insert(&mut *self.transaction, self.organization, keyed.name(), &keyed.hash, number, &kept).await?;
        }
        self.transaction.commit().await.map_err(store::Error::from)?;
        Ok(response(status, body))
    }
}

fn replay(app: &App, organization: OrganizationId, keyed: &Keyed, record: &store::idempotency::Record) -> Result<Response, ApiError> {
    if record.request_hash != keyed.hash {
        return Err(ApiError::key_reused());
    }
    let kept = record.response.as_ref().and_then(|kept| kept.get("sealed")?.as_str());
    let sealed = kept.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let body = sealed.and_then(|sealed| app.secrets.open(Purpose::Answer, &sealed, &keyed.row(organization)).ok());
    match (
        record
            .status
            .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok()),
        body,
    ) {
        (Some(status), Some(body)) => {
            let mut response = response(status, body.to_vec());
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        _ => {
            tracing::error!(route = %keyed.route, "a kept answer cannot be read");
            Err(ApiError::internal())
        }
    }
}

fn response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
