//! Messages: sending them, finding them, seeing what became of them, and steering those that are not finished.

mod actions;
mod batch;
mod draft;
mod list;
mod parts;
mod raw;
mod send;
mod view;

use crate::app::App;
use auth::scopes::Scope;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

const READ: Scope = Scope::Read("messages");
const WRITE: Scope = Scope::Write("messages");

/// The resource's routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(send::router())
        .merge(batch::router())
        .merge(raw::router())
        .merge(list::router())
        .merge(parts::router())
        .merge(actions::router())
}
