//! What a client is still sending when it has been answered is read and thrown away, within limits.
//!
//! A server that closes on unread octets resets the connection, and the reset overtakes the answer: a client with too large a body would
//! see a broken pipe instead of its 413. A client that asked first (`Expect: 100-continue`) sends nothing and is not waited for.

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use futures_util::{Stream, StreamExt};
use http::header;
use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// Octets of an answered request that are read to no purpose: twice what the largest call takes.
const MOST: usize = 60 * 1024 * 1024;
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(15);

type Rest = Arc<Mutex<Option<BodyDataStream>>>;

/// Wraps every request.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let asked = request.headers().contains_key(header::EXPECT);
    let rest = Rest::default();
    let request = request.map(|body| {
        Body::from_stream(Returning {
            body: Some(body.into_data_stream()),
            rest: Arc::clone(&rest),
        })
    });
    let response = next.run(request).await;
    // A stream is whole after any panic.
    let left = mem::take(&mut *rest.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(left) = left.filter(|_| !asked) {
        // Whether it ended, broke off or took too long: the answer goes out now.
        let _ = tokio::time::timeout(LONGEST, discard(left)).await;
    }
    response
}

async fn discard(mut left: BodyDataStream) {
    let mut octets = 0;
    while let Some(Ok(chunk)) = left.next().await {
        octets += chunk.len();
        if octets > MOST {
            return;
        }
    }
}

/// A body that comes back to us when whoever was to read it drops it before its end.
struct Returning {
    body: Option<BodyDataStream>,
    rest: Rest,
}

impl Stream for Returning {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = body.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.body = None;
        }
        polled
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, middleware};
    use http::StatusCode;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tower::ServiceExt;

    /// How many of four chunks were taken by the time of the answer.
    async fn taken(request: http::request::Builder) -> usize {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let chunks = futures_util::stream::iter(0..4).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, axum::Error>(Bytes::from_static(b"0123456789"))
        });
        let router = Router::new()
            .fallback(async || StatusCode::PAYLOAD_TOO_LARGE)
            .layer(middleware::from_fn(layer));
        let request = request.method("POST").uri("/").body(Body::from_stream(chunks)).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), 413);
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_body_that_nobody_wanted_is_taken_unless_the_client_waits_for_leave_to_send_it() {
        assert_eq!(taken(Request::builder()).await, 4);
        assert_eq!(taken(Request::builder().header("expect", "100-continue")).await, 0);
    }
}
