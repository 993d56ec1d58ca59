//! Logs: one JSON object a line on standard error, which Lambda hands to CloudWatch.

use std::{io, panic};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::{FilterExt, Targets},
    fmt::MakeWriter,
    layer::{Layer, SubscriberExt},
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Weir's own crates. At their finest level they log each action, never with its secret or event.
const OWN: [&str; 7] =
    ["authorizer", "collector", "fan_out", "publisher", "weir_aws", "weir_core", "weir_lambda"];

/// The default level.
const USUAL: LevelFilter = LevelFilter::INFO;

/// Sets logging up; `wanted` is the value of `WEIR_LOG`.
pub(crate) fn start(wanted: Option<&str>) {
    let (filter, unreadable) = match wanted.map(str::parse::<Targets>) {
        None => (usual(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (usual(), Some(error)),
    };
    subscriber(filter, io::stderr).init();
    // A panic is an error of the invocation that it ended; its place is logged here, and only here.
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        tracing::error!(message = info.payload_as_str().unwrap_or("panicked"), location);
    }));
    if let Some(error) = unreadable {
        tracing::warn!(%error, "WEIR_LOG cannot be read; it is like info or weir_aws=debug,info");
    }
}

fn usual() -> Targets {
    Targets::new().with_default(USUAL)
}

fn subscriber<W>(wanted: Targets, writer: W) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        // The invocation's id is logged beside the request's.
        .with_span_list(true)
        .with_writer(writer);
    registry().with(lines.with_filter(wanted.and(allowed())))
}

/// Returns the most that may be logged. Below WARN, the runtime logs whole invocations and the SDK whole requests and
/// answers.
fn allowed() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OWN.map(|own| (own, LevelFilter::TRACE)))
        // The runtime logs every error of a handler; each handler decides itself which of them to log.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use weir_core::Timestamp;

    use super::*;

    /// The text that was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(wanted: &str, work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let lines = written.clone();
        tracing::subscriber::with_default(subscriber(wanted.parse().unwrap(), move || lines.clone()), work);
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_an_object_with_time_level_and_request_id() {
        let lines = logged("info", || {
            let _inside = tracing::error_span!("invocation", request_id = "r-1").entered();
            tracing::warn!(counters = 2, "not\nraised");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(Timestamp::from_rfc3339(line["timestamp"].as_str().unwrap()).is_ok(), "{line}");
        assert_eq!(line["level"], "WARN");
        assert_eq!((&line["message"], &line["counters"]), (&"not\nraised".into(), &2.into()));
        assert_eq!(line["span"]["request_id"], "r-1");
    }

    #[test]
    fn what_others_say_of_a_request_is_never_logged() {
        let lines = logged("trace", || {
            tracing::info!(target: "lambda_runtime::layers::api_response", "the whole invocation");
            tracing::debug!(target: "aws_smithy_runtime::client", "the whole request");
            tracing::error!(target: "lambda_runtime::layers::panic", "Unauthorized");
            tracing::trace!(target: "weir_aws::stream", "mine");
            tracing::warn!(target: "hyper", "theirs");
        });
        let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["mine", "theirs"]);
    }

    #[test]
    fn less_can_be_asked_for() {
        let lines = logged("weir_aws=debug,error", || {
            tracing::debug!(target: "weir_aws::stream", "fine");
            tracing::warn!(target: "collector", "gone");
            tracing::warn!(target: "hyper", "gone");
            tracing::error!(target: "hyper", "left");
        });
        let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["fine", "left"]);
    }
}
