//! Aliases as a file: what is exported can be imported, here or into another organization that has the domain.

use super::{
    Filter, READ, WRITE,
    given::{NewAliasBody, Wanted},
    make, rows,
};
use crate::{
    ApiError, FieldError,
    access::Caller,
    app::App,
    extract::{self, Query},
    idempotency::{Begun, Keyed, Once},
    resources::destinations::given::{self as destination_given, Ensured},
};
use axum::{
    body::Body,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use serde::Serialize;
use sqlx::Acquire;
use std::{collections::HashMap, sync::Arc};
use store::{
    PgConnection,
    aliases::{self, Alias, AliasChange, AliasFilter},
    ids::{AliasId, DomainId, OrganizationId},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The columns of an export. An import needs the first three, in any order, and leaves the last two aside.
const COLUMNS: [&str; 10] = [
    "domain",
    "local_part",
    "destinations",
    "state",
    "replies",
    "description",
    "expires_at",
    "max_messages",
    "message_count",
    "created_at",
];
const NEEDED: usize = 3;
const PIECE: i64 = 500;
const MOST_ROWS: usize = 5000;
/// Faults that an answer tells of.
const MOST_FAULTS: usize = 100;

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// How many aliases were made.
    created: usize,
    /// How many were there and are now as their row says.
    updated: usize,
    /// How many rows were refused; the others took effect.
    failed: usize,
    /// The first hundred refused rows.
    errors: Vec<RowError>,
}

/// Why one row was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowError {
    /// Where the row begins, counted from 1.
    line: usize,
    /// A stable word for programs.
    code: String,
    /// A sentence for people.
    message: String,
}

/// Aliases as CSV, the oldest first. Cells that a spreadsheet would take for formulas have an apostrophe before them.
#[utoipa::path(get, path = "/aliases/export", tag = "aliases", params(Filter),
    security(("api_key" = ["aliases.read"])), responses((status = 200, content_type = "text/csv", body = String)))]
async fn export(State(app): State<Arc<App>>, caller: Caller, Query(filter): Query<Filter>) -> Result<Response, ApiError> {
    caller.require(READ)?;
    if filter.limit.is_some() || filter.after.is_some() {
        return Err(ApiError::field("limit", "an export has no pages"));
    }
    let mut head = String::new();
    rows::write(&mut head, &COLUMNS);
    let reading = Reading {
        filter: filter.read(&caller)?,
        organization: caller.organization,
        at: At::Head(head),
        app,
    };
    let body = Body::from_stream(stream::try_unfold(reading, Reading::next));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"aliases.csv\""),
    ];
    Ok((headers, body).into_response())
}

/// An export on its way: it holds one piece at a time, however many aliases there are.
struct Reading {
    app: Arc<App>,
    organization: OrganizationId,
    filter: AliasFilter,
    at: At,
}

enum At {
    Head(String),
    Behind(Option<AliasId>),
    End,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, store::Error> {
        let after = match std::mem::replace(&mut self.at, At::End) {
            At::Head(head) => {
                self.at = At::Behind(None);
                return Ok(Some((head.into(), self)));
            }
            At::Behind(after) => after,
            At::End => return Ok(None),
        };
        let found = aliases::export(&self.app.pool, self.organization, &self.filter, after, PIECE).await?;
        let Some(last) = found.last() else { return Ok(None) };
        self.at = At::Behind(Some(last.id));
        let mut piece = String::new();
        for alias in &found {
            line(&mut piece, alias);
        }
        Ok(Some((piece.into(), self)))
    }
}

fn line(to: &mut String, alias: &Alias) {
    let destinations: Vec<&str> = alias.destinations.iter().map(|target| target.address.as_str()).collect();
    let optional = |value: Option<String>| value.unwrap_or_default();
    rows::write(
        to,
        &[
            &alias.domain_name,
            &alias.local_part,
            &destinations.join(" "),
            alias.state.as_str(),
            alias.replies.as_str(),
            &alias.description,
            &optional(alias.expires_at.map(|at| at.to_rfc3339())),
            &optional(alias.max_messages.map(|most| most.to_string())),
            &alias.message_count.to_string(),
            &alias.created_at.to_rfc3339(),
        ],
    );
}

