//! When spans are sent, and what happens if they cannot be: they are dropped, that is logged once, and sending is retried
//! after a while. Only a caller of [`Traces::flush`] waits for a collector, and only for a limited time.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    layer::{Filter, Layer},
    registry::LookupSpan,
};
use weir_core::{Clock, Random, trace::TRACED};

use crate::{
    Settings,
    layer::{Collect, Finished, Take},
    otlp,
    post::{PostError, post},
};

/// The most spans that wait to be sent; more are dropped (load shedding).
const WAITING: usize = 2048;

/// The most spans in one request; this many are sent at once, without waiting for the time to send.
const AT_ONCE: usize = 512;

/// How long sending pauses after a failure.
const PAUSE: Duration = Duration::from_secs(30);

/// Collects spans and sends them.
#[derive(Clone)]
pub struct Traces {
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    outbox: Arc<Outbox>,
}

/// Spans that wait to be sent.
#[derive(Default)]
struct Outbox {
    spans: Mutex<Vec<Finished>>,
    many: Notify,
    /// The end of the pause in sending.
    paused: Mutex<Option<Instant>>,
    /// Whether it was logged that sending fails; it is logged again only after it worked.
    told: AtomicBool,
}

impl Outbox {
    fn is_paused(&self) -> bool {
        self.paused.lock().is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        *self.paused.lock() = Some(Instant::now() + PAUSE);
    }
}

impl Take for Outbox {
    fn take(&self, span: Finished) {
        let mut spans = self.spans.lock();
        if spans.len() < WAITING {
            spans.push(span);
        }
        if spans.len() == AT_ONCE {
            self.many.notify_one();
        }
    }
}

impl Traces {
    /// Makes traces with these settings.
    #[must_use]
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { settings: Arc::new(settings), clock, random, outbox: Arc::default() }
    }

    /// Returns the layer that collects. It sees only the spans to be traced, and makes no other layer see more.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let collect = Collect {
            sampler: self.settings.sampler,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            take: Arc::clone(&self.outbox) as Arc<dyn Take>,
        };
        collect.with_filter(only_traced())
    }

    /// Sends the ended spans within this time; unsent spans are then dropped.
    pub async fn flush(&self, within: Duration) {
        let spans = mem::take(&mut *self.outbox.spans.lock());
        if spans.is_empty() || self.outbox.is_paused() {
            return;
        }
        let Settings { endpoint, headers, resource, timeout: usual, .. } = &*self.settings;
        let send = async {
            for some in spans.chunks(AT_ONCE) {
                let body = otlp::request(resource, some).to_string().into_bytes();
                post(endpoint, headers, body).await?;
            }
            Ok(())
        };
        match timeout(within.min(*usual), send).await.unwrap_or(Err(PostError::TooSlow)) {
            Ok(()) => self.outbox.told.store(false, Ordering::Relaxed),
            Err(error) => {
                self.outbox.pause();
                if !self.outbox.told.swap(true, Ordering::Relaxed) {
                    let seconds = PAUSE.as_secs();
                    tracing::warn!(%error, seconds, "traces are dropped: their collector does not take them; it is tried again");
                }
            }
        }
    }

    /// Sends the ended spans, again and again.
    pub async fn keep_sending(self) {
        loop {
            // Waits for the delay or a full request, whichever is first.
            let _ = timeout(self.settings.delay, self.outbox.many.notified()).await;
            self.flush(self.settings.timeout).await;
        }
    }
}

fn only_traced<S>() -> impl Filter<S> {
    Targets::new().with_target(TRACED, LevelFilter::TRACE)
}
