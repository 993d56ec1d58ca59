//! The catalog: the event types, with the schema of their events, the route to which they are posted and the field by which
//! they are counted.
//!
//! A type is one file, `catalog/<event_type>.json`: a JSON Schema (2020-12) with one extra member, `"x-weir": {"route":
//! "/button/click", "count_by": "button_id"}`. With `"latest_by": "sensor_id"`, the newest event of each sensor is kept at
//! hand ([`latest`](crate::latest)). With `"fill": {"ipaddress": "client_ip"}`, the collector fills in what it knows of the
//! sender ([`Sender`]), and `"redact": {"email": "hash"}` replaces values before they are stored
//! ([`redaction`](crate::redaction)).

mod budget;
mod coherence;
mod compatibility;
mod cost;
mod definition;
mod fields;
mod fill;
mod graph;
mod locate;
mod own;
mod redact;
mod route;
mod stored;
mod words;

use std::{borrow::Cow, collections::BTreeMap};

pub use budget::{Budget, Refusal};
pub use compatibility::Breakage;
pub use definition::Definition;
pub use fill::Sender;
pub use redact::Redact;
pub use route::Route;

use crate::{Event, EventType, InstallationSecret, Redaction};

/// All event types, by name.
#[derive(Debug, Default)]
pub struct Catalog {
    types: BTreeMap<EventType, Definition>,
    secret: Option<InstallationSecret>,
    bytes_checked_at_once: usize,
}

/// Why a catalog cannot be used, with the file and the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct CatalogError {
    /// The file's name.
    pub file: String,
    /// The line in the file, from 1.
    pub line: usize,
    /// The reason.
    pub message: String,
}

/// The files of `catalog/` as they were at build time: name and text.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// The types for events of vendors' clients whose name is no type of the catalog. Each catalog has them.
const GENERAL: [&str; 6] = ["alias", "group", "identify", "page", "screen", "track"];

/// The steps of checking events that take some tens of milliseconds.
const STEPS_AT_ONCE: u64 = 1_000_000;

impl Catalog {
    /// Returns the files of the catalog that was compiled in: their names and texts.
    #[must_use]
    pub fn built_in_files() -> &'static [(&'static str, &'static str)] {
        BUILT_IN
    }

    /// Returns the catalog that was compiled in.
    pub fn built_in() -> Result<Self, CatalogError> {
        Self::read(BUILT_IN.iter().copied())
    }

    /// Reads a catalog from its files' names and texts.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, CatalogError> {
        let mut types: BTreeMap<EventType, Definition> = BTreeMap::new();
        for (file, text) in files {
            let definition = Definition::read(file, text)?;
            if let Some(other) = types.values().find(|other| other.route() == definition.route()) {
                return Err(CatalogError {
                    file: file.to_owned(),
                    line: locate::line_of(text, &["x-weir", "route"]),
                    message: format!("the route {} is taken by {}", definition.route(), other.event_type()),
                });
            }
            // Two files of one name can only come from two folders; the later one would hide the earlier.
            if let Some(other) = types.insert(definition.event_type().clone(), definition) {
                let message = format!("the event type {} is defined twice", other.event_type());
                return Err(CatalogError { file: file.to_owned(), line: 1, message });
            }
        }
        let bytes_checked_at_once = bytes_checked_at_once(&types);
        Ok(Self { types, secret: None, bytes_checked_at_once })
    }

    /// Adds the general types, for events of vendors' clients, that the catalog does not define itself. Its own routes come
    /// first: a general type whose route is taken is left out.
    pub fn with_general(mut self) -> Result<Self, CatalogError> {
        for (event_type, definition) in Self::built_in()?.types {
            let is_taken = || self.types.values().any(|own| own.route() == definition.route());
            if definition.is_general() && !self.types.contains_key(&event_type) && !is_taken() {
                self.types.insert(event_type, definition);
            }
        }
        self.bytes_checked_at_once = bytes_checked_at_once(&self.types);
        Ok(self)
    }

    /// Returns the definition of an event type, if the catalog has it.
    #[must_use]
    pub fn get(&self, event_type: &EventType) -> Option<&Definition> {
        self.types.get(event_type)
    }

    /// Returns all definitions, by name; the general ones come last.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        let of = |general: bool| self.types.values().filter(move |one| one.is_general() == general);
        of(false).chain(of(true))
    }

    /// Returns warnings about its files that stop no start: keywords that JSON Schema does not have.
    pub fn remarks(&self) -> impl Iterator<Item = &CatalogError> {
        self.iter().flat_map(Definition::remarks)
    }

    /// Adds a type that was served earlier, from its file's text, so that its stored events can still be read. A type that
    /// the catalog has stays unchanged, and an unreadable text adds nothing. Such a type may have the same route as another
    /// one: an extended catalog is only for reading.
    pub fn add_earlier(&mut self, event_type: &EventType, text: &str) {
        if !self.types.contains_key(event_type)
            && let Ok(definition) = Definition::read(&format!("{event_type}.json"), text)
        {
            self.types.insert(event_type.clone(), definition);
        }
    }

    /// Returns the largest size of a body whose events take at most some tens of milliseconds to check, with any content.
    #[must_use]
    pub const fn bytes_checked_at_once(&self) -> usize {
        self.bytes_checked_at_once
    }

    /// Returns whether a type hashes values, for which the catalog needs [a secret](Self::with_secret).
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        self.types.values().any(|definition| definition.redact().hashes())
    }

    /// Returns the same catalog, which hashes values with this secret.
    #[must_use]
    pub fn with_secret(self, secret: Option<InstallationSecret>) -> Self {
        Self { secret, ..self }
    }

    /// Redacts an event of this type, once it was checked; returns whether its type has anything to redact.
    pub fn redact(&self, definition: &Definition, event: &mut Event<'_>) -> bool {
        definition.redact().event(event, self.secret.as_ref());
        !definition.redact().is_empty()
    }

    /// Returns the value by which the events are stored that were sent with `text` in this field.
    #[must_use]
    pub fn redacted(&self, definition: &Definition, field: &str, text: &str) -> Option<String> {
        Some(definition.redact().of(field)?.of(text, self.secret.as_ref()))
    }

    /// Redacts what was sent for an event that is not valid, JSON or not: the values of all members that have the name of a
    /// redacted field. If the type is not known, those of all types are.
    #[must_use]
    pub fn redact_rejected<'a>(&self, claimed: Option<&EventType>, body: &'a [u8]) -> Cow<'a, [u8]> {
        let rules: Vec<(&str, Redaction)> = match claimed.and_then(|claimed| self.get(claimed)) {
            Some(definition) => definition.redact().iter().collect(),
            None => self.types.values().flat_map(|definition| definition.redact().iter()).collect(),
        };
        redact::body(body, &rules, self.secret.as_ref())
    }

    /// Returns what would break for events that were stored under `earlier` if this catalog took its place.
    #[must_use]
    pub fn breakages(&self, earlier: &Self) -> Vec<Breakage> {
        compatibility::breakages(earlier, self)
    }
}

