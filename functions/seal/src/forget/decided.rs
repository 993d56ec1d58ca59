//! What a forgetting has decided, as an object that is there until its end: with it, one that died is finished, and counts are lowered
//! once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_aws::{CountsToLower, ForgottenAdmin, Lowered, LoweredCount, PendingForgetting};
use weir_core::{
    Day, EventType, Hour, Partition, Random, Timestamp, Username,
    forgotten::{ForgetRequest, Which},
    ports::PortError,
};

use super::{
    ForgetError,
    look::{Counted, OfObjects},
};

const READING: &str = "reading what an earlier `weir forget` decided";

/// The object's content.
#[derive(Clone, Serialize, Deserialize)]
struct Content {
    /// The name of the forgetting.
    run: String,
    /// A digest of the request.
    asked: String,
    /// When it began, in milliseconds since 1970.
    #[serde(default)]
    began: u64,
    /// The values that are stored in the place of the one that was asked for, as the catalog had it then.
    #[serde(default)]
    derived: Vec<String>,
    /// The events that go and are in the counts, by the paths of their objects, until all counts are known.
    #[serde(default)]
    counted: BTreeMap<String, CountedObject>,
    /// The counts that are lowered, once they are known.
    counts: Option<CountsToLower>,
    /// The days of such events, sealed or not.
    #[serde(default)]
    days: BTreeSet<Day>,
}

/// The events of an object.
#[derive(Clone, Serialize, Deserialize)]
struct CountedObject {
    /// Types, hours since 1970, and numbers of events.
    events: Vec<(EventType, u64, u64)>,
    /// Types, keys, and numbers of events.
    keys: Vec<(EventType, String, u64)>,
}

/// What was decided, if anything.
pub(super) struct Decided {
    stored: PendingForgetting,
    content: Option<Content>,
}

/// How far an earlier attempt came.
pub(super) enum Earlier {
    /// It began to decide: its tombstones may be there. A batch that is filed again since is without the events, which are counted
    /// as they were then.
    Begun {
        /// When.
        began: Timestamp,
        /// The events that were in the counts then.
        counted: Counted,
    },
    /// The counts to lower are known, and the days of the events.
    Known {
        /// When it began.
        began: Timestamp,
        /// The counts.
        counts: CountsToLower,
        /// The days.
        days: BTreeSet<Day>,
    },
}

impl Decided {
    /// Reads what was decided. It must have been by the same request, which gets the values that were stored in the place of its own
    /// when it was decided.
    pub(super) async fn read(
        admin: &ForgottenAdmin,
        request: &mut ForgetRequest,
    ) -> Result<Self, ForgetError> {
        let stored = admin.pending().await?;
        let content = (!stored.text.is_empty()).then(|| serde_json::from_slice::<Content>(&stored.text));
        let content = content.transpose().map_err(|error| PortError::broken(READING, error))?;
        let is_another = |content: &Content| {
            let digests = [Values::Asked, Values::All].map(|values| digest(&content.run, request, values));
            !digests.contains(&content.asked)
        };
        if content.as_ref().is_some_and(is_another) {
            return Err(ForgetError::Unfinished);
        }
        if let (Some(content), Which::Where { values, .. }) = (&content, &mut request.which) {
            let new: Vec<_> =
                content.derived.iter().filter(|value| !values.contains(value)).cloned().collect();
            values.extend(new);
        }
        Ok(Self { stored, content })
    }

    /// Returns how far an earlier attempt came.
    pub(super) fn earlier(&self, username: &Username) -> Result<Option<Earlier>, PortError> {
        let Some(content) = &self.content else { return Ok(None) };
        let began = Timestamp::saturating(content.began);
        if let Some(counts) = &content.counts {
            let (counts, days) = (counts.clone(), content.days.clone());
            return Ok(Some(Earlier::Known { began, counts, days }));
        }
        let counted = content.counted.iter().map(|(path, object)| Ok((path.clone(), object.read(username)?)));
        let counted = Counted(counted.collect::<Result<_, PortError>>()?);
        Ok(Some(Earlier::Begun { began, counted }))
    }