/// A file in the request's body.
struct File {
    text: String,
    keyed: Option<Keyed>,
}

impl FromRequest<Arc<App>> for File {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, bytes) = extract::whole(request).await?;
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| !kind.to_ascii_lowercase().starts_with("text/csv")) {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send text/csv",
            ));
        }
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| ApiError::field("body", "is not UTF-8"))?;
        if text.contains('\0') {
            return Err(ApiError::field("body", "holds a NUL character"));
        }
        Ok(Self {
            text,
            keyed: Keyed::read(&parts, &bytes)?,
        })
    }
}

/// Make the aliases of a CSV file. One that is there already becomes what its row says. Rows that are refused leave the others alone.
#[utoipa::path(post, path = "/aliases/import", tag = "aliases", request_body(content = String, content_type = "text/csv"),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless")), security(("api_key" = ["aliases.write"])),
    responses((status = 200, body = Imported), (status = 422, body = crate::error::ErrorBody)))]
async fn import(State(app): State<Arc<App>>, caller: Caller, file: File) -> Result<Response, ApiError> {
    caller.require(WRITE)?;
    let mut lines = rows::read(&file.text).map_err(|error| ApiError::field("body", error))?.into_iter();
    let columns = columns(lines.next().map(|(_, cells)| cells).unwrap_or_default())?;
    if lines.len() > MOST_ROWS {
        return Err(ApiError::field("body", format_args!("must have at most {MOST_ROWS} rows")));
    }
    let mut once = match Once::begin(&app, &caller, file.keyed).await? {
        Begun::New(once) => once,
        Begun::Replay(response) => return Ok(response),
    };
    let mut importing = Importing {
        app: &app,
        caller: &caller,
        domains: HashMap::new(),
        ensured: Vec::new(),
    };
    let mut done = Imported {
        created: 0,
        updated: 0,
        failed: 0,
        errors: Vec::new(),
    };
    for (number, cells) in lines {
        match importing.row(once.transaction(), &columns, cells).await {
            Ok(true) => done.created += 1,
            Ok(false) => done.updated += 1,
            Err(error) if error.status.is_server_error() => return Err(error),
            Err(error) => {
                done.failed += 1;
                if done.errors.len() < MOST_FAULTS {
                    done.errors.push(RowError {
                        line: number,
                        code: error.code.to_owned(),
                        message: error.message.into_owned(),
                    });
                }
            }
        }
    }
    let ensured = importing.ensured;
    let response = once.answer(StatusCode::OK, &done).await?;
    for one in ensured {
        one.wake(&app);
    }
    Ok(response)
}

/// Which column each cell is in.
fn columns(head: Vec<String>) -> Result<Vec<&'static str>, ApiError> {
    let mut found = Vec::with_capacity(head.len());
    for name in head {
        let name = name.trim().to_lowercase();
        match COLUMNS.iter().find(|column| **column == name) {
            Some(column) if !found.contains(column) => found.push(*column),
            Some(_) => return Err(ApiError::field("body", format_args!("has the column {name} twice"))),
            None => {
                let name: String = name.chars().take(50).collect();
                return Err(ApiError::field(
                    "body",
                    format_args!("has an unknown column {name:?}: use {}", COLUMNS.join(", ")),
                ));
            }
        }
    }
    match COLUMNS[..NEEDED].iter().find(|needed| !found.contains(needed)) {
        Some(missing) => Err(ApiError::field(
            "body",
            format_args!("must begin with a row of column names; {missing} is missing"),
        )),
        None => Ok(found),
    }
}

struct Importing<'a> {
    app: &'a App,
    caller: &'a Caller,
    domains: HashMap<String, DomainId>,
    ensured: Vec<Ensured>,
}

