//! Lists, page by page, without offsets.
//!
//! A cursor is the id of the last row, authenticated for its list: a client cannot make one up, nor carry one from list to list. It says
//! nothing of the organization; every query brings its own.

use crate::{ApiError, app::App};
use auth::secrets::{Purpose, Secrets};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use uuid::Uuid;

const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 100;
const MAC_OCTETS: usize = 8;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there are more.
    pub has_more: bool,
    /// Give this as `after` to get them.
    #[schema(required)]
    pub next: Option<String>,
}

/// Which page is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging {
    list: &'static str,
    limit: u32,
    after: Option<Uuid>,
}

impl Paging {
    /// Reads `limit` and `after` for the list of this name.
    ///
    /// # Errors
    /// 422 when the limit is out of range or the cursor was not made for this list.
    pub(crate) fn read(app: &App, list: &'static str, limit: Option<u32>, after: Option<&str>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::field("limit", format_args!("must be between 1 and {MAX_LIMIT}")));
        }
        let after = after
            .map(|cursor| open(&app.secrets, list, cursor).ok_or_else(|| ApiError::field("after", "is not a cursor of this list")))
            .transpose()?;
        Ok(Self { list, limit, after })
    }

    /// The id after which the page begins.
    pub(crate) fn after<T>(&self, id: impl Fn(Uuid) -> T) -> Option<T> {
        self.after.map(id)
    }

    /// How many rows to ask the store for: one more than is shown tells whether there are more.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page from the rows that were fetched.
    pub(crate) fn page<T, V>(&self, app: &App, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid, view: impl FnMut(T) -> V) -> Page<V> {
        let limit = self.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if has_more {
            rows.last().map(|row| seal(&app.secrets, self.list, id(row)))
        } else {
            None
        };
        Page {
            data: rows.into_iter().map(view).collect(),
            has_more,
            next,
        }
    }
}

fn mac(secrets: &Secrets, list: &str, id: Uuid) -> [u8; MAC_OCTETS] {
    let whole = secrets.keyed_hash(Purpose::Cursor, &[list.as_bytes(), &[0], id.as_bytes()].concat());
    std::array::from_fn(|at| whole[at])
}

fn seal(secrets: &Secrets, list: &str, id: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([id.as_bytes().as_slice(), &mac(secrets, list, id)].concat())
}

fn open(secrets: &Secrets, list: &str, cursor: &str) -> Option<Uuid> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (id, presented) = bytes.split_at_checked(16)?;
    let id = Uuid::from_slice(id).ok()?;
    auth::secrets::equal(presented, &mac(secrets, list, id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_for_its_own_list() {
        let secrets = Secrets::new(&"0123456789abcdef0123456789abcdef".into());
        let id = Uuid::now_v7();
        let cursor = seal(&secrets, "messages", id);
        assert_eq!(open(&secrets, "messages", &cursor), Some(id));
        assert_eq!(open(&secrets, "events", &cursor), None);
        for text in ["", "x", "????", &cursor[1..], &format!("{cursor}A"), &cursor.to_uppercase()] {
            assert_eq!(open(&secrets, "messages", text), None, "{text}");
        }
    }
}
