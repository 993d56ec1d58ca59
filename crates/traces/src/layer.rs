//! Collects spans: a layer of `tracing` that sees only the spans to be traced.

use std::{fmt, sync::Arc, time::Instant};

use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};
use weir_core::{Clock, Random};

use crate::{
    context::{Remote, SpanId, TraceId},
    sampler::Sampler,
};

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finished {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: &'static str,
    pub(crate) of_server: bool,
    pub(crate) failed: bool,
    /// Nanoseconds since 1970.
    pub(crate) began: u128,
    pub(crate) ended: u128,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Whole(i64),
    Number(f64),
    Truth(bool),
}

/// A receiver of ended spans.
pub(crate) trait Take: Send + Sync {
    fn take(&self, span: Finished);
}

/// The layer.
pub(crate) struct Collect {
    pub(crate) sampler: Sampler,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) take: Arc<dyn Take>,
}

/// A span that has not ended.
struct Open {
    kept: bool,
    /// When the trace's first span began here, on the wall clock and on the monotonic one: setting the clock must not make
    /// spans longer, and Lambda's monotonic clock stands still between invocations.
    base: (u128, Instant),
    span: Finished,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let now = Instant::now();
        let around = span.parent().and_then(|around| {
            let around = around.extensions();
            around.get::<Open>().map(|open| (open.kept, open.base, open.span.trace, open.span.span))
        });
        let (kept, base, trace, parent) = match (around, fields.parent) {
            (Some((kept, base, trace, parent)), _) => (kept, base, trace, Some(parent)),
            (None, remote) => {
                let trace = remote.map_or_else(|| TraceId::new(&*self.random), |remote| remote.trace);
                let base = (u128::from(self.clock.now().millis()) * 1_000_000, now);
                (self.sampler.keeps(trace, remote), base, trace, remote.map(|remote| remote.span))
            }
        };
        let began = time(base, now);
        let span_id = SpanId::new(&*self.random);
        let ended = Finished {
            trace,
            span: span_id,
            parent,
            name: span.name(),
            of_server: fields.of_server,
            failed: fields.failed,
            began,
            ended: began,
            attributes: fields.attributes,
        };
        span.extensions_mut().insert(Open { kept, base, span: ended });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>().filter(|open| open.kept) {
            let mut fields = Fields::default();
            values.record(&mut fields);
            open.span.failed |= fields.failed;
            open.span.attributes.append(&mut fields.attributes);
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        if let Some(Open { kept: true, base, mut span }) = open {
            span.ended = time(base, Instant::now());
            self.take.take(span);
        }
    }
}

fn time((millis, then): (u128, Instant), now: Instant) -> u128 {
    millis + now.saturating_duration_since(then).as_nanos()
}

/// The fields of a span.
#[derive(Default)]
struct Fields {
    of_server: bool,
    failed: bool,
    parent: Option<Remote>,
    attributes: Vec<(&'static str, Attribute)>,
}

impl Fields {
    fn add(&mut self, field: &Field, attribute: Attribute) {
        match (field.name(), &attribute) {
            ("otel.kind", Attribute::Text(kind)) => self.of_server = kind == "server",
            ("otel.parent", Attribute::Text(parent)) => self.parent = Remote::read(parent),
            ("otel.error", Attribute::Truth(failed)) => self.failed = *failed,
            (name, _) => self.attributes.push((name, attribute)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Attribute::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Attribute::Truth(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Attribute::Whole(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Attribute::Whole(value.try_into().unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Attribute::Number(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Attribute::Text(format!("{value:?}")));
    }
}
