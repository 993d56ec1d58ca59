//! Seals days that are over.
//!
//! A run that fails may have sealed some days; the next run begins again. A run also fails if its time is not enough for one
//! day. An alarm watches for runs that fail on three days in a row.

use std::{sync::Arc, time::Duration};

use seal::{Names, RunError, RunSummary, Seal};
use serde_json::{Value, json};
use weir_aws::Aws;
use weir_core::{Catalog, SystemClock, SystemRandom};
use weir_lambda::{Environment, StartError};

/// The function that seals.
pub(crate) struct Sealer(Seal);

impl Sealer {
    pub(crate) fn new(environment: &Environment) -> Result<Self, StartError> {
        let names = Names {
            lake: environment.text("WEIR_LAKE_BUCKET")?,
            counts: environment.text("WEIR_COUNTS_TABLE")?,
            workgroup: environment.text("WEIR_WORKGROUP")?,
            database: environment.text("WEIR_GLUE_DATABASE")?,
        };
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        Ok(Self(Seal::new(&Aws::on_lambda(), &names, Catalog::built_in()?, clock, random)))
    }

    pub(crate) async fn answer(&self, left: Duration) -> Result<Value, RunError> {
        match self.0.run(left).await {
            Ok(Some(RunSummary { sealed, sealed_until, is_whole })) => {
                let until = sealed_until.to_string();
                tracing::info!(sealed, until, is_whole, "days are sealed");
                Ok(json!({"sealed": sealed, "sealed_until": until, "is_whole": is_whole}))
            }
            Ok(None) => {
                tracing::warn!("another run is sealing days: this one does nothing");
                Ok(json!({"sealed": 0}))
            }
            Err(error) => {
                tracing::error!(%error, "days cannot be sealed; queries read what they read before");
                Err(error)
            }
        }
    }
}
