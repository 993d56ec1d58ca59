//! What can be typed after `weir forget`.

use std::time::Duration;

use clap::{ArgGroup, Args};
use weir_core::{EventType, Username};

use super::{
    options::{CatalogArgs, Place},
    values::duration,
};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("which").args(["condition", "all"]).required(true),
    after_help = "On one machine, the server must be stopped; on AWS, events may go on to come. Backups are not changed: remove those from \
    before.\n\nExamples:\n  weir forget --user \
    ethan --where session_id=s1 --dry-run\n  weir forget --user ethan --where session_id=s1\n  weir forget --user ethan --type signup --where email=ann@example.com\n  weir forget --user \
    ethan --all"
)]
pub(crate) struct ForgetArgs {
    /// The user whose events these are.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Username,
    /// Only events of this type, and what was rejected as one or without a type; `rejected` means all rejected events. What was
    /// rejected under another name, such as a misspelt one, stays.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<EventType>,
    /// Only events with this value in this field, such as email=ann@example.com. A field within another has a dot:
    /// context.email=…. For all events there is --all.
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = condition)]
    pub(crate) condition: Option<Condition>,
    /// All events of the user.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print how many filed events there are, and forget none. A `weir forget` that was stopped is finished first.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// On AWS: how long to wait for events that the stream still holds, and once more until all filing that began before has
    /// ended. Less is right only if no events come meanwhile.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "16m")]
    pub(crate) wait: Duration,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}

/// A field and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) field: String,
    pub(crate) value: String,
}

fn condition(text: &str) -> Result<Condition, String> {
    match text.split_once('=') {
        Some((field, value)) if !field.is_empty() && !value.is_empty() => {
            Ok(Condition { field: field.to_owned(), value: value.to_owned() })
        }
        _ => Err("a field and its value, like email=ann@example.com".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_field_and_a_value_which_may_have_an_equals_sign() {
        let told = condition("a.b=x=y").unwrap();
        assert_eq!((told.field.as_str(), told.value.as_str()), ("a.b", "x=y"));
        for bad in ["", "a", "=x", "a="] {
            assert!(condition(bad).is_err(), "{bad}");
        }
    }
}
