//! [`Users`] and [`UserAdmin`] in a database of their own.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, Error::FromSqlConversionFailure, OptionalExtension, params, types::Type};
use weir_core::{
    Username,
    ports::{PortError, Saved, UserAdmin, Users},
    users::{StoredUser, User},
};

use crate::{
    error::OpenError,
    folder::Folder,
    store::{self, StoreError, name, port_error},
};

/// The formats of `users.db`. `access_keys` is JSON.
const FORMATS: &[&str] = &["
    CREATE TABLE users (
        username TEXT PRIMARY KEY, version INTEGER NOT NULL, access_keys TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// The value of SQLite's `application_id` once the database has had a user.
const HAD_USERS: i64 = 1;

/// The users of a data folder. It can be opened beside the process that serves the folder.
#[derive(Clone)]
pub struct UserStore {
    db: Arc<Mutex<Connection>>,
    is_new: bool,
}

impl UserStore {
    /// Opens the users of a data folder; creates the folder if it does not exist. Reads all users, so that damage is found
    /// now and not when a user signs in.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Folder::open(folder).map_err(|source| OpenError::Folder { path: folder.to_owned(), source })?;
        let path = folder.join("users.db");
        let db = store::open_with(&path, FORMATS)?;
        store::check_whole(&db, &path)?;
        list(&db).map_err(|error| match error {
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                StoreError::Damaged { path: path.clone(), reason: error.to_string() }
            }
            error => store::at(&path)(error),
        })?;
        let had_users =
            |db: &Connection| db.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0));
        let is_new = had_users(&db).map_err(store::at(&path))? == 0;
        Ok(Self { db: Arc::new(Mutex::new(db)), is_new })
    }

    /// Returns whether the database had never had a user when it was opened.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PortError> {
        let db = Arc::clone(&self.db);
        match tokio::task::spawn_blocking(move || query(&db.lock())).await {
            Ok(answer) => answer.map_err(|error| port_error(what, error)),
            Err(panicked_or_stopped) => Err(PortError::unavailable(what, panicked_or_stopped)),
        }
    }
}

#[async_trait]
impl Users for UserStore {
    async fn stored(&self, username: &Username) -> Result<Option<StoredUser>, PortError> {
        let username = username.clone();
        let query = move |db: &Connection| {
            db.prepare_cached("SELECT username, version, access_keys FROM users WHERE username = ?1")?
                .query_row([username.as_str()], read)
                .optional()
        };
        self.ask("finding a user", query).await
    }
}

#[async_trait]
impl UserAdmin for UserStore {
    async fn save(&self, user: &User) -> Result<Saved, PortError> {
        let user = user.clone();
        let query = move |db: &Connection| {
            let access_keys = serde_json::to_string(&user.access_keys).expect("plain data serialises");
            let changed = if user.version == 0 {
                // Records in the file's header that there was a user once.
                db.pragma_update(None, "application_id", HAD_USERS)?;
                db.prepare_cached(
                    "INSERT OR IGNORE INTO users (username, version, access_keys) VALUES (?1, 1, ?2)",
                )?
                .execute(params![user.username.as_str(), access_keys])?
            } else {
                db.prepare_cached("UPDATE users SET version = version + 1, access_keys = ?2 WHERE username = ?1 AND version = ?3")?
                    .execute(params![user.username.as_str(), access_keys, user.version])?
            };
            Ok(if changed == 1 { Saved::Yes } else { Saved::Outdated })
        };
        self.ask("saving a user", query).await
    }

    async fn remove(&self, username: &Username) -> Result<bool, PortError> {
        let username = username.clone();
        let query =
            move |db: &Connection| db.execute("DELETE FROM users WHERE username = ?1", [username.as_str()]);
        Ok(self.ask("removing a user", query).await? > 0)
    }

    async fn list(&self) -> Result<Vec<User>, PortError> {
        self.ask("listing users", list).await
    }
}

fn list(db: &Connection) -> rusqlite::Result<Vec<User>> {
    db.prepare_cached("SELECT username, version, access_keys FROM users ORDER BY username")?
        .query_map([], |row| {
            read(row)?.read().map_err(|error| FromSqlConversionFailure(2, Type::Text, error.into()))
        })?
        .collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredUser> {
    Ok(StoredUser { username: name(row, 0)?, version: row.get(1)?, access_keys: row.get(2)? })
}
