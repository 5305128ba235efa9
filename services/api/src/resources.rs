//! One module per resource of the API: its requests, its answers, its handlers, its `router()`.

pub(crate) mod aliases;
pub(crate) mod api_keys;
pub(crate) mod contacts;
pub(crate) mod destinations;
pub(crate) mod domains;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod me;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod rule_scopes;
pub(crate) mod rules;
pub(crate) mod sender_lists;
pub(crate) mod smtp_credentials;
pub(crate) mod suppressions;
