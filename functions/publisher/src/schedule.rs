//! Which of the published answers are due. What was published once is published again at the times that its head says, from
//! the SQL that was published with it.

use std::time::Duration;

use weir_aws::Standing;
use weir_core::{Timestamp, answers::Definition};

/// How often the schedule looks (the event `Look` of the template's `Publisher`). No answer is computed more often.
pub const TICK: Duration = Duration::from_mins(5);

/// An answer that is to be computed again.
#[derive(Debug)]
pub struct Due {
    /// What is published of it.
    pub answer: Standing,
    /// Its definition.
    pub definition: Definition,
}

/// Returns the answers that are due, the longest overdue first. One that failed is due again after its usual time.
#[must_use]
pub fn due(answers: Vec<Standing>, now: Timestamp) -> Vec<Due> {
    let mut due: Vec<(Timestamp, Due)> = answers
        .into_iter()
        .filter_map(|answer| {
            // What cannot be read was published by a later version.
            let definition = answer.published.definition().ok()?;
            let every = definition.every?;
            // Looks are some seconds more or less than a tick apart, which must not cost an answer a whole tick.
            let early = (TICK / 2).min(every / 2);
            let wait = u64::try_from((every - early).as_millis()).unwrap_or(u64::MAX);
            // Where a publisher's clock is ahead, this waits for it: nothing earlier may take that publication's place.
            let at = answer.last().plus_millis(wait);
            (at <= now).then_some((at, Due { answer, definition }))
        })
        .collect();
    due.sort_by_key(|(at, _)| *at);
    due.into_iter().map(|(_, due)| due).collect()
}

#[cfg(test)]
mod tests {
    use weir_core::answers::Published;

    use super::*;

    const NOW: u64 = 1_795_179_605_007;

    /// An answer that was published and tried so many minutes ago.
    fn answer(name: &str, every: &str, published: u64, tried: Option<u64>) -> Standing {
        let ago = |minutes: u64| Timestamp::from_millis(NOW - minutes * 60_000).unwrap();
        let every = if every.is_empty() { String::new() } else { format!("-- every: {every}\n") };
        let published = Published {
            name: name.parse().unwrap(),
            generation: "0".repeat(32).parse().unwrap(),
            published_at: ago(published),
            sql: format!("-- public: true\n{every}SELECT 1 AS n"),
        };
        Standing { published, tried_at: tried.map(ago) }
    }

    fn names(answers: Vec<Standing>) -> Vec<String> {
        let due = due(answers, Timestamp::from_millis(NOW).unwrap());
        due.iter().map(|due| due.definition.name.to_string()).collect()
    }

    #[test]
    fn what_is_due_is_computed_the_longest_overdue_first_and_nothing_else() {
        let answers = vec![
            answer("just_now", "1 hour", 1, None),
            answer("not_yet", "1 hour", 57, None),
            answer("a_little_early", "1 hour", 58, None),
            answer("long_ago", "1 hour", 600, None),
            answer("daily", "1 day", 600, None),
            answer("yesterday", "1 day", 1440, None),
            answer("by_hand", "", 100_000, None),
            answer("each_tick", "1 minute", 4, None),
        ];
        assert_eq!(names(answers), ["long_ago", "each_tick", "yesterday", "a_little_early"]);
    }

    #[test]
    fn what_was_tried_in_vain_waits_for_its_usual_time() {
        assert_eq!(names(vec![answer("a", "1 hour", 600, Some(5))]), [""; 0]);
        assert_eq!(names(vec![answer("a", "1 hour", 600, Some(60))]), ["a"]);
        // A try before the last publication is of no account.
        assert_eq!(names(vec![answer("a", "1 hour", 10, Some(600))]), [""; 0]);
    }
}
