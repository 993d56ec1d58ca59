//! Checks that users and types named in a command exist, and suggests the one probably meant.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail};
use weir_core::{
    Catalog, EventType, Username, nearest,
    ports::{Books, UserAdmin},
};
use weir_embedded::UserStore;

use crate::{catalog, cli::EngineName};

/// The longest list of names in a message.
const LISTED: usize = 12;

/// A user and a type named in a command, and where to look them up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub(crate) engine: EngineName,
    pub(crate) data: &'a Path,
    pub(crate) catalog: Option<&'a Path>,
    pub(crate) user: Option<&'a Username>,
    pub(crate) event_type: Option<&'a EventType>,
}

impl Selection<'_> {
    /// Refuses a type that is neither in the catalog nor counted, and a user without an account and without events.
    pub(crate) async fn check(self) -> Result<()> {
        if let Some(event_type) = self.event_type.filter(|event_type| !event_type.is_rejected()) {
            let named = self.catalog.map(|folder| catalog::read(Some(folder))).transpose()?;
            let catalog = match self.engine {
                EngineName::Embedded => catalog::with_stored(named, self.data)?,
                EngineName::Aws => named.map_or_else(|| catalog::read(None), Ok)?,
            };
            if catalog.get(event_type).is_none() {
                self.look_for_type(event_type, &catalog).await?;
            }
        }
        match self.user {
            Some(user) => self.look_for_user(user).await,
            None => Ok(()),
        }
    }

    async fn look_for_type(self, event_type: &EventType, catalog: &Catalog) -> Result<()> {
        let counted = self.counted().await?;
        let mut known: BTreeSet<&str> = counted.iter().map(|(_, counted)| counted.as_str()).collect();
        if known.contains(event_type.as_str()) {
            return Ok(());
        }
        known.extend(catalog.iter().map(|definition| definition.event_type().as_str()));
        let hint = if self.catalog.is_none() && self.engine == EngineName::Aws {
            ". Name the server's own catalog with --catalog, if it has one"
        } else {
            ""
        };
        bail!("{}{hint}", no_such("event type", event_type.as_str(), &known))
    }

    async fn look_for_user(self, user: &Username) -> Result<()> {
        let has_account = match self.engine {
            // A folder whose users were removed still has their events.
            EngineName::Embedded if !self.data.join("users.db").exists() => BTreeSet::new(),
            EngineName::Embedded => accounts(&UserStore::open(self.data)?).await?,
            #[cfg(feature = "aws")]
            EngineName::Aws => accounts(&crate::aws::users().await?).await?,
            #[cfg(not(feature = "aws"))]
            EngineName::Aws => return Err(crate::cli::without_aws()),
        };
        if has_account.contains(user) {
            return Ok(());
        }
        let counted = self.counted().await?;
        if counted.iter().any(|(counted, _)| counted == user) {
            return Ok(());
        }
        let with_events = counted.iter().map(|(user, _)| user);
        let known = has_account.iter().chain(with_events).map(Username::as_str).collect();
        bail!(no_such("user", user.as_str(), &known))
    }

    async fn counted(self) -> Result<BTreeSet<(Username, EventType)>> {
        match self.engine {
            EngineName::Embedded => {
                let (books, _raw, _lake) = weir_embedded::open_books(self.data)?;
                Ok(books.counted().await?)
            }
            #[cfg(feature = "aws")]
            EngineName::Aws => Ok(crate::aws::counts().await?.counted().await?),
            #[cfg(not(feature = "aws"))]
            EngineName::Aws => Err(crate::cli::without_aws()),
        }
    }
}

async fn accounts(users: &dyn UserAdmin) -> Result<BTreeSet<Username>> {
    Ok(users.list().await?.into_iter().map(|user| user.username).collect())
}

/// Returns the error that there is no such user to change, with the one probably meant.
pub(crate) async fn no_such_user(users: &dyn UserAdmin, name: &Username) -> anyhow::Error {
    let known = accounts(users).await.unwrap_or_default();
    anyhow::anyhow!(no_such("user", name.as_str(), &known.iter().map(Username::as_str).collect()))
}

/// Returns the message for an unknown name.
pub(crate) fn no_such(kind: &str, name: &str, known: &BTreeSet<&str>) -> String {
    let mut message = format!("there is no {kind} {name}");
    match known.iter().copied().collect::<Vec<_>>()[..] {
        [] => message += &format!(", and no other {kind} either"),
        [one] => message += &format!("; there is {one}"),
        [ref first @ .., last] if known.len() <= LISTED => {
            message += &format!("; there are {} and {last}", first.join(", "));
        }
        _ => message += &format!("; there are {} others", known.len()),
    }
    if let Some(nearest) = nearest(name, known.iter().copied()) {
        message += &format!(": did you mean {nearest}?");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are_and_the_nearest() {
        let types = BTreeSet::from(["button_click", "page_view", "prediction"]);
        let said = |name| no_such("event type", name, &types);
        let there_are = "there are button_click, page_view and prediction";
        assert_eq!(
            said("page_vew"),
            format!("there is no event type page_vew; {there_are}: did you mean page_view?")
        );
        assert_eq!(said("nope"), format!("there is no event type nope; {there_are}"));
        assert_eq!(no_such("user", "ann", &BTreeSet::from(["demo"])), "there is no user ann; there is demo");
        let many: Vec<String> = (0..300).map(|n| format!("user-{n}")).collect();
        let many = many.iter().map(String::as_str).collect();
        assert_eq!(no_such("user", "ann", &many), "there is no user ann; there are 300 others");
    }
}
