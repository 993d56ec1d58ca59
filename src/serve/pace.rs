//! Minimum transfer speed of a client: a transfer must not stall, and must not be too slow on average (slow-loris defence).

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use collector::BodyTooSlow;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// The least average rate in bytes a second. Otherwise an occasional byte would keep a request's resources held for hours.
const MIN_BYTES_A_SECOND: u64 = 4 << 10;

/// A transfer, measured from the first wait for the other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    begun: Instant,
    last: Instant,
    bytes: u64,
}

impl Transfer {
    pub(super) fn begin(now: Instant) -> Self {
        Self { begun: now, last: now, bytes: 0 }
    }

    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.last = now;
    }

    /// Returns the deadline for progress, given the longest stall allowed.
    pub(super) fn deadline(&self, standstill: Duration) -> Instant {
        let at_this_rate = Duration::from_millis(self.bytes.saturating_mul(1000) / MIN_BYTES_A_SECOND);
        self.last.min(self.begun + at_this_rate) + standstill
    }
}

/// A request's body that fails with [`BodyTooSlow`] when its client is too slow.
pub(super) struct Paced<B> {
    body: B,
    standstill: Duration,
    transfer: Option<Transfer>,
    /// Created at the first wait for the client: most bodies arrive with the head of their request.
    alarm: Option<Pin<Box<Sleep>>>,
    too_slow: bool,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, standstill: Duration) -> Self {
        Self { body, standstill, transfer: None, alarm: None, too_slow: false }
    }
}

impl<B> HttpBody for Paced<B>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.too_slow {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let (Some(transfer), Some(Ok(frame))) = (&mut this.transfer, &frame) {
                transfer.moved(frame.data_ref().map_or(0, Bytes::len), Instant::now());
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let transfer = this.transfer.get_or_insert_with(|| Transfer::begin(Instant::now()));
        let deadline = transfer.deadline(this.standstill);
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.too_slow = true;
        Poll::Ready(Some(Err(Box::new(BodyTooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.too_slow || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    const STANDSTILL: Duration = Duration::from_secs(10);

    /// A body of parts of so many bytes, each after so many seconds; then it stalls for ever.
    fn body(parts: &'static [(u64, usize)]) -> Paced<Body> {
        let parts = stream::unfold(parts.iter(), async |mut left| {
            let Some(&(after, bytes)) = left.next() else { std::future::pending().await };
            tokio::time::sleep(Duration::from_secs(after)).await;
            Some((Ok::<_, BodyTooSlow>(vec![0; bytes]), left))
        });
        Paced::new(Body::from_stream(parts), STANDSTILL)
    }

    /// Returns how many bytes arrive until the body is too slow, and after how many seconds.
    async fn until_too_slow(mut body: Paced<Body>) -> (usize, u64) {
        let (start, mut bytes) = (Instant::now(), 0);
        loop {
            match body.frame().await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => {
                    assert!(error.is::<BodyTooSlow>());
                    assert!(body.frame().await.is_none(), "there is nothing after it");
                    return (bytes, start.elapsed().as_secs());
                }
                None => panic!("it ended"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_too_slow() {
        assert_eq!(until_too_slow(body(&[])).await, (0, 10));
        assert_eq!(until_too_slow(body(&[(9, 1 << 20)])).await, (1 << 20, 19));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_enough() {
        assert_eq!(until_too_slow(body(&[(1, 1); 20])).await, (10, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_at_the_least_rate_is_not_too_slow() {
        assert_eq!(until_too_slow(body(&[(1, 4 << 10); 60])).await, (60 * (4 << 10), 70));
    }
}
