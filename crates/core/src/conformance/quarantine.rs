//! [`Quarantine`] and [`QuarantineObjects`].

use super::{content, noise, read_all, some_batch};
use crate::ports::{PortError, Quarantine, QuarantineObjects};

/// Content is read back to the byte, putting again replaces it, and content that was never put is not found.
pub async fn what_was_put_aside_is_read_back(quarantine: &(impl Quarantine + QuarantineObjects)) {
    let batch = some_batch().id();
    assert!(matches!(quarantine.open(&batch).await, Err(PortError::NotFound { .. })));
    for length in [200_000, 100] {
        let bytes = noise(length);
        quarantine.put(&batch, length as u64, content(&bytes)).await.unwrap();
        assert!(read_all(quarantine.open(&batch).await.unwrap()).await == bytes);
    }
}
