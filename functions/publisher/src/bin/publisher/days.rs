//! Seals days that are over, and removes what is not kept any longer.
//!
//! A run that fails may have sealed some days; the next run begins again. A run also fails if its time is not enough for one
//! day. An alarm watches for runs that fail on three days in a row.

use std::{sync::Arc, time::Duration};

use seal::{Kept, Names, RunError, RunSummary, Seal};
use serde_json::{Value, json};
use weir_aws::Aws;
use weir_core::{Catalog, SystemClock, SystemRandom, sealing::Removed};
use weir_lambda::{Environment, StartError};

/// The function that seals.
pub(crate) struct Sealer(Seal);

impl Sealer {
    pub(crate) fn new(environment: &Environment) -> Result<Self, StartError> {
        let names = Names {
            lake: environment.text("WEIR_LAKE_BUCKET")?,
            raw: environment.text("WEIR_RAW_BUCKET")?,
            counts: environment.text("WEIR_COUNTS_TABLE")?,
            latest: environment.text("WEIR_LATEST_TABLE")?,
            workgroup: environment.text("WEIR_WORKGROUP")?,
            database: environment.text("WEIR_GLUE_DATABASE")?,
        };
        // As in the template, 0 is for ever.
        let days = |name: &'static str| -> Result<Option<u32>, StartError> {
            Ok(Some(environment.or(name, 0)?).filter(|days| *days > 0))
        };
        let kept = Kept { json: days("WEIR_LAKE_JSON_RETENTION_DAYS")?, events: days("WEIR_KEEP_DAYS")? };
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let seal = Seal::new(&Aws::on_lambda(), &names, Catalog::built_in()?, clock, random);
        Ok(Self(seal.keeping(kept)))
    }

    pub(crate) async fn answer(&self, left: Duration) -> Result<Value, RunError> {
        match self.0.run(left).await {
            Ok(Some(RunSummary { sealed, sealed_until, is_whole, json_expired, removed, .. })) => {
                let until = sealed_until.to_string();
                let Removed { days, objects, batches } = removed;
                if days > 0 || batches > 0 {
                    tracing::info!(
                        days,
                        objects,
                        batches,
                        "events were removed, as their types are not kept for longer"
                    );
                }
                if json_expired > 0 {
                    tracing::info!(days = json_expired, "the JSON of sealed days was removed");
                }
                tracing::info!(sealed, until, is_whole, "days are sealed");
                Ok(json!({"sealed": sealed, "sealed_until": until, "is_whole": is_whole,
                    "json_expired_days": json_expired, "removed_days": days}))
            }
            Ok(None) => {
                tracing::warn!("another run is sealing days: this one does nothing");
                Ok(json!({"sealed": 0}))
            }
            Err(error) => {
                if let RunError::Removal(_) = error {
                    tracing::error!(%error, "days are sealed; JSON or events that are due could not be removed");
                } else {
                    tracing::error!(%error, "days cannot be sealed; queries read what they read before");
                }
                Err(error)
            }
        }
    }
}
