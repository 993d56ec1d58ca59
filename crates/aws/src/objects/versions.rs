//! Versions of objects. A bucket with versions keeps those that were replaced or removed for a while; here they are listed, and
//! removed for good.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_smithy_types::DateTime;
use futures_util::{StreamExt, TryStreamExt, stream};
use weir_core::{Timestamp, ports::PortError};

use crate::errors::{malformed, port_error};

const LISTING: &str = "listing versions of objects";
const REMOVING: &str = "removing objects";

/// How many objects are removed at the same time.
const CONCURRENT: usize = 32;

/// All versions of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    /// The current version, if the object exists.
    pub(crate) current: Option<Current>,
    /// The earlier versions.
    pub(crate) earlier: Vec<String>,
    /// The markers of removals.
    pub(crate) markers: Vec<String>,
}

/// The version of an object that is read.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) id: String,
    /// The tag of its content.
    pub(crate) tag: Option<String>,
    /// When it was put.
    pub(crate) put_at: Timestamp,
}

/// Lists the versions of the objects whose keys begin with `prefix` and are wanted.
pub(crate) async fn versions(
    client: &Client,
    bucket: &str,
    prefix: &str,
    is_wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<BTreeMap<String, Versions>, PortError> {
    let mut found: BTreeMap<String, Versions> = BTreeMap::new();
    let (mut key, mut id) = (None, None);
    loop {
        let page = client.list_object_versions().bucket(bucket).prefix(prefix);
        let page = page.set_key_marker(key.take()).set_version_id_marker(id.take()).send().await;
        let page = page.map_err(|error| port_error(LISTING, &error))?;
        for version in page.versions() {
            let Some(key) = version.key().filter(|key| is_wanted(key)) else { continue };
            let id = version.version_id().ok_or_else(|| malformed(LISTING, "a version without an id"))?;
            let of = found.entry(key.to_owned()).or_default();
            if version.is_latest() == Some(true) {
                let put_at = version.last_modified().map_or(0, millis);
                of.current = Some(Current {
                    id: id.to_owned(),
                    tag: version.e_tag().map(str::to_owned),
                    put_at: Timestamp::saturating(put_at),
                });
            } else {
                of.earlier.push(id.to_owned());
            }
        }
        for marker in page.delete_markers() {
            let Some(key) = marker.key().filter(|key| is_wanted(key)) else { continue };
            let id = marker.version_id().ok_or_else(|| malformed(LISTING, "a marker without an id"))?;
            found.entry(key.to_owned()).or_default().markers.push(id.to_owned());
        }
        if page.is_truncated() != Some(true) {
            return Ok(found);
        }
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
        if key.is_none() {
            return Err(malformed(LISTING, "a page without its end"));
        }
    }
}

fn millis(at: &DateTime) -> u64 {
    at.to_millis().ok().and_then(|at| u64::try_from(at).ok()).unwrap_or_default()
}

/// Removes all versions of these objects. The current ones go last, so that what is left of a removal that dies is listed again.
pub(crate) async fn remove_all(
    client: &Client,
    bucket: &str,
    of: BTreeMap<String, Versions>,
) -> Result<(), PortError> {
    let (mut earlier, mut current) = (Vec::new(), Vec::new());
    for (key, versions) in of {
        current.extend(versions.current.map(|current| (key.clone(), Some(current.id))));
        let others = versions.earlier.into_iter().chain(versions.markers);
        earlier.extend(others.map(|id| (key.clone(), Some(id))));
    }
    remove(client, bucket, earlier).await?;
    remove(client, bucket, current).await
}

/// Removes objects, each by its key and a version. Without the version, earlier ones stay for as long as the bucket keeps them.
///
/// The call that removes a thousand objects at once would not fit the publisher's package.
pub(crate) async fn remove(
    client: &Client,
    bucket: &str,
    objects: Vec<(String, Option<String>)>,
) -> Result<(), PortError> {
    let removals = objects.into_iter().map(|(key, id)| async move {
        let removed = client.delete_object().bucket(bucket).key(key).set_version_id(id).send().await;
        removed.map(drop).map_err(|error| port_error(REMOVING, &error))
    });
    stream::iter(removals).buffer_unordered(CONCURRENT).try_collect().await
}
