//! [`Answers`] on S3: objects below `answers/` of the lake's bucket.
//!
//! | object | |
//! | --- | --- |
//! | `answers/NAME/<generation>-<time>` | a generation. The time of its publication is in the name, so none is ever put again |
//! | `answers/NAME/current` | the pointer: what is published, in which object, and which objects were replaced when |
//!
//! A reader takes the pointer once for an answer, and S3 gives what was put last: no answer has rows of two generations. It
//! keeps the end of each generation, which has the index's buckets, in memory. `publish` is the other half, `schedule` what a
//! schedule needs of it, and `pages` what a CDN reads of public answers.

mod opened;
mod pages;
mod publish;
mod schedule;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use aws_config::SdkConfig;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use weir_core::{
    AnswerName, Timestamp,
    answers::Published,
    ports::{Answers, Generation, PortError},
};

use crate::{
    errors::{malformed, port_error},
    s3_calls::{Call, S3Calls},
};
use opened::{Object, Opened};
pub use pages::{Page, Pages};
pub use publish::S3AnswersAdmin;
pub use schedule::Standing;

const READING: &str = "reading an answer";
const LISTING: &str = "listing the answers";

/// The prefix of all objects.
const PREFIX: &str = "answers/";

/// The name of the pointer, beside the generations.
const CURRENT: &str = "current";

/// The most generations whose ends are kept, of at most 320 KiB each.
const MOST_KEPT: usize = 32;

/// The most pointers that are read at once.
const CONCURRENT: usize = 16;

/// What the pointer says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pointer {
    published: Published,
    /// The generation's name below the answer's prefix, and its length.
    object: String,
    length: u64,
    /// The generations that other ones took the place of, and have not been removed yet.
    replaced: Vec<Replaced>,
    /// When a schedule began to compute it again, unless it was published since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tried_at: Option<Timestamp>,
    /// The publisher that did, by a name that is used once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tried_by: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Replaced {
    object: String,
    at: Timestamp,
}

/// The answers of a bucket.
#[derive(Clone)]
pub struct S3Answers(Arc<Inner>);

struct Inner {
    calls: S3Calls,
    kept: Mutex<HashMap<AnswerName, Arc<Object>>>,
}

impl S3Answers {
    pub(crate) fn new(config: &SdkConfig, bucket: &str) -> Self {
        Self(Arc::new(Inner { calls: S3Calls::new(config, bucket), kept: Mutex::default() }))
    }

    async fn pointer(&self, name: &AnswerName) -> Result<Option<Pointer>, PortError> {
        let found = self.0.calls.find_named(Call::get(&key(name, CURRENT)), READING).await?;
        found.map(|text| read_pointer(&text)).transpose()
    }

    /// Returns all pointers, by name.
    async fn pointers(&self) -> Result<Vec<Pointer>, PortError> {
        let names = self.names().await?;
        let pointers: Vec<_> = names.iter().map(|name| self.pointer(name)).collect();
        let pointers = stream::iter(pointers).buffered(CONCURRENT);
        let pointers: Vec<Option<Pointer>> = pointers.try_collect().await?;
        let mut found: Vec<Pointer> = pointers.into_iter().flatten().collect();
        found.sort_by(|one, other| one.published.name.cmp(&other.published.name));
        Ok(found)
    }

    /// Opens the object of a generation, unless it is open.
    async fn object(&self, pointer: &Pointer) -> Result<Arc<Object>, PortError> {
        let name = &pointer.published.name;
        let key = key(name, &pointer.object);
        if let Some(known) = self.0.kept.lock().get(name).filter(|known| known.key == key) {
            return Ok(Arc::clone(known));
        }
        let object = Arc::new(Object::open(self.0.calls.clone(), key, pointer.length).await?);
        let mut kept = self.0.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(name.clone(), Arc::clone(&object));
        Ok(object)
    }

    /// Returns the names of the answers that have objects.
    async fn names(&self) -> Result<Vec<AnswerName>, PortError> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.0.calls.invoke(Call::list_folders(PREFIX, after.as_deref())).await;
            let page = page.map_err(|error| port_error(LISTING, &error))?;
            let page = String::from_utf8_lossy(&page);
            let folders =
                page.split("<Prefix>").filter_map(|rest| rest.strip_prefix(PREFIX)?.split_once("/<"));
            // Objects by another hand are skipped.
            let found: Vec<AnswerName> = folders.filter_map(|(name, _)| name.parse().ok()).collect();
            let Some(last) = found.last().filter(|_| page.contains("<IsTruncated>true<")) else {
                names.extend(found);
                return Ok(names);
            };
            // Zero is the character after the slash: this is after all of the last folder.
            after = Some(format!("{PREFIX}{last}0"));
            names.extend(found);
        }
    }
}

#[async_trait]
impl Answers for S3Answers {
    async fn current(&self, name: &AnswerName) -> Result<Option<Arc<dyn Generation>>, PortError> {
        let Some(pointer) = self.pointer(name).await? else { return Ok(None) };
        let object = self.object(&pointer).await?;
        Ok(Some(Arc::new(Opened::new(pointer.published, object)?)))
    }

    async fn list(&self) -> Result<Vec<Published>, PortError> {
        Ok(self.pointers().await?.into_iter().map(|pointer| pointer.published).collect())
    }
}

fn key(name: &AnswerName, object: &str) -> String {
    format!("{PREFIX}{name}/{object}")
}

fn read_pointer(text: &[u8]) -> Result<Pointer, PortError> {
    serde_json::from_slice(text).map_err(|error| malformed(READING, error.to_string()))
}
