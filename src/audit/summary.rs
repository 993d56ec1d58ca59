//! The remarks that an audit prints beside its findings.

use std::collections::BTreeMap;

use super::{Whose, findings::Finding, hours::Hours};
use crate::{cli::AuditArgs, counted::counted};

/// Remarks printed beside the findings.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a remark of its own")]
pub(super) struct Summary {
    pub(super) wrong: usize,
    settled: bool,
    or_lost: bool,
    live: bool,
    latest: bool,
}

impl Summary {
    pub(super) fn of(findings: &[Finding]) -> Self {
        let has = |of: &str| findings.iter().any(|it| it.what.starts_with(of));
        Self {
            wrong: findings.iter().filter(|it| it.is_wrong).count(),
            settled: has("settled") || has("damaged") || has("wrong") || has("not a"),
            or_lost: has("under way"),
            live: has("live"),
            latest: findings.iter().any(|it| it.what.contains("latest value")),
        }
    }

    pub(super) fn differences(&self) -> String {
        match self.wrong {
            0 => "no differences".to_owned(),
            some => counted(some as u64, "difference", "differences"),
        }
    }

    pub(super) fn explain(&self, hours: Hours, repairing: bool) {
        if !hours.all() {
            eprintln!("weir: only hours were compared: totals and live counts are of all hours");
        }
        if self.settled {
            eprintln!(
                "weir: the lake is not what was settled: `weir replay` files its batches again, as long as they are in raw, \
                 and changes nothing that is well. What Weir did not put there has to be removed by hand"
            );
        }
        if self.live && !repairing {
            let then = if self.settled { "after that, " } else { "" };
            eprintln!("weir: {then}`weir audit --repair` makes live counts what lies in the lake");
        }
        if self.latest && !repairing {
            eprintln!("weir: `weir audit --repair` makes latest values those of the newest events");
        }
        if self.or_lost {
            eprintln!(
                "weir: what is counted live above the lake is under way (in the stream's buffer, in the queue) or lost: \
                 --quiet-for 16m tells which, once no events come in"
            );
        }
    }
}

/// Prints how many of the events retention removed: their counts stay.
pub(super) fn removed(events: u64) {
    if events > 0 {
        eprintln!(
            "weir: {} removed, as their types are not kept for longer: they stay in all counts, and counts by key of these types are \
             not compared",
            counted(events, "event was", "events were")
        );
    }
}

/// Prints how many events are in sealed days whose JSON was removed, on AWS.
pub(super) fn not_recounted(events: u64) {
    if events > 0 {
        eprintln!(
            "weir: {} not recounted: the JSON of their days was removed (LakeJsonRetentionDays). Counts by key and latest values of \
             these types are not compared",
            counted(events, "event was", "events were")
        );
    }
}

/// Prints how many of the events were forgotten: they are in no count and in no object.
pub(super) fn forgotten(args: &AuditArgs, counts: &BTreeMap<Whose, u64>) {
    let is_asked = |(user, event_type): &Whose| {
        args.user.as_ref().is_none_or(|wanted| wanted == user)
            && args.event_type.as_ref().is_none_or(|wanted| wanted == event_type)
    };
    let events: u64 = counts.iter().filter(|(whose, _)| is_asked(whose)).map(|(_, count)| count).sum();
    if events > 0 {
        eprintln!("weir: {} forgotten (`weir forget`)", counted(events, "event was", "events were"));
    }
}