    /// Notes that the forgetting has begun to decide, with the events that are in the counts.
    pub(super) async fn begin(
        &mut self,
        admin: &ForgottenAdmin,
        (request, began): (&ForgetRequest, Timestamp),
        counted: &Counted,
        random: &dyn Random,
    ) -> Result<(), PortError> {
        let run = self.content.take().map_or_else(|| random.token(), |content| content.run);
        let asked = digest(&run, request, Values::Asked);
        let derived = match &request.which {
            Which::All => Vec::new(),
            Which::Where { values, .. } => values.iter().skip(1).cloned().collect(),
        };
        let counted = counted.0.iter().map(|(path, of)| (path.clone(), CountedObject::of(of))).collect();
        let (began, counts, days) = (began.millis(), None, BTreeSet::new());
        self.put(admin, Content { run, asked, began, derived, counted, counts, days }).await
    }

    /// Notes the counts to lower and the days of the events, and returns the counts.
    pub(super) async fn set_known(
        &mut self,
        admin: &ForgottenAdmin,
        (username, chunk): (&Username, usize),
        of: OfObjects,
        days: BTreeSet<Day>,
    ) -> Result<CountsToLower, PortError> {
        let content = self.content.take().ok_or_else(|| PortError::broken(READING, "it has not begun"))?;
        let (username, run) = (username.clone(), content.run.clone());
        let counts = CountsToLower { username, run, lowered: lowered(&of), chunk };
        let known = Some(counts.clone());
        self.put(admin, Content { counts: known, days, counted: BTreeMap::new(), ..content }).await?;
        Ok(counts)
    }

    /// Notes that no sealed day has such events any more.
    pub(super) async fn end_days(&mut self, admin: &ForgottenAdmin) -> Result<(), PortError> {
        match self.content.take() {
            Some(content) => self.put(admin, Content { days: BTreeSet::new(), ..content }).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, admin: &ForgottenAdmin, content: Content) -> Result<(), PortError> {
        let text = serde_json::to_vec(&content).map_err(|error| PortError::broken(READING, error))?;
        admin.decide(&mut self.stored, text).await?;
        self.content = Some(content);
        Ok(())
    }
}

impl CountedObject {
    fn of(OfObjects { events, keys }: &OfObjects) -> Self {
        let event = |(partition, by): (&Partition, &u64)| {
            (partition.event_type.clone(), partition.hour.since_epoch(), *by)
        };
        let key = |((of, key), by): (&(EventType, String), &u64)| (of.clone(), key.clone(), *by);
        Self { events: events.iter().map(event).collect(), keys: keys.iter().map(key).collect() }
    }

    fn read(&self, username: &Username) -> Result<OfObjects, PortError> {
        let mut of = OfObjects::default();
        for (event_type, hour, by) in &self.events {
            let hour = Hour::from_epoch(*hour).map_err(|error| PortError::broken(READING, error))?;
            let (username, event_type) = (username.clone(), event_type.clone());
            of.events.insert(Partition { username, event_type, hour }, *by);
        }
        of.keys.extend(self.keys.iter().map(|(of, key, by)| ((of.clone(), key.clone()), *by)));
        Ok(of)
    }
}

/// Which values of a request its digest is of.
#[derive(Clone, Copy)]
enum Values {
    /// The one that was asked for. What the catalog has stored in its place can be another one when the forgetting is finished.
    Asked,
    /// All: an earlier version wrote that.
    All,
}

/// Returns a digest of a request, which is another one in each forgetting.
fn digest(
    run: &str,
    ForgetRequest { username, event_type, which }: &ForgetRequest,
    which_values: Values,
) -> String {
    let mut hash = Sha256::new();
    let mut add =
        |text: &str| hash.update([&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat());
    add(run);
    add(username.as_str());
    add(event_type.as_ref().map_or("", EventType::as_str));
    if let Which::Where { field, values } = which {
        add(field);
        let count = match which_values {
            Values::Asked => 1,
            Values::All => values.len(),
        };
        for value in values.iter().take(count) {
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
