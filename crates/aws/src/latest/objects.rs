//! The objects of large latest values, in S3.
//!
//! An object is named by the SHA-256 of its resource's key and its content. So putting it again changes nothing, and no two
//! values share an object, which the removal of one would take from the other.

use std::fmt::Write;

use aws_config::SdkConfig;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_core::{latest::Resource, ports::PortError};

use crate::{
    errors::port_error,
    s3_calls::{Call, S3Calls},
};

const PUTTING: &str = "putting a large latest value";
const READING: &str = "reading a large latest value";

/// The prefix of all objects. The events of the lake are elsewhere, so no query and no audit meets these.
pub(super) const PREFIX: &str = "latest/";

/// The bucket, as far as large latest values are in it.
#[derive(Clone)]
pub(super) struct Objects(S3Calls);

impl Objects {
    pub(super) fn new(config: &SdkConfig, bucket: &str) -> Self {
        Self(S3Calls::new(config, bucket))
    }

    /// Puts a value's event, and returns the key of its object.
    pub(super) async fn put(&self, resource: &Resource, event: &Bytes) -> Result<String, PortError> {
        let key = key(resource, event);
        let put = self.0.invoke(Call::put(&key, event.clone())).await;
        put.map_err(|error| port_error(PUTTING, &error))?;
        Ok(key)
    }

    /// Reads an object; `None` if it does not exist.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.0.find(Call::get(key), READING).await
    }

    /// Removes an object that no value refers to. If that fails, it stays, which costs its storage and nothing else.
    pub(super) async fn remove(&self, key: &str) {
        if let Err(error) = self.0.invoke(Call::delete(key)).await {
            tracing::warn!(%error, object = key, "an object of an earlier latest value is left");
        }
    }
}

/// Returns the key of a value's object, of characters that need no escape in a URL.
fn key(Resource { username, event_type, key }: &Resource, event: &Bytes) -> String {
    let mut name = format!("{PREFIX}{username}/{event_type}/");
    // No text has this byte, so it divides the two.
    for byte in Sha256::new().chain_update(key.as_str()).chain_update([0xff]).chain_update(event).finalize() {
        write!(name, "{byte:02x}").expect("memory takes it");
    }
    name + ".json"
}
