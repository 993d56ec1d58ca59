//! Logs to standard error: INFO and above, or as `WEIR_LOG` asks. Also traces.

use std::io::{self, IsTerminal};

use clap::ColorChoice;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, Targets},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{color, traces::Traces};

/// Weir's own crates. Even their most detailed logs contain no secret and no event.
const OWN: [&str; 7] =
    ["authorizer", "collector", "fan_out", "weir", "weir_aws", "weir_core", "weir_embedded"];

/// Sets up logging, and traces if they are wanted and OpenTelemetry's variables ask for them.
pub(crate) fn start(choice: ColorChoice, with_traces: bool) -> Option<Traces> {
    let asked = std::env::var("WEIR_LOG").unwrap_or_default();
    let (filter, not_understood) = match filter(&asked) {
        Some(filter) => (filter, false),
        None => (EnvFilter::new("info"), true),
    };
    let traces = if with_traces { Traces::start() } else { Ok(None) };
    let (traces, unusable) = traces.map_or_else(|error| (None, Some(error)), |traces| (traces, None));
    match &traces {
        // A single global filter is the fastest.
        None => tracing_subscriber::registry().with(filter).with(allowed()).with(lines(choice)).init(),
        Some(traces) => {
            tracing_subscriber::registry()
                .with(lines(choice).with_filter(filter.and(allowed())))
                .with(traces.layer())
                .init();
        }
    }
    if not_understood {
        tracing::warn!(
            "WEIR_LOG is a level: off, error, warn, info, debug or trace; {asked:?} is not a level, and info is taken"
        );
    }
    if let Some(error) = unusable {
        tracing::warn!(error = %format_args!("{error:#}"), "there are no traces");
    }
    traces
}

/// Parses the level; `None` if the filter would read it as the name of a module, and log only that module.
fn filter(asked: &str) -> Option<EnvFilter> {
    let is_known = |directive: &str| {
        directive.contains(['=', '[']) || directive.parse::<LevelFilter>().is_ok() || OWN.contains(&directive)
    };
    match asked.trim() {
        "" => Some(EnvFilter::new("info")),
        asked if asked.split(',').all(|directive| is_known(directive.trim())) => {
            EnvFilter::try_new(asked).ok()
        }
        _ => None,
    }
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(choice: ColorChoice) -> impl Layer<S> {
    tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(color::wanted(choice, io::stderr().is_terminal()))
        .with_target(false)
}

/// Returns the most verbose levels that are logged. Below WARN, the SDK logs whole requests and answers.
fn allowed() -> Targets {
    Targets::new().with_default(LevelFilter::WARN).with_targets(OWN.map(|own| (own, LevelFilter::TRACE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_there_is_not_silences_nothing() {
        for known in ["", "info", "WARN", "weir=debug,info", "weir_embedded", "off"] {
            assert!(filter(known).is_some(), "{known}");
        }
        for unknown in ["warning", "inof", "info,bogus", "weir=loud"] {
            assert!(filter(unknown).is_none(), "{unknown}");
        }
    }
}
