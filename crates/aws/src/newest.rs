//! [`NewestEvents`] on S3: the objects of this hour and the previous one in the user's own part of the lake, as the stream
//! cannot be read. So an accepted event is listed once it is filed, minutes after it was acknowledged; a rejected one
//! at once, as it is noted (`recent_rejected`).
//!
//! The calls are bounded, as the API has them made by clients: two lists for each type that has events, and the newest objects
//! of all of them together, up to a number and a size. The last page ends with these.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    sync::Arc,
};

use async_trait::async_trait;
use aws_config::SdkConfig;
use flate2::bufread::MultiGzDecoder;
use futures_util::{StreamExt, TryStreamExt, stream};
use weir_core::{
    Clock, EventType, Partition, Username,
    forgotten::ForgottenEvents,
    newest::{Gathering, MAX_BYTES, NewestEvent, NewestPage, NewestRequest, Position},
    ports::{CountsByMinute, FollowEvents, NewestEvents, PortError, RecentRejected, SettledCounts},
    rejected::MAX_SHOWN,
};

use crate::{
    counts::table::DynamoCounts,
    s3_calls::{Call, S3Calls},
};

const LISTING: &str = "listing the newest events";
const READING: &str = "reading the newest events";

/// The most types of a user whose objects are listed.
const MOST_TYPES: usize = 50;

/// The most objects that are read, and the most bytes of them, compressed. Of a larger object, the beginning is read.
const MOST_OBJECTS: usize = 16;
const MOST_BYTES: u64 = 4 << 20;

/// The most calls at once.
const CONCURRENT: usize = 16;

/// The newest events of all users.
pub(crate) struct S3Newest {
    config: SdkConfig,
    lake: S3Calls,
    /// Whether users may have a bucket of their own.
    per_user: bool,
    counts: Arc<DynamoCounts>,
    clock: Arc<dyn Clock>,
}

/// An object of the lake, the newest first by its name: the stream names batches by their time.
pub(crate) struct Object {
    bucket: S3Calls,
    pub(crate) key: String,
    pub(crate) size: u64,
}

impl Object {
    fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

impl S3Newest {
    pub(crate) fn new(
        config: &SdkConfig,
        bucket: &str,
        per_user: bool,
        counts: Arc<DynamoCounts>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config: config.clone(), lake: S3Calls::new(config, bucket), per_user, counts, clock }
    }

    /// Returns the buckets that the user's events may be in.
    fn buckets(&self, username: &Username) -> Vec<S3Calls> {
        let own = self.per_user.then(|| S3Calls::new(&self.config, &format!("{username}-raw-events")));
        own.into_iter().chain([self.lake.clone()]).collect()
    }

