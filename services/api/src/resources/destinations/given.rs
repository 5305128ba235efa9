//! Destinations as requests give them: a mailbox's address or an endpoint's URL. What is not known yet is made, once per organization.

use crate::{
    ApiError, FieldError,
    app::{App, Settings},
};
use auth::secrets::Purpose;
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use http::StatusCode;
use intake::ConfirmationMail;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use store::{
    PgConnection,
    destinations::{self, Destination, NewDestination},
    ids::{DestinationId, OrganizationId},
    models::DestinationKind,
};
use url::{Host, Url};

/// Destinations of one alias, rule or catch-all.
pub(crate) const MOST: usize = 20;

/// Unconfirmed destinations of an organization: each has cost a stranger a mail.
const MOST_UNVERIFIED: i64 = 100;

const MOST_URL_CHARACTERS: usize = 2000;

/// A well-formed destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// A mailbox.
    Mailbox(mail::Address),
    /// An HTTP endpoint.
    Endpoint(Url),
}

impl Given {
    /// Reads an address or a URL.
    ///
    /// # Errors
    /// What is wrong with it, for the caller's field.
    pub(crate) fn read(text: &str, settings: &Settings) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("://") {
            return endpoint(text, settings).map(Self::Endpoint);
        }
        let address = mail::Address::parse(text).map_err(|error| error.to_string())?;
        if address.domain().is_none() {
            return Err("must be at a domain, not at an address literal".to_owned());
        }
        Ok(Self::Mailbox(address))
    }

    const fn kind(&self) -> DestinationKind {
        match self {
            Self::Mailbox(_) => DestinationKind::Mailbox,
            Self::Endpoint(_) => DestinationKind::Endpoint,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Mailbox(address) => address.to_string(),
            Self::Endpoint(url) => url.to_string(),
        }
    }
}

fn endpoint(text: &str, settings: &Settings) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let plain = match url.scheme() {
        "https" => false,
        "http" => true,
        _ => return Err("must be a mailbox's address or an https URL".to_owned()),
    };
    if text.len() > MOST_URL_CHARACTERS || text.chars().any(char::is_whitespace) {
        return Err(format!("must have at most {MOST_URL_CHARACTERS} characters, none of them a blank"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a username or password: whoever sees the URL would see them".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment: no server ever sees it".to_owned());
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    let allowed = address.is_some_and(|address| settings.endpoint_networks.iter().any(|network| network.contains(&address)));
    if plain && !allowed {
        return Err("must be https; http only to an address in the networks that the operator allows".to_owned());
    }
    Ok(url)
}

/// Reads a list of destinations, noting each fault under its place.
pub(crate) fn read_list(field: &str, texts: &[String], settings: &Settings, faults: &mut Vec<FieldError>) -> Vec<Given> {
    if texts.is_empty() || texts.len() > MOST {
        faults.push(FieldError::new(field, format_args!("must name 1 to {MOST} destinations")));
        return Vec::new();
    }
    let mut given: Vec<Given> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Given::read(text, settings) {
            Ok(one)
                if given
                    .iter()
                    .any(|other| destinations::fold(&other.text()) == destinations::fold(&one.text())) =>
            {
                faults.push(FieldError::new(format!("{field}[{index}]"), "is there twice"));
            }
            Ok(one) => given.push(one),
            Err(fault) => faults.push(FieldError::new(format!("{field}[{index}]"), fault)),
        }
    }
    given
}

/// What a transaction made sure of, and the mail that may go out once it has committed.
#[derive(Debug, Default)]
#[must_use = "wake the worker once the transaction has committed"]
pub(crate) struct Ensured {
    /// The destinations, in order.
    pub destinations: Vec<Destination>,
    /// The signing secret of a single endpoint that was made now.
    pub signing_secret: Option<String>,
    mails: Vec<ConfirmationMail>,
}

impl Ensured {
    /// Their ids.
    pub(crate) fn ids(&self) -> Vec<DestinationId> {
        self.destinations.iter().map(|destination| destination.id).collect()
    }

    /// Call it after COMMIT.
    pub(crate) fn wake(self, app: &App) {
        for mail in self.mails {
            mail.wake(&app.intake);
        }
    }
}

/// Makes sure, inside the caller's transaction, that the organization has these destinations. A new mailbox is asked to confirm, unless the
/// operator waived that.
///
/// # Errors
/// 409 `too_many_unverified` when too many wait for their confirmation already.
pub(crate) async fn ensure(
    app: &App,
    connection: &mut PgConnection,
    organization: OrganizationId,
    given: &[Given],
) -> Result<Ensured, ApiError> {
    let mut ensured = Ensured::default();
    for one in given {
        let id = DestinationId::generate();
        let text = one.text();
        let secret = matches!(one, Given::Endpoint(_)).then(new_secret);
        let sealed = secret.map(|secret| seal(app, id, &secret));
        let waived = one.kind() == DestinationKind::Endpoint || !app.settings.require_verified_destinations;
        let token = (!waived).then(Token::new);
        let new = NewDestination {
            id,
            kind: one.kind(),
            address: &text,
            address_folded: &destinations::fold(&text),
            verified: waived,
            verification_hash: token.as_ref().map(|token| token.hash.as_slice()),
            signing_secret: sealed.as_deref(),
        };
        let (destination, made) = destinations::find_or_insert(connection, organization, new).await?;
        if made && let (Given::Mailbox(address), Some(token)) = (one, &token) {
            if destinations::count_unverified(&mut *connection, organization).await? > MOST_UNVERIFIED {
                let message = "too many destinations wait for their confirmation: confirm or delete some first";
                return Err(ApiError::conflict("too_many_unverified", message));
            }
            ensured.mails.push(ask(app, connection, address, id, token).await?);
        }
        if made {
            ensured.signing_secret = secret.as_ref().map(shown);
        }
        ensured.destinations.push(destination);
    }
    Ok(ensured)
}

/// Stores the mail that asks a mailbox to confirm.
pub(super) async fn ask(
    app: &App,
    connection: &mut PgConnection,
    address: &mail::Address,
    id: DestinationId,
    token: &Token,
) -> Result<ConfirmationMail, ApiError> {
    let base = app.settings.public_url.as_str().trim_end_matches('/');
    let link = format!("{base}{}/destinations/{id}/verify?token={}", crate::routes::BASE, token.plain);
    app.intake
        .store_confirmation(connection, address, &link)
        .await
        .map_err(|refusal| match refusal {
            intake::Refusal::Malformed(fault) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "address_not_usable", fault),
            other => other.into(),
        })
}

/// What a mailbox proves its consent with.
pub(super) struct Token {
    plain: String,
    /// What is kept of it.
    pub(super) hash: [u8; 32],
}

impl Token {
    pub(super) fn new() -> Self {
        let plain = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self { hash: hash(&plain), plain }
    }
}

/// What is kept of a token.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// A new signing secret of an endpoint.
pub(super) fn new_secret() -> [u8; 32] {
    rand::random()
}

/// What is kept of it.
pub(super) fn seal(app: &App, id: DestinationId, secret: &[u8; 32]) -> Vec<u8> {
    app.secrets.seal(Purpose::Endpoint, secret, id.0.as_bytes())
}

/// As Standard Webhooks write it.
pub(super) fn shown(secret: &[u8; 32]) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(secret))
}
