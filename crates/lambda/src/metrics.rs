//! Metrics: lines of CloudWatch's embedded metric format on standard output. They cost no call, and nothing waits for them;
//! CloudWatch turns the lines into metrics when it reads the log.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{io::Write, sync::Arc};

use serde_json::{Map, Value, json};
use weir_core::{Clock, Timestamp};

use crate::{Environment, SettingError};

/// The metrics of a function, in the namespace `Weir`. Their one dimension is `Function`, the function's name. Each value of a
/// dimension makes a metric of its own, which is billed by the month, so a username is never a value.
#[derive(Clone)]
pub struct Metrics {
    function: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    /// Returns the metrics of the function that this process is.
    pub fn of_function(environment: &Environment, clock: Arc<dyn Clock>) -> Result<Self, SettingError> {
        Ok(Self { function: environment.text("AWS_LAMBDA_FUNCTION_NAME")?.into(), clock })
    }

    /// Writes one line with all these counts, or no line if nothing was counted: a line costs money, and a zero adds nothing to
    /// a sum.
    pub fn count(&self, counts: &[(&'static str, u64)]) {
        if let Some(line) = line(&self.function, self.clock.now(), counts) {
            // A failed write is ignored: without an output there is no place to report it.
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        }
    }
}

fn line(function: &str, now: Timestamp, counts: &[(&'static str, u64)]) -> Option<String> {
    let counted = || counts.iter().filter(|(_, count)| *count > 0);
    let metrics: Vec<Value> = counted().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    if metrics.is_empty() {
        return None;
    }
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.millis(),
            "CloudWatchMetrics": [{"Namespace": "Weir", "Dimensions": [["Function"]], "Metrics": metrics}],
        }),
    );
    line.insert("Function".to_owned(), json!(function));
    line.extend(counted().map(|(name, count)| ((*name).to_owned(), json!(count))));
    Some(format!("{}\n", Value::Object(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_the_format_asks() {
        let now = Timestamp::saturating(1_795_179_605_007);
        let line = line("weir-collector", now, &[("Accepted", 3), ("Rejected", 0), ("Retries", 1)]).unwrap();
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_795_179_605_007_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Weir",
                        "Dimensions": [["Function"]],
                        "Metrics": [{"Name": "Accepted", "Unit": "Count"}, {"Name": "Retries", "Unit": "Count"}],
                    }],
                },
                "Function": "weir-collector",
                "Accepted": 3,
                "Retries": 1,
            })
        );
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let now = Timestamp::saturating(1_795_179_605_007);
        assert_eq!(line("weir-collector", now, &[]), None);
        assert_eq!(line("weir-collector", now, &[("Accepted", 0), ("Rejected", 0)]), None);
    }
}
