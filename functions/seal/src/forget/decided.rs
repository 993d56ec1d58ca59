//! What a forgetting has decided, as an object that is there until its end: with it, one that died is finished, and counts are lowered
//! once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_aws::{CountsToLower, ForgottenAdmin, Lowered, LoweredCount, PendingForgetting};
use weir_core::{
    Day, EventType, Random, Username,
    forgotten::{ForgetRequest, Which},
    ports::PortError,
};

use super::{ForgetError, look::OfObjects};

const READING: &str = "reading what an earlier `weir forget` decided";

/// The object's content.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The name of the forgetting.
    run: String,
    /// A digest of the request.
    asked: String,
    /// The counts that are lowered, once they are known.
    counts: Option<CountsToLower>,
    /// The sealed days that have such events.
    #[serde(default)]
    days: BTreeSet<Day>,
}

/// What was decided, if anything.
pub(super) struct Decided {
    stored: PendingForgetting,
    content: Option<Content>,
}

impl Decided {
    /// Reads what was decided. It must have been by the same request.
    pub(super) async fn read(admin: &ForgottenAdmin, request: &ForgetRequest) -> Result<Self, ForgetError> {
        let stored = admin.pending().await?;
        let content = (!stored.text.is_empty()).then(|| serde_json::from_slice::<Content>(&stored.text));
        let content = content.transpose().map_err(|error| PortError::broken(READING, error))?;
        if content.as_ref().is_some_and(|content| content.asked != digest(&content.run, request)) {
            return Err(ForgetError::Unfinished);
        }
        Ok(Self { stored, content })
    }

    /// Returns the counts to lower and the sealed days with such events, if they were known.
    pub(super) fn known(&self) -> Option<(CountsToLower, BTreeSet<Day>)> {
        let content = self.content.as_ref()?;
        Some((content.counts.clone()?, content.days.clone()))
    }

    /// Notes that the forgetting has begun to decide, with the sealed days that have such events. Days that an earlier attempt noted
    /// stay.
    pub(super) async fn begin(
        &mut self,
        admin: &ForgottenAdmin,
        request: &ForgetRequest,
        days: BTreeSet<Day>,
        random: &dyn Random,
    ) -> Result<(), PortError> {
        let run = random.token();
        let asked = digest(&run, request);
        let earlier = self.content.take().map(|content| content.days).unwrap_or_default();
        self.put(admin, Content { run, asked, counts: None, days: &earlier | &days }).await
    }

    /// Notes more sealed days with such events, and returns all.
    pub(super) async fn add_days(
        &mut self,
        admin: &ForgottenAdmin,
        days: BTreeSet<Day>,
    ) -> Result<BTreeSet<Day>, PortError> {
        let content = self.content.take().ok_or_else(|| PortError::broken(READING, "it has not begun"))?;
        let days = &content.days | &days;
        self.put(admin, Content { days: days.clone(), ..content }).await?;
        Ok(days)
    }

    /// Notes the counts to lower and the sealed days, and returns them.
    pub(super) async fn set_known(
        &mut self,
        admin: &ForgottenAdmin,
        username: &Username,
        of: OfObjects,
        days: BTreeSet<Day>,
    ) -> Result<(CountsToLower, BTreeSet<Day>), PortError> {
        let broken = || PortError::broken(READING, "it has not begun");
        let content = self.content.take().ok_or_else(broken)?;
        let counts =
            CountsToLower { username: username.clone(), run: content.run.clone(), lowered: lowered(&of) };
        let days = &content.days | &days;
        let known = (counts.clone(), days.clone());
        self.put(admin, Content { counts: Some(counts), days, ..content }).await?;
        Ok(known)
    }

    async fn put(&mut self, admin: &ForgottenAdmin, content: Content) -> Result<(), PortError> {
        let text = serde_json::to_vec(&content).map_err(|error| PortError::broken(READING, error))?;
        admin.decide(&mut self.stored, text).await?;
        self.content = Some(content);
        Ok(())
    }
}

/// Returns a digest of a request, which is another one in each forgetting.
fn digest(run: &str, ForgetRequest { username, event_type, which }: &ForgetRequest) -> String {
    let mut hash = Sha256::new();
    let mut add =
        |text: &str| hash.update([&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat());
    add(run);
    add(username.as_str());
    add(event_type.as_ref().map_or("", EventType::as_str));
    if let Which::Where { field, values } = which {
        add(field);
        for value in values {
            add(value);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the counts that events are in.
fn lowered(OfObjects { events, keys }: &OfObjects) -> Vec<Lowered> {
    let mut totals: BTreeMap<&EventType, u64> = BTreeMap::new();
    let mut all = Vec::new();
    for (partition, by) in events {
        *totals.entry(&partition.event_type).or_default() += by;
        let count = LoweredCount::Hour(partition.hour.since_epoch());
        all.push(Lowered { event_type: partition.event_type.clone(), count, by: *by });
    }
    for (event_type, by) in totals {
        all.push(Lowered { event_type: event_type.clone(), count: LoweredCount::Total, by });
        // A bot's event counts once more as a bot's.
        if !event_type.is_bots() {
            all.push(Lowered { event_type: event_type.clone(), count: LoweredCount::Forgotten, by });
        }
    }
    for ((event_type, key), by) in keys {
        let count = LoweredCount::Key(key.clone());
        all.push(Lowered { event_type: event_type.clone(), count, by: *by });
    }
    all
}
