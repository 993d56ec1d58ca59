//! Drains the unread rest of a body that was answered early.
//!
//! A client that is still sending when the connection is closed sees a reset instead of the answer: `requests` in Python,
//! for one, never learns that its 10 MB were a 413. So the rest of the body is read and thrown away, within bounds, before
//! the answer goes out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

/// The most bytes that are drained, and the default time limit. A client that exceeds them is cut off.
const MAX_BYTES: usize = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(10);

/// Notified when only an unread body remains; the connection may then be evicted, and only the answer is lost.
pub trait OnlyLeftover: Send + Sync {
    /// Called at that moment.
    fn only_leftover(&self);
}

/// A request extension in which a host puts the receiver of the notification and the time limit of the rest.
#[derive(Clone)]
pub struct TellOnlyLeftover {
    /// The receiver.
    pub who: Arc<dyn OnlyLeftover>,
    /// The time limit; a slower client is cut off.
    pub patience: Duration,
}

/// The middleware that drains bodies.
pub(crate) async fn discard(request: Request, next: Next) -> Response {
    // A request without a body leaves nothing behind.
    if request.body().is_end_stream() || waits_to_be_asked(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let tell = parts.extensions.remove::<TellOnlyLeftover>();
    let (give_back, left) = oneshot::channel();
    let body = Body::new(Reclaimed { body: Some(body), give_back: Some(give_back) });
    let answer = next.run(Request::from_parts(parts, body)).await;
    // An error means that the body was read to its end.
    if let Ok(left) = left.await {
        let mut patience = MAX_TIME;
        if let Some(tell) = tell {
            tell.who.only_leftover();
            patience = tell.patience;
        }
        // A slower client is cut off.
        let _ = tokio::time::timeout(patience, throw_away(left)).await;
    }
    answer
}

/// Returns whether the client waits for a `100 Continue` before it sends the body, as curl does for large bodies.
fn waits_to_be_asked(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

async fn throw_away(mut body: Body) {
    let mut bytes = 0;
    while bytes < MAX_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A body that is handed back if it is dropped before its end.
struct Reclaimed {
    body: Option<Body>,
    give_back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Reclaimed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Reclaimed {
    fn drop(&mut self) {
        if let (Some(body), Some(give_back)) = (self.body.take(), self.give_back.take())
            && !body.is_end_stream()
        {
            // If the client is gone, no receiver is left.
            let _ = give_back.send(body);
        }
    }
}
