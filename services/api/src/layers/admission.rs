//! Who calls, whether it may call again so soon, and how large a body it may send.
//!
//! A valid key or session is counted for itself, everybody else by address (IPv6 by /64): so guessing keys uses up the guesser's own
//! allowance and nobody else's. Health is not counted, but carries the headers. A refusal here is answered without running anything else.

use crate::{
    ApiError,
    access::{self, Caller, Client},
    app::App,
    extract::BodyLimit,
    routes,
};
use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rate_limit::{Decision, Quota};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Octets of a body that sends mail.
pub(crate) const SEND_BODY: usize = 30 * 1024 * 1024;
/// Octets of every other body.
pub(crate) const OTHER_BODY: usize = 256 * 1024;

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Health,
    Send,
    Other,
}

fn class(method: &Method, path: &str) -> Class {
    if routes::is_health(path) {
        Class::Health
    } else if *method == Method::POST && routes::is_send(path) {
        Class::Send
    } else {
        Class::Other
    }
}

/// Where a caller stands; a handler may put a later one into its response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// The quota's name in the header.
    pub name: &'static str,
    /// The quota.
    pub quota: Quota,
    /// The limiter's answer.
    pub decision: Decision,
}

/// Wraps every request.
pub(crate) async fn layer(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let client = client(&app, &request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let class = class(&method, &path);
    let caller = access::authenticate(&app, &method, &path, request.headers(), client).await;
    let standing = count(&app, class, caller.as_ref().ok().and_then(Option::as_ref), client).await;
    let mut response = match caller {
        _ if !standing.decision.allowed => ApiError::too_many(standing.decision.retry_after).into_response(),
        Err(error) => error.into_response(),
        Ok(caller) => {
            let limit = if class == Class::Send { SEND_BODY } else { OTHER_BODY };
            if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
                ApiError::of_status(StatusCode::PAYLOAD_TOO_LARGE).into_response()
            } else {
                let extensions = request.extensions_mut();
                extensions.insert(BodyLimit(limit));
                extensions.insert(Client(client));
                if let Some(caller) = caller {
                    extensions.insert(caller);
                }
                next.run(request).await
            }
        }
    };
    let standing = response.extensions_mut().remove::<Standing>().unwrap_or(standing);
    write(response.headers_mut(), standing);
    response
}

async fn count(app: &App, class: Class, caller: Option<&Caller>, client: IpAddr) -> Standing {
    let cost = u32::from(class != Class::Health);
    let (name, quota, key) = match (class, caller) {
        (Class::Send, Some(caller)) => ("send", app.settings.sending, sending_key(caller)),
        (_, Some(caller)) => ("default", app.settings.authenticated, format!("api:{}", caller.bucket())),
        (_, None) => ("anonymous", app.settings.anonymous, format!("api:address:{}", group(client))),
    };
    let decision = app.limiter.check(&key, quota, cost).await;
    Standing {
        name,
        quota,
        decision: Decision {
            allowed: decision.allowed || class == Class::Health,
            ..decision
        },
    }
}

fn sending_key(caller: &Caller) -> String {
    format!("api:send:{}", caller.bucket())
}

/// Counts the further messages of a request that sends several.
///
/// # Errors
/// 429 when there is no room for them.
pub(crate) async fn count_further(app: &App, caller: &Caller, messages: u32) -> Result<Standing, ApiError> {
    let quota = app.settings.sending;
    let decision = app.limiter.check(&sending_key(caller), quota, messages).await;
    if !decision.allowed {
        return Err(ApiError::too_many(decision.retry_after));
    }
    Ok(Standing {
        name: "send",
        quota,
        decision,
    })
}

/// Addresses that are counted as one.
pub(crate) fn group(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The peer, or what trusted proxies say in X-Forwarded-For: read from the right, the first address that is none of them.
fn client(app: &App, request: &Request) -> IpAddr {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip().to_canonical());
    let trusted = |address: IpAddr| auth::networks::contain(&app.settings.trusted_proxies, address);
    if !trusted(peer) {
        return peer;
    }
    let lines = request.headers().get_all("x-forwarded-for").iter();
    let told: Vec<&str> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    let mut client = peer;
    for text in told.into_iter().rev().take(32) {
        let Ok(address) = text.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !trusted(client) {
            break;
        }
    }
    client
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn write(headers: &mut HeaderMap, standing: Standing) {
    let Standing { name, quota, decision } = standing;
    let reset = decision.reset_after.as_secs() + u64::from(decision.reset_after.subsec_nanos() > 0);
    let reset_at = chrono::Utc::now().timestamp().unsigned_abs() + reset;
    let remaining = decision.remaining;
    let per = quota.per.as_secs().max(1);
    let fields = [
        ("x-ratelimit-limit", decision.limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", reset_at.to_string()),
        ("ratelimit", format!("\"{name}\";r={remaining};t={reset}")),
        ("ratelimit-policy", format!("\"{name}\";q={};w={per}", decision.limit)),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_one_customer_is_counted_as_one_address() {
        for (address, counted) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(group(address.parse().unwrap()).to_string(), counted);
        }
    }
}