impl Definition {
    /// Returns whether it is a type for events of vendors' clients whose name is no type of the catalog.
    #[must_use]
    pub fn is_general(&self) -> bool {
        GENERAL.contains(&self.event_type().as_str())
    }
}

fn bytes_checked_at_once(types: &BTreeMap<EventType, Definition>) -> usize {
    let steps = types.values().map(Definition::steps_of_a_value).max().unwrap_or(1);
    // A value and its separator from the next one take at least two bytes.
    usize::try_from(STEPS_AT_ONCE / steps).unwrap_or(usize::MAX).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = r#"{"type": "object", "x-weir": {"route": "/a"}}"#;

    #[test]
    fn the_built_in_catalog_has_the_documented_types() {
        let catalog = Catalog::built_in().unwrap();
        let said: Vec<_> =
            catalog.iter().map(|d| format!("{} {} {:?}", d.event_type(), d.route(), d.count_by())).collect();
        assert_eq!(
            said,
            [
                "button_click /button/click Some(\"button_id\")",
                "outcome /ml/outcome Some(\"label\")",
                "page_view /web/page_view Some(\"url\")",
                "prediction /ml/prediction Some(\"model\")",
                "alias /client/alias None",
                "group /client/group Some(\"group_id\")",
                "identify /client/identify None",
                "page /client/page Some(\"url\")",
                "screen /client/screen Some(\"name\")",
                "track /client/track Some(\"event\")",
            ]
        );
    }

    #[test]
    fn two_types_cannot_share_a_route_or_a_name() {
        let error = Catalog::read([("a.json", TYPE), ("b.json", TYPE)]).unwrap_err();
        assert_eq!(error.to_string(), "b.json:1: the route /a is taken by a");
        let other = TYPE.replace("/a", "/b");
        let error = Catalog::read([("a.json", TYPE), ("a.json", other.as_str())]).unwrap_err();
        assert_eq!(error.to_string(), "a.json:1: the event type a is defined twice");
    }

    #[test]
    fn each_catalog_has_the_general_types_and_its_own_come_first() {
        let own =
            Catalog::read([("track.json", TYPE), ("b.json", &*TYPE.replace("/a", "/client/page"))]).unwrap();
        let catalog = own.with_general().unwrap();
        let said: Vec<_> = catalog.iter().map(|d| format!("{} {}", d.event_type(), d.route())).collect();
        assert_eq!(
            said,
            [
                "b /client/page",
                "alias /client/alias",
                "group /client/group",
                "identify /client/identify",
                "screen /client/screen",
                "track /a"
            ]
        );
    }
}
