//! S3: objects by bucket and key, and the few calls that Weir makes, in S3's own form.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::LAKE;
use crate::{
    luck::Luck,
    operations::{What, Who},
    operator::USERS,
};

/// A call to S3.
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    bucket: String,
    key: String,
    query: BTreeMap<String, String>,
}

#[derive(Default)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Bytes>>,
    /// The users' own buckets, where users have any.
    owned: BTreeMap<String, Owner>,
    /// Rises with every change.
    pub(crate) version: u64,
}

/// The account that has the bucket with a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This one.
    Us,
    /// A stranger's.
    Stranger,
    /// None: there is no such bucket.
    NoBucket,
}

/// Whether events go into a bucket of each user, where there is one.
pub(crate) fn has_bucket_per_user(luck: &Luck) -> bool {
    luck.number(Who::Run, What::BucketPerUser, 0, |dice| u64::from(dice.chance(300))) > 0
}

impl Call {
    /// Reads a call with the bucket in its path.
    pub(crate) fn read(method: &str, uri: &str) -> Self {
        let path = uri.split_once("://").unwrap().1.split_once('/').unwrap().1;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let text = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let operation = match (method, query.get("x-id").map(String::as_str)) {
            ("GET", None) if query.contains_key("list-type") => "ListObjectsV2",
            // Calls for the objects of large latest values name no operation.
            ("GET", Some("GetObject") | None) => "GetObject",
            ("PUT", Some("PutObject") | None) => "PutObject",
            ("DELETE", None) => "DeleteObject",
            _ => panic!("S3 has no {method} {uri} here"),
        };
        Self { operation, bucket: text(bucket), key: text(key), query }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}/{}", self.operation, self.bucket, self.key)
    }
}

impl Objects {
    /// Draws whose the buckets with users' names are.
    pub(crate) fn new(luck: &Luck) -> Self {
        let owner = |user: &&str| {
            let owner = match luck.number(Who::Run, What::BucketOwner, 0, |dice| dice.range(0..3)) {
                0 => Owner::Us,
                1 => Owner::Stranger,
                _ => Owner::NoBucket,
            };
            (format!("{user}-raw-events"), owner)
        };
        Self { owned: USERS.iter().map(owner).collect(), ..Self::default() }
    }

    /// The objects of the lake: of the shared bucket, and of users' own. Large latest values are beside them.
    pub(crate) fn lake(&self) -> BTreeMap<String, Bytes> {
        let own = self.owned.keys().flat_map(|bucket| self.of(bucket));
        let shared = self.of(LAKE).into_iter().filter(|(key, _)| !key.starts_with("latest/"));
        shared.chain(own).collect()
    }

    pub(crate) fn put(&mut self, bucket: &str, key: &str, object: Bytes) {
        self.version += 1;
        self.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
    }

    /// A bucket's objects.
    pub(crate) fn of(&self, bucket: &str) -> BTreeMap<String, Bytes> {
        self.buckets.get(bucket).cloned().unwrap_or_default()
    }

    /// Does a call; answers with the status and the body.
    pub(crate) fn call(&mut self, call: &Call, body: &[u8]) -> (u16, Bytes) {
        match call.operation {
            "PutObject" if self.owned.get(&call.bucket) == Some(&Owner::Stranger) => {
                (403, error("AccessDenied"))
            }
            "PutObject" if self.owned.get(&call.bucket) == Some(&Owner::NoBucket) => {
                (404, error("NoSuchBucket"))
            }
            "PutObject" => {
                self.put(&call.bucket, &call.key, Bytes::copy_from_slice(body));
                (200, Bytes::new())
            }
            "GetObject" => match self.buckets.get(&call.bucket).and_then(|bucket| bucket.get(&call.key)) {
                Some(object) => (200, object.clone()),
                None => (404, error("NoSuchKey")),
            },
            "DeleteObject" => {
                self.version += 1;
                self.buckets.entry(call.bucket.clone()).or_default().remove(&call.key);
                (204, Bytes::new())
            }
            _ => (200, self.list(call)),
        }
    }

    fn list(&self, call: &Call) -> Bytes {
        let value = |name: &str| call.query.get(name).map(String::as_str).unwrap_or_default();
        let most = value("max-keys").parse().unwrap_or(1000);
        let keys = self.buckets.get(&call.bucket).into_iter().flat_map(BTreeMap::keys);
        let mut keys =
            keys.filter(|key| key.starts_with(value("prefix")) && key.as_str() > value("start-after"));
        let page: String = keys
            .by_ref()
            .take(most)
            .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"))
            .collect();
        let more = keys.next().is_some();
        format!("<ListBucketResult>{page}<IsTruncated>{more}</IsTruncated></ListBucketResult>").into()
    }
}

/// An error's body.
pub(crate) fn error(code: &str) -> Bytes {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>").into()
}
