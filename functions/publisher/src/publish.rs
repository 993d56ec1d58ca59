//! Stores what was computed, and what a CDN reads of it.

use std::{env, io, iter};

use weir_aws::{Page, Pages as Put, S3AnswersAdmin};
use weir_core::{
    Timestamp,
    answers::{Definition, Published},
    ports::{AnswersAdmin, Publication},
};

use crate::{
    error::{AnswerError, wrong},
    pages::Pages,
    spool::{Computed, Spooled, content, lay_out},
};

/// The most bytes that all rows below a path have. A response of Lambda has 6 MiB, and in it each quote of JSON is two bytes.
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>)
const LARGEST: u64 = 3_000_000;

/// What was published.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// The number of rows.
    pub rows: u64,
    /// The bytes of the generation.
    pub length: u64,
    /// Rows that have no address.
    pub left_out: u64,
    /// What became of the pages, if a CDN reads any.
    pub pages: Option<Put>,
}

/// Publishes rows that were computed from `sql` after `published_at`. `again` is for a schedule, which never replaces what was
/// published from other SQL meanwhile.
pub async fn publish(
    store: &S3AnswersAdmin,
    (definition, sql): (&Definition, &str),
    spooled: &Spooled,
    published_at: Timestamp,
    has_cdn: bool,
    again: bool,
) -> Result<Stored, AnswerError> {
    let largest = spooled.largest();
    if largest > LARGEST {
        return Err(wrong(format!(
            "the rows below one path have {largest} bytes: on AWS it is {LARGEST} at the most"
        )));
    }
    let pages = (has_cdn && definition.public).then(|| Pages::of(spooled, definition)).transpose()?;
    let Computed { file, length, generation, rows, left_out } = lay_out(spooled, &env::temp_dir())?;
    let name = definition.name.clone();
    let published = Published { name, generation, published_at, sql: sql.to_owned() };
    let stored = if again {
        store.publish_again(&published, length, content(file)).await?
    } else {
        store.publish(&published, length, content(file)).await?
    };
    if stored == Publication::Outdated {
        return Err(AnswerError::Outdated);
    }
    let mut stored = Stored { rows, length, left_out, pages: None };
    if has_cdn {
        // None, if it is public no longer.
        let none = || Box::new(iter::empty()) as Box<dyn Iterator<Item = io::Result<Page>> + Send + '_>;
        let pages = pages.as_ref().map(Pages::read).transpose()?.map_or_else(none, |pages| Box::new(pages));
        let put = store.put_pages(&definition.name, pages).await.map_err(AnswerError::Pages)?;
        stored.pages = definition.public.then_some(put);
    }
    Ok(stored)
}
