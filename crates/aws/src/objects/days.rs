//! Lists the days of the lake for sealing.
//!
//! A sealing lists users and types once, after it has announced that objects are to be noted. So an object of a user or type
//! that is not in the list is noted, and hence late.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use weir_core::{Day, EventType, Hour, LakeObject, Partition, Username, ports::PortError};

use super::{S3Lake, list};
use crate::errors::port_error;

/// How many lists are read at the same time.
const CONCURRENT: usize = 32;

/// The users that have objects, each with the types of these objects.
pub type UsersAndTypes = BTreeMap<Username, BTreeSet<EventType>>;

impl S3Lake {
    /// Returns the users and types that have objects in the shared bucket.
    pub async fn users_and_types(&self) -> Result<UsersAndTypes, PortError> {
        let users = self.folders(Partition::PREFIX).await?;
        // Skips objects that another program put, here and below.
        let users = users.into_iter().filter_map(|folder| Partition::user_of(&folder));
        let types = users.map(|username| async move {
            let folders = self.folders(&format!("{}/", Partition::folder_of_user(&username))).await?;
            let types = folders.iter().filter_map(|folder| Partition::type_of(folder)).collect();
            Ok::<_, PortError>((username, types))
        });
        stream::iter(types).buffer_unordered(CONCURRENT).try_collect().await
    }

    /// Returns the days from `from` on and before `until` on which these users and types have objects.
    pub async fn days(&self, of: &UsersAndTypes, from: Day, until: Day) -> Result<BTreeSet<Day>, PortError> {
        let days = pairs(of).map(|folder| self.days_of(folder, from, until));
        let days: Vec<BTreeSet<Day>> = stream::iter(days).buffer_unordered(CONCURRENT).try_collect().await?;
        Ok(days.into_iter().flatten().collect())
    }

    /// Returns the paths of these users' and types' objects of a day.
    pub async fn of_day(&self, of: &UsersAndTypes, day: Day) -> Result<BTreeSet<String>, PortError> {
        let [year, month, date, _] = day.first_hour().parts();
        let [in_year, in_month, in_day, _] = Partition::HOUR_FOLDERS;
        let objects = pairs(of).map(|folder| async move {
            let prefix = format!("{folder}/{in_year}{year}/{in_month}{month}/{in_day}{date}/");
            list(&self.client, &self.bucket, &prefix, None, usize::MAX).await
        });
        let objects: Vec<Vec<String>> =
            stream::iter(objects).buffer_unordered(CONCURRENT).try_collect().await?;
        Ok(objects.into_iter().flatten().filter(|path| LakeObject::at(path).is_some()).collect())
    }

    async fn days_of(&self, folder: String, from: Day, until: Day) -> Result<BTreeSet<Day>, PortError> {
        let mut days = BTreeSet::new();
        let [in_year, in_month, in_day, _] = Partition::HOUR_FOLDERS;
        let [first_year, first_month, ..] = from.first_hour().parts();
        let [last_year, last_month, ..] = until.first_hour().parts();
        for (year, folder) in self.numbered(&format!("{folder}/"), in_year).await? {
            if !(first_year..=last_year).contains(&year) {
                continue;
            }
            for (month, folder) in self.numbered(&folder, in_month).await? {
                if !((first_year, first_month)..=(last_year, last_month)).contains(&(year, month)) {
                    continue;
                }
                for (date, _) in self.numbered(&folder, in_day).await? {
                    let (month, date) = (u8::try_from(month).ok(), u8::try_from(date).ok());
                    let hour = month.zip(date).and_then(|(month, date)| Hour::of_date(year, month, date, 0));
                    days.extend(hour.map(Day::of).filter(|day| (from..until).contains(day)));
                }
            }
        }
        Ok(days)
    }

    /// Lists the folders whose names are this text and a number.
    async fn numbered(&self, folder: &str, text: &str) -> Result<Vec<(u16, String)>, PortError> {
        let folders = self.folders(&format!("{folder}{text}")).await?;
        let numbered = folders.into_iter().filter_map(|found| {
            let number = found.strip_prefix(folder)?.strip_prefix(text)?.strip_suffix('/')?.parse().ok()?;
            Some((number, found))
        });
        Ok(numbered.collect())
    }

    /// Lists the folders whose paths begin with `prefix`. The paths end with a slash.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).delimiter("/");
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| port_error("listing the lake's folders", &error))?;
            found.extend(page.common_prefixes().iter().filter_map(|it| it.prefix().map(str::to_owned)));
        }
        Ok(found)
    }
}

/// Returns the folder of each type of each user.
fn pairs(of: &UsersAndTypes) -> impl Iterator<Item = String> {
    of.iter().flat_map(|(username, types)| {
        types.iter().map(move |event_type| Partition::folder_of_type(username, event_type))
    })
}
