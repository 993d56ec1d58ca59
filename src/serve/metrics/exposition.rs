//! The two text formats of Prometheus, and their content negotiation.
//!
//! The library writes OpenMetrics 1.0. The older format, 0.0.4, is understood by every scraper and by `promtool check
//! metrics`, so it is the default; OpenMetrics is sent on request, as Prometheus itself does.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> has both.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderValue, header};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Text,
}

impl Exposition {
    /// Returns the format that the `Accept` headers prefer. A tie goes to OpenMetrics.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let mut liked = [0.0_f32, 0.0];
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in accepted.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let of = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => 0,
                "text/plain" => 1,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
            liked[of] = quality.unwrap_or(0.0_f32).max(liked[of]);
        }
        if liked[0] > 0.0 && liked[0] >= liked[1] { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        })
    }

    /// Renders OpenMetrics text in this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => in_text(&open_metrics),
        }
    }
}

/// OpenMetrics names a counter family without `_total` and an info family without `_info`, though their samples have it.
/// The older format has neither info families nor units, and names each family as its samples.
fn in_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        // The type of a family follows its help.
        let kind = [line, lines.peek().copied().unwrap_or_default()]
            .into_iter()
            .find_map(|line| line.strip_prefix("# TYPE ")?.split(' ').nth(1));
        let (word, name, rest) = parts(comment);
        let (suffix, rest) = match (word, kind) {
            ("HELP" | "TYPE", Some("counter")) => ("_total", rest),
            ("HELP", Some("info")) => ("_info", rest),
            ("TYPE", Some("info")) => ("_info", "gauge"),
            ("TYPE", Some("unknown")) => ("", "untyped"),
            ("HELP" | "TYPE", _) => ("", rest),
            // UNIT and EOF.
            _ => continue,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {word} {name}{suffix} {rest}");
    }
    text
}

/// Splits a comment into its keyword, the name of its family, and the rest.
fn parts(comment: &str) -> (&str, &str, &str) {
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    (word, name, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers_and_the_older_one_where_it_says_nothing() {
        const OPEN: &str = "application/openmetrics-text";
        for (accept, expected) in [
            (&[][..], Exposition::Text),
            (&["*/*"], Exposition::Text),
            (&["text/plain;version=0.0.4"], Exposition::Text),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Exposition::Text),
            (&[OPEN], Exposition::OpenMetrics),
            (&["Application/OpenMetrics-Text; version=1.0.0"], Exposition::OpenMetrics),
            // The header that Prometheus sends.
            (
                &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                   application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                   text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
                Exposition::OpenMetrics,
            ),
            (&["application/openmetrics-text;q=0.1, text/plain;q=0.9"], Exposition::Text),
            (&["application/openmetrics-text;q=0"], Exposition::Text),
            (&["application/openmetrics-text;q=x"], Exposition::Text),
            (&["text/plain", OPEN], Exposition::OpenMetrics),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(Exposition::asked_for(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn each_family_is_called_as_its_samples_in_the_older_format() {
        let open_metrics = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
             a_seconds_total{b=\"# TYPE\"} 1\n# HELP c C.\n# TYPE c info\nc_info{v=\"1\"} 1\n\
             # HELP d D.\n# TYPE d histogram\nd_bucket{le=\"+Inf\"} 0\n# TYPE e gauge\ne 1\n\
             # HELP f F.\n# TYPE f unknown\nf 2\n# EOF\n";
        let expected = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{b=\"# TYPE\"} 1\n# HELP c_info C.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n\
             # HELP d D.\n# TYPE d histogram\nd_bucket{le=\"+Inf\"} 0\n# TYPE e gauge\ne 1\n\
             # HELP f F.\n# TYPE f untyped\nf 2\n";
        assert_eq!(in_text(open_metrics), expected);
    }
}
