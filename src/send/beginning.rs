//! Judges a file by its beginning: if every line so far was rejected for the same reason, the type or the columns are
//! wrong, and sending the rest would only lengthen the list.

use serde::Deserialize;
use serde_json::Value;
use weir_core::Violation;

use super::sender::Settled;
use crate::terminal::on_one_line;

/// How many lines it takes: a pipe may start in the middle of a line.
const ENOUGH: u64 = 100;

/// The verdict from a file's first lines.
#[derive(Debug)]
pub(super) enum Beginning {
    /// An event was stored, or two lines were rejected for different reasons, or the verdict is ignored.
    Trusted,
    /// So many lines were rejected, all for the same reasons.
    Rejected { lines: u64, errors: Option<Value> },
}

impl Beginning {
    /// Makes a beginning of no lines. With `keep_going`, any beginning is trusted.
    pub(super) fn new(keep_going: bool) -> Self {
        if keep_going { Self::Trusted } else { Self::Rejected { lines: 0, errors: None } }
    }

    /// Returns whether concurrent requests are allowed, and progress may be recorded.
    pub(super) fn is_trusted(&self) -> bool {
        matches!(self, Self::Trusted)
    }

    /// Takes the outcomes of the next lines.
    pub(super) fn take(&mut self, settled: &Settled) {
        let Self::Rejected { lines, errors } = self else { return };
        for rejection in &settled.rejected {
            *lines += 1;
            if *errors.get_or_insert_with(|| rejection.errors.clone()) != rejection.errors {
                *self = Self::Trusted;
                return;
            }
        }
        if settled.sent + settled.duplicates > 0 {
            *self = Self::Trusted;
        }
    }

    /// Returns why the rest is not sent, if so.
    pub(super) fn refusal(&self) -> Option<anyhow::Error> {
        match self {
            Self::Rejected { lines, errors: Some(errors) } if *lines >= ENOUGH => Some(anyhow::anyhow!(
                "the first {lines} lines were all rejected for the same reason: {}. The rest was not sent; --keep-going \
                 sends it all the same",
                reasons(errors)
            )),
            _ => None,
        }
    }
}

/// Formats the reasons.
fn reasons(errors: &Value) -> String {
    #[derive(Deserialize)]
    struct Reasons(Vec<Violation>);
    let Ok(Reasons(reasons)) = Reasons::deserialize(errors) else { return on_one_line(&errors.to_string()) };
    let told = reasons.iter().map(|it| format!("{} {}", it.path, it.message).trim().to_owned());
    on_one_line(&told.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::send::sender::Rejection;

    fn settled(sent: u64, rejected: impl IntoIterator<Item = &'static str>) -> Settled {
        let rejection = |message| Rejection {
            number: 1,
            errors: json!([{"path": "/event_type", "message": message}]),
            original: Vec::new(),
            cut: false,
        };
        Settled { sent, rejected: rejected.into_iter().map(rejection).collect(), ..Settled::default() }
    }

    #[test]
    fn a_file_is_given_up_where_a_hundred_lines_or_more_were_all_rejected_for_one_reason() {
        let mut beginning = Beginning::new(false);
        for _ in 0..3 {
            beginning.take(&settled(0, ["is unknown"; 33]));
            assert!(beginning.refusal().is_none() && !beginning.is_trusted());
        }
        beginning.take(&settled(0, ["is unknown"]));
        let said = beginning.refusal().unwrap().to_string();
        assert!(
            said.starts_with(
                "the first 100 lines were all rejected for the same reason: /event_type is unknown."
            ),
            "{said}"
        );
        for other in [settled(1, []), settled(1, ["is unknown"; 200]), settled(0, ["is unknown", "is wrong"])]
        {
            let mut beginning = Beginning::new(false);
            beginning.take(&settled(0, ["is unknown"]));
            beginning.take(&other);
            beginning.take(&settled(0, ["is unknown"; 200]));
            assert!(beginning.is_trusted() && beginning.refusal().is_none());
        }
        let mut beginning = Beginning::new(true);
        beginning.take(&settled(0, ["is unknown"; 200]));
        assert!(beginning.refusal().is_none());
    }
}