impl Importing<'_> {
    /// `true`: the alias was made; `false`: it was there. Each row is a transaction within the transaction.
    async fn row(&mut self, connection: &mut PgConnection, columns: &[&'static str], cells: Vec<String>) -> Result<bool, ApiError> {
        let wanted = wanted(columns, cells)?.read(&self.app.settings).map_err(ApiError::invalid)?;
        let domain = match self.domains.get(wanted.domain.as_str()) {
            Some(known) => *known,
            None => make::usable_domain(self.app, self.caller, &wanted.domain).await?,
        };
        self.domains.insert(wanted.domain.to_string(), domain);
        let organization = self.caller.organization;
        let mut within = connection.begin().await.map_err(store::Error::from)?;
        let (ensured, made) = match aliases::find_by_address(&mut *within, organization, domain, &wanted.local_part).await {
            Ok(id) => (change(self.app, &mut within, organization, id, &wanted).await?, false),
            Err(store::Error::NotFound) => (make::make(self.app, &mut within, organization, domain, &wanted).await?.1, true),
            Err(error) => return Err(error.into()),
        };
        within.commit().await.map_err(store::Error::from)?;
        self.ensured.push(ensured);
        Ok(made)
    }
}

async fn change(
    app: &App,
    connection: &mut PgConnection,
    organization: OrganizationId,
    id: AliasId,
    wanted: &Wanted,
) -> Result<Ensured, ApiError> {
    let ensured = destination_given::ensure(app, connection, organization, &wanted.destinations).await?;
    let ids = ensured.ids();
    let change = AliasChange {
        state: Some(wanted.state),
        replies: Some(wanted.replies),
        description: Some(&wanted.description),
        expires_at: Some(wanted.expires_at),
        max_messages: Some(wanted.max_messages),
        destinations: Some(&ids),
    };
    aliases::update(connection, organization, id, change).await?;
    Ok(ensured)
}

/// A row as a request would say it.
fn wanted(columns: &[&'static str], cells: Vec<String>) -> Result<NewAliasBody, ApiError> {
    if cells.len() > columns.len() {
        return Err(ApiError::field("row", "has more cells than there are columns"));
    }
    let mut named: HashMap<&str, String> = columns.iter().copied().zip(cells).filter(|(_, cell)| !cell.is_empty()).collect();
    let mut faults = Vec::new();
    let mut parsed = |name: &'static str, cell: Option<String>, fault: &str| {
        if cell.is_some() {
            faults.push(FieldError::new(name, fault));
        }
    };
    let (state, cell) = read(named.remove("state"));
    parsed("state", cell, "must be active or paused");
    let (replies, cell) = read(named.remove("replies"));
    parsed("replies", cell, "must be direct or as_alias");
    let (expires_at, cell) = read(named.remove("expires_at"));
    parsed("expires_at", cell, "must be a time such as 2030-01-31T12:00:00Z");
    let (max_messages, cell) = read(named.remove("max_messages"));
    parsed("max_messages", cell, "must be a number");
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults));
    }
    Ok(NewAliasBody {
        domain: named.remove("domain").unwrap_or_default(),
        local_part: named.remove("local_part").unwrap_or_default(),
        destinations: split(&named.remove("destinations").unwrap_or_default()),
        description: named.remove("description"),
        expires_at,
        max_messages,
        replies,
        state,
    })
}

/// The cell's value; or the cell, when it has none.
fn read<T: std::str::FromStr>(cell: Option<String>) -> (Option<T>, Option<String>) {
    match cell.as_deref().map(str::trim).map(str::parse) {
        Some(Ok(value)) => (Some(value), None),
        Some(Err(_)) => (None, cell),
        None => (None, None),
    }
}

/// Destinations stand with blanks between them; a blank within a quoted local part is none of these.
fn split(cell: &str) -> Vec<String> {
    let mut quoted = false;
    cell.split(|c: char| {
        quoted ^= c == '"';
        !quoted && c.is_whitespace()
    })
    .filter(|part| !part.is_empty())
    .map(str::to_owned)
    .collect()
}

/// The routes.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(import))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_parted_by_blanks_outside_quotation_marks() {
        assert_eq!(
            split(r#" a@b.test  "x y"@b.test https://c.test/?q=1 "#),
            ["a@b.test", r#""x y"@b.test"#, "https://c.test/?q=1"]
        );
        assert!(split(" ").is_empty());
    }
}
