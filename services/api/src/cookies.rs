//! The session's cookie.
//!
//! `__Host-` with `Secure` where users come by TLS; on plain http, where browsers refuse `Secure`, a plain name.

use crate::app::Settings;
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

const SECURE_NAME: &str = "__Host-postroad_session";
const PLAIN_NAME: &str = "postroad_session";

fn name(settings: &Settings) -> &'static str {
    if settings.is_https() { SECURE_NAME } else { PLAIN_NAME }
}

/// The token a browser presents.
pub(crate) fn session(settings: &Settings, headers: &HeaderMap) -> Option<SecretString> {
    let name = name(settings);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !value.is_empty() && value.len() <= 128).then(|| value.to_owned().into())
    })
}

/// The header that hands a token to the browser.
pub(crate) fn set(settings: &Settings, token: &SecretString, max_age_seconds: i64) -> Option<HeaderValue> {
    write(settings, token.expose_secret(), max_age_seconds)
}

/// The header that makes the browser forget it.
pub(crate) fn clear(settings: &Settings) -> Option<HeaderValue> {
    write(settings, "", 0)
}

fn write(settings: &Settings, value: &str, max_age_seconds: i64) -> Option<HeaderValue> {
    let secure = if settings.is_https() { "; Secure" } else { "" };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}",
        name(settings)
    );
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
