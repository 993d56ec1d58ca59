//! Answers computed beforehand: what an answer is ([`Definition`]), how its rows lie in a file ([`layout`]), and which of its
//! generations is published ([`Published`]).
//!
//! A publication writes a *generation*, a file that never changes and is named by the digest of its bytes, and then swaps a
//! pointer, the [`Published`], to it. A reader takes the pointer once for a whole answer, so that no answer has rows of two
//! generations.

mod definition;
pub mod layout;
pub mod page;

use serde::{Deserialize, Serialize};

use crate::{AnswerName, GenerationName, Timestamp};

pub use definition::{Chart, ColumnName, Definition, DefinitionError, USERNAME};

/// How long a generation can still be read after another one has taken its place, in milliseconds: a reader that took the
/// pointer before goes on reading it.
pub const KEPT_MILLIS: u64 = 3_600_000;

/// The pointer of an answer: what is published, and since when. It is stored as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// The answer's name.
    pub name: AnswerName,
    /// The file that has the rows.
    pub generation: GenerationName,
    /// When it was published last, even if nothing had changed.
    pub published_at: Timestamp,
    /// The text of the answer's SQL file. Readers take its head ([`Definition`]) from here, so that they need no other file.
    pub sql: String,
}

impl Published {
    /// Returns the answer's definition.
    pub fn definition(&self) -> Result<Definition, DefinitionError> {
        Definition::read(self.name.clone(), &self.sql)
    }
}