    /// Returns whether the lake has the user's object at this path.
    pub(crate) async fn has(&self, username: &Username, path: &str) -> Result<bool, PortError> {
        for bucket in self.buckets(username) {
            if list(bucket, path.to_owned()).await?.iter().any(|object| object.key == path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the newest objects of these types, at most as many as are read.
    async fn objects(&self, username: &Username, types: Vec<EventType>) -> Result<Vec<Object>, PortError> {
        let buckets = self.buckets(username);
        let hour = self.clock.now().hour();
        let mut lists = Vec::new();
        for event_type in types {
            for hour in [hour, hour.minus(1)] {
                let partition =
                    Partition { username: username.clone(), event_type: event_type.clone(), hour };
                lists.extend(buckets.iter().map(|bucket| list(bucket.clone(), format!("{partition}/"))));
            }
        }
        let mut found: Vec<Object> = stream::iter(lists).buffer_unordered(CONCURRENT).try_concat().await?;
        found.sort_unstable_by(|one, other| other.name().cmp(one.name()));
        let mut left = MOST_BYTES;
        found.truncate(MOST_OBJECTS);
        found.retain(|object| {
            let is_read = left > 0;
            left = left.saturating_sub(object.size);
            is_read
        });
        Ok(found)
    }

    /// Returns the types of which the user has filed events.
    async fn types(
        &self,
        username: &Username,
        wanted: Option<&EventType>,
    ) -> Result<Vec<EventType>, PortError> {
        if let Some(wanted) = wanted {
            return Ok(if wanted.is_rejected() { Vec::new() } else { vec![wanted.clone()] });
        }
        let totals = SettledCounts::totals(&*self.counts, username).await?.by_type;
        let accepted = totals.into_keys().filter(|event_type| !event_type.is_rejected());
        Ok(accepted.take(MOST_TYPES).collect())
    }
}

/// Not on AWS: the stream cannot be read, so an event cannot be found before it is filed.
impl FollowEvents for S3Newest {}

/// Not on AWS: each event would cost one more write.
impl CountsByMinute for S3Newest {}

#[async_trait]
impl NewestEvents for S3Newest {
    async fn newest(&self, username: &Username, request: &NewestRequest) -> Result<NewestPage, PortError> {
        let types = self.types(username, request.event_type.as_ref()).await?;
        let objects = self.objects(username, types).await?;
        let nothing_gone = ForgottenEvents::default();
        let read = objects.into_iter().map(|object| async move {
            let end = object.size.min(MOST_BYTES);
            if end == 0 {
                return Ok(None);
            }
            // It may have been removed since it was listed.
            object.bucket.find(Call::get_range(&escaped(&object.key), 0..end), READING).await
        });
        let mut read = stream::iter(read).buffered(CONCURRENT);
        let mut events = Vec::new();
        let mut is_cut = false;
        while let Some(content) = read.try_next().await? {
            let Some(content) = content else { continue };
            let mut gathering = Gathering::of_a_part(username, request, &nothing_gone);
            let mut lines = BufReader::new(MultiGzDecoder::new(&content[..]));
            let mut line = Vec::new();
            // The end of an object that was not read whole is an error here, and the lines before it stand.
            while let Ok(1..) = lines.read_until(b'\n', &mut line) {
                gathering.take(0, &line);
                line.clear();
            }
            let (found, is_full) = gathering.newest_first();
            is_cut |= is_full;
            events.extend(found.into_iter().map(|(_, event)| event));
        }
        let rejected = self.counts.latest(username, MAX_SHOWN).await?.into_iter().map(NewestEvent::from);
        events.extend(rejected.filter(|event| request.wants(event)));
        Ok(page(events, is_cut, request))
    }
}

/// Makes a page of events in any order.
fn page(mut events: Vec<NewestEvent>, is_cut: bool, request: &NewestRequest) -> NewestPage {
    events.sort_by_cached_key(|event| std::cmp::Reverse((event.received_at, event.event_id.clone())));
    // The stream may have delivered a line twice.
    let mut seen = BTreeSet::new();
    events.retain(|event| seen.insert((event.received_at, event.event_id.clone(), event.is_rejected())));
    let all = events.len();
    let mut left = MAX_BYTES;
    let fitting = events.iter().take(request.limit).take_while(|event| {
        let fits = left > 0;
        left = left.saturating_sub(event.bytes());
        fits
    });
    let fitting = fitting.count();
    events.truncate(fitting);
    let next = events.last().filter(|_| is_cut || all > fitting).map(position);
    NewestPage { events, next, live: false }
}

fn position(event: &NewestEvent) -> Position {
    Position { number: event.received_at.millis(), event_id: Some(event.event_id.clone()) }
}

/// Lists the objects of a partition; none if the bucket does not exist.
pub(crate) async fn list(bucket: S3Calls, prefix: String) -> Result<Vec<Object>, PortError> {
    let Some(page) = bucket.find_in_bucket(Call::list_objects(&prefix), LISTING).await? else {
        return Ok(Vec::new());
    };
    let page = String::from_utf8_lossy(&page);
    let objects = page.split("<Contents>").skip(1).filter_map(|object| {
        let member = |name: &str| {
            let (_, rest) = object.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0)
        };
        let (key, size) = (member("Key")?.to_owned(), member("Size")?.parse().ok()?);
        Some(Object { bucket: bucket.clone(), key, size })
    });
    Ok(objects.collect())
}

/// Returns a key of the lake as it stands in a URL: beside those that need no escape it has only `=`.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('=', "%3D")
}
