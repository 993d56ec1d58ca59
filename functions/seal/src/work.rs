//! The work of sealing on AWS: finds objects in S3 and settled counts in DynamoDB, and has Athena write the files of each
//! type.
//!
//! Each attempt writes into a folder of its own: the query of a killed function goes on in Athena, and its files are then
//! where no other attempt reads or writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use weir_aws::{
    DynamoCounts, S3Lake, S3SealedDays, UsersAndTypes,
    athena::{Athena, AthenaError},
};
use weir_core::{
    Catalog, Day, EventType, Partition, Random, Username,
    ports::PortError,
    sealing::{DayObjects, SealedDays, SealedType, SettledDay, ToWrite, Work, Written},
    sql::Row,
};

use crate::{
    columns::{Columns, LINE},
    sql::Rows,
};

/// How many types are written at the same time. An account may run about twenty queries at once
/// (<https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>).
const CONCURRENT: usize = 4;

/// No day is begun with less time than this.
const LEAST: Duration = Duration::from_mins(3);

const WRITING: &str = "writing a sealed day";

/// The work of one run.
pub(crate) struct AthenaWork<'a> {
    pub(crate) days: &'a S3SealedDays,
    pub(crate) lake: &'a S3Lake,
    pub(crate) counts: &'a DynamoCounts,
    pub(crate) athena: &'a Athena,
    pub(crate) database: &'a str,
    pub(crate) catalog: &'a Catalog,
    pub(crate) random: &'a dyn Random,
    /// The time at which the run must end.
    pub(crate) ends: Instant,
    /// The users and types that have objects, listed after the announcement that objects are to be noted.
    pub(crate) users: UsersAndTypes,
    /// The days that are not sealed yet and have objects.
    pub(crate) open: BTreeSet<Day>,
    /// Whether a day was left for the next run, for lack of time.
    pub(crate) ran_out_of_time: AtomicBool,
}

impl AthenaWork<'_> {
    /// Returns whether there is time for another day.
    pub(crate) fn has_time(&self) -> bool {
        self.ends.saturating_duration_since(Instant::now()) >= LEAST
    }

    async fn generation(&self, to_write: &ToWrite<'_>) -> Result<Written, PortError> {
        let ToWrite { day, number, before, added, covered } = *to_write;
        // Removes the rest of a sealing that died.
        self.days.remove_generation(day, number).await?;
        let mut bytes = [0; 6];
        self.random.fill(&mut bytes);
        let attempt: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = S3SealedDays::folder(day, number, &attempt);
        let mut objects: BTreeMap<EventType, BTreeSet<&str>> = BTreeMap::new();
        for object in added {
            if let Some(event_type) = Partition::type_of(object) {
                objects.entry(event_type).or_default().insert(object);
            }
        }
        let earlier = before.into_iter().flat_map(|before| before.types.keys().cloned());
        let types: BTreeSet<EventType> = objects.keys().cloned().chain(earlier).collect();
        let (folder, objects) = (&folder, &objects);
        let writings = types.into_iter().map(|event_type| async move {
            let before = before.and_then(|before| before.types.get(&event_type));
            let written = self.event_type((day, folder), &event_type, before, objects.get(&event_type)).await;
            (event_type, written)
        });
        // Waits for all of them, even if one fails, so that none goes on in Athena unseen.
        let all: Vec<_> = stream::iter(writings).buffer_unordered(CONCURRENT).collect().await;
        let mut written = Written::default();
        for (event_type, wrote) in all {
            let (sealed, read) = wrote.map_err(|error| {
                let text = format!("{event_type} of {day}: {error}");
                if error.is_transient() {
                    PortError::unavailable(WRITING, text)
                } else {
                    PortError::broken(WRITING, text)
                }
            })?;
            written.read.extend(read.into_iter().map(|(user, events)| ((user, event_type.clone()), events)));
            if sealed.rows + sealed.repeats > 0 {
                written.types.insert(event_type, sealed);
            }
        }
        self.days.cover(day, number, covered).await?;
        Ok(written)
    }

    /// Writes one type's files, and returns how many events of each user were read.
    async fn event_type(
        &self,
        (day, folder): (Day, &str),
        event_type: &EventType,
        before: Option<&SealedType>,
        objects: Option<&BTreeSet<&str>>,
    ) -> Result<(SealedType, BTreeMap<Username, u64>), WriteError> {
        if let Some(objects) = objects {
            self.days.list_added(folder, event_type, objects).await?;
        }
        let (added, repeats) = (S3SealedDays::added(event_type), S3SealedDays::repeats(event_type));
        let columns = Columns::of(event_type, self.catalog);
        let rows = Rows {
            database: self.database,
            day,
            event_type,
            columns: &columns,
            folder,
            added: objects.map(|_| added.as_str()),
            before: before.and_then(folder_of),
            repeats: &repeats,
        };
        let (mut read, mut repeated) = (BTreeMap::new(), 0);
        for row in self.ask(&rows.count_read()).await? {
            let [user, events, of_them_repeats] = texts(row)?;
            read.insert(user.parse().map_err(|_| WriteError::Answer)?, number(&events)?);
            repeated += number(&of_them_repeats)?;
        }
        let sealed = self.days.url();
        if read.values().sum::<u64>() > repeated {
            self.athena.ask_until(&rows.write_events(&sealed), self.ends).await?;
        }
        if repeated > 0 {
            self.athena.ask_until(&rows.write_repeats(&sealed), self.ends).await?;
        }
        let mut found = BTreeMap::new();
        if !read.is_empty() {
            for row in self.ask(&rows.count_written()).await? {
                let [kind, events] = texts(row)?;
                found.insert(kind, number(&events)?);
            }
        }
        let mut bytes = 0;
        let mut files = [Vec::new(), Vec::new()];
        for (files, kind) in files.iter_mut().zip([event_type.as_str(), &repeats]) {
            for file in self.days.files(&format!("{folder}/{kind}")).await? {
                bytes += file.bytes;
                files.push(file.path);
            }
        }
        let [files, repeat_files] = files;
        let count = |kind: &str| found.get(kind).copied().unwrap_or_default();
        let sealed = SealedType {
            line: LINE.to_owned(),
            columns: columns.sealed().into(),
            files,
            repeat_files,
            rows: count(event_type.as_str()),
            repeats: count(&repeats),
            bytes,
        };
        Ok((sealed, read))
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Row>, WriteError> {
        Ok(self.athena.rows_until(sql, self.ends).await?)
    }
}

