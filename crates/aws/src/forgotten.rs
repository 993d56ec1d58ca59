//! [`Forgotten`] on S3: the tombstones of forgotten events, in the lake's bucket.
//!
//! | object | |
//! | --- | --- |
//! | `forgotten/current` | the name of the object with the tombstones; the first forgetting makes it |
//! | `forgotten/<digest>` | the secret by which tombstones are made, in one line, and the tombstones behind it. It never changes |
//! | `forgetting/pending` | what a forgetting that is under way has decided ([`ForgottenAdmin`]). No function reads it |
//!
//! What is read is believed for [`BELIEVED`], and asked for again with the next batch or the next event that may be a retry. So
//! whatever began to work a minute after events were forgotten knows it. Until then a reader makes one call a minute, for an object
//! that does not exist.

use std::{collections::HashSet, fmt::Write, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_smithy_runtime_api::client::result::SdkError;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use weir_core::{
    Clock, InstallationSecret, Random, Timestamp,
    forgotten::{ForgottenEvents, Tombstone},
    ports::{Forgotten, PortError},
};

use crate::{
    errors::{malformed, port_error},
    objects::S3Files,
    s3_calls::{Call, S3Calls},
    sealed::S3SealedDays,
};

/// How long what was read is believed.
pub const BELIEVED: Duration = Duration::from_mins(1);

const CURRENT: &str = "forgotten/current";
const PENDING: &str = "forgetting/pending";
const PREFIX: &str = "forgotten/";

const READING: &str = "reading what was forgotten";
const WRITING: &str = "writing what was forgotten";

/// How often the pointer is read again if its object was replaced meanwhile.
const TRIES: u32 = 3;

/// Reads objects of the lake's bucket.
#[async_trait]
pub(crate) trait ReadObjects: Send + Sync {
    /// Reads an object; `None` if it does not exist.
    async fn read(&self, key: &str) -> Result<Option<Bytes>, PortError>;
}

#[async_trait]
impl ReadObjects for S3Files {
    async fn read(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        Ok(S3Files::read(self, key).await?.map(Bytes::from))
    }
}

#[async_trait]
impl ReadObjects for S3Calls {
    async fn read(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        match self.invoke(Call::get(key)).await {
            Ok(content) => Ok(Some(content)),
            Err(SdkError::ServiceError(answer)) if answer.err().code() == Some("NoSuchKey") => Ok(None),
            // Refusing all events that have an id would be worse. The fan-out needs the same right, and files nothing without it.
            Err(SdkError::ServiceError(answer)) if answer.err().code() == Some("AccessDenied") => {
                tracing::error!("forgotten events may come back: forgotten/* of the lake may not be read");
                Ok(None)
            }
            Err(error) => Err(port_error(READING, &error)),
        }
    }
}

/// What was forgotten, as it is read.
pub(crate) struct S3Forgotten<O> {
    objects: O,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was read last, and the name of the object with the tombstones.
    read_at: Option<Timestamp>,
    name: Bytes,
    gone: Arc<ForgottenEvents>,
}

impl<O: ReadObjects> S3Forgotten<O> {
    pub(crate) fn new(objects: O, clock: Arc<dyn Clock>) -> Self {
        Self { objects, clock, state: Mutex::default() }
    }
}

#[async_trait]
impl<O: ReadObjects> Forgotten for S3Forgotten<O> {
    async fn forgotten(&self) -> Result<Arc<ForgottenEvents>, PortError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        // A clock that was set back ends the belief.
        let is_fresh = |at: Timestamp| {
            now.millis().checked_sub(at.millis()).is_some_and(|age| u128::from(age) < BELIEVED.as_millis())
        };
        if state.read_at.is_some_and(is_fresh) {
            return Ok(state.gone.clone());
        }
        for _ in 0..TRIES {
            let name = self.objects.read(CURRENT).await?.unwrap_or_default();
            if name != state.name {
                let Some(gone) = of_name(&self.objects, &name).await? else { continue };
                (state.name, state.gone) = (name, Arc::new(gone));
            }
            state.read_at = Some(now);
            return Ok(state.gone.clone());
        }
        Err(PortError::unavailable(READING, "it is replaced all the time"))
    }
}

/// Reads the object that the pointer names; `None` if it was replaced meanwhile.
async fn of_name(objects: &dyn ReadObjects, name: &[u8]) -> Result<Option<ForgottenEvents>, PortError> {
    if name.is_empty() {
        return Ok(Some(ForgottenEvents::default()));
    }
    let Some(content) = objects.read(&key(name)).await? else { return Ok(None) };
    let end = content.iter().position(|byte| *byte == b'\n').unwrap_or(content.len());
    let (secret, tombstones) = content.split_at(end);
    let secret = std::str::from_utf8(secret).ok().and_then(|secret| secret.parse().ok());
    let (tombstones, rest) = tombstones.strip_prefix(b"\n").unwrap_or_default().as_chunks();
    match secret.filter(|_| rest.is_empty()) {
        Some(secret) => Ok(Some(ForgottenEvents::new(secret, tombstones.iter().copied().collect()))),
        None => Err(malformed(READING, "the list of what was forgotten is damaged")),
    }
}