/// Returns the folder in which the files of a type are.
pub(crate) fn folder_of(sealed: &SealedType) -> Option<&str> {
    let (folder, _) = sealed.files.first().or_else(|| sealed.repeat_files.first())?.split_once('/')?;
    Some(folder)
}

/// Why a type is not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Athena(#[from] AthenaError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("Athena's answer is not understood")]
    Answer,
}

impl WriteError {
    /// Returns whether the same call may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Athena(error) => error.may_go_on() || *error == AthenaError::TooSlow,
            Self::Port(error) => matches!(error, PortError::Unavailable { .. }),
            Self::Answer => false,
        }
    }
}

fn texts<const N: usize>(row: Row) -> Result<[String; N], WriteError> {
    let texts: Option<Vec<String>> = row.into_iter().collect();
    texts.and_then(|texts| texts.try_into().ok()).ok_or(WriteError::Answer)
}

fn number(text: &str) -> Result<u64, WriteError> {
    text.parse().map_err(|_| WriteError::Answer)
}

#[async_trait]
impl DayObjects for AthenaWork<'_> {
    /// Returns the days that were not sealed when the run began.
    async fn days(&self, until: Day) -> Result<BTreeSet<Day>, PortError> {
        Ok(self.open.range(..until).copied().collect())
    }

    async fn objects(&self, day: Day) -> Result<BTreeSet<String>, PortError> {
        self.lake.of_day(&self.users, day).await
    }

    async fn settled(&self, day: Day, batches: &BTreeSet<String>) -> Result<SettledDay, PortError> {
        let users = self.users.keys().cloned().collect();
        self.counts.settled_day(&users, day, batches).await
    }
}

#[async_trait]
impl Work for AthenaWork<'_> {
    async fn write(&self, to_write: ToWrite<'_>) -> Result<Written, PortError> {
        if !self.has_time() {
            self.ran_out_of_time.store(true, Ordering::Relaxed);
            return Err(PortError::unavailable(WRITING, "no time is left: the next run goes on"));
        }
        let written = self.generation(&to_write).await;
        // The day took longer than the run had left.
        if written.is_err() && Instant::now() >= self.ends {
            self.ran_out_of_time.store(true, Ordering::Relaxed);
        }
        written
    }
}