fn key(name: &[u8]) -> String {
    format!("{PREFIX}{}", String::from_utf8_lossy(name))
}

/// What was forgotten, as `weir forget` adds to it, and what it decided.
pub struct ForgottenAdmin {
    files: S3Files,
    /// The objects that are put on a condition.
    objects: S3SealedDays,
    random: Arc<dyn Random>,
}

/// What a forgetting under way has decided, as it was read or put last.
#[derive(Debug, Clone, Default)]
pub struct PendingForgetting {
    /// Its text; empty if nothing is under way.
    pub text: Vec<u8>,
    tag: Option<String>,
}

impl ForgottenAdmin {
    pub(crate) fn new(files: S3Files, objects: S3SealedDays, random: Arc<dyn Random>) -> Self {
        Self { files, objects, random }
    }

    /// Returns all that was forgotten, as it is now.
    pub async fn read(&self) -> Result<ForgottenEvents, PortError> {
        self.tagged().await.map(|(gone, _)| gone)
    }

    async fn tagged(&self) -> Result<(ForgottenEvents, Option<(Vec<u8>, String)>), PortError> {
        for _ in 0..TRIES {
            let current = self.objects.get(CURRENT).await?;
            let name = current.as_ref().map(|(name, _)| name.as_slice()).unwrap_or_default();
            if let Some(gone) = of_name(&self.files, name).await? {
                return Ok((gone, current));
            }
        }
        Err(PortError::unavailable(READING, "it is replaced all the time"))
    }

    /// Returns the secret by which tombstones are made; a new one, which [`add`](Self::add) keeps, if nothing was ever forgotten.
    pub async fn secret(&self) -> Result<InstallationSecret, PortError> {
        let (gone, _) = self.tagged().await?;
        let known = gone.parts().map(|(secret, _)| secret.clone());
        Ok(known.unwrap_or_else(|| InstallationSecret::generate(&*self.random)))
    }

    /// Adds tombstones, which were made by this secret. Returns all that was forgotten.
    pub async fn add(
        &self,
        secret: &InstallationSecret,
        tombstones: &HashSet<Tombstone>,
    ) -> Result<ForgottenEvents, PortError> {
        let (gone, current) = self.tagged().await?;
        let mut all = HashSet::new();
        if let Some((known, tombstones)) = gone.parts() {
            if known != secret {
                return Err(PortError::unavailable(WRITING, "another `weir forget` was first: try again"));
            }
            all.clone_from(tombstones);
        }
        let before = all.len();
        all.extend(tombstones);
        if all.len() == before {
            return Ok(gone);
        }
        let mut sorted: Vec<&Tombstone> = all.iter().collect();
        sorted.sort_unstable();
        let mut content = format!("{}\n", secret.reveal()).into_bytes();
        for tombstone in sorted {
            content.extend_from_slice(tombstone);
        }
        let mut name = String::new();
        for byte in &Sha256::digest(&content)[..16] {
            write!(name, "{byte:02x}").expect("memory takes it");
        }
        self.files.put(&key(name.as_bytes()), content).await?;
        let (earlier, tag) = current.unzip();
        let put = self.objects.put_in_place(CURRENT, name.into_bytes(), tag.as_deref()).await?;
        if put.is_none() {
            return Err(PortError::unavailable(WRITING, "another `weir forget` was first: try again"));
        }
        if let Some(earlier) = earlier {
            self.files.remove(&key(&earlier)).await?;
        }
        Ok(ForgottenEvents::new(secret.clone(), all))
    }

    /// Reads what a forgetting under way has decided.
    pub async fn pending(&self) -> Result<PendingForgetting, PortError> {
        let (text, tag) = self.objects.get(PENDING).await?.unzip();
        Ok(PendingForgetting { text: text.unwrap_or_default(), tag })
    }

    /// Puts another text in the place of the one that was read or put last.
    pub async fn decide(&self, pending: &mut PendingForgetting, text: Vec<u8>) -> Result<(), PortError> {
        let put = self.objects.put_in_place(PENDING, text.clone(), pending.tag.as_deref()).await?;
        let tag = put.ok_or_else(|| PortError::unavailable(WRITING, "another `weir forget` is under way"))?;
        *pending = PendingForgetting { text, tag: Some(tag) };
        Ok(())
    }

    /// Ends the forgetting: removes all versions of what it decided.
    pub async fn end(&self) -> Result<(), PortError> {
        self.objects.remove_versions(PENDING).await
    }
}
