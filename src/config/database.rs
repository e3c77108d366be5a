//! `[database]`

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::folders::Folders;
use super::reader::{Reader, Rule};
use super::secret;

/// The file of the built-in database, under the root.
const SQLITE_FILE: &str = "eventferry.db";

/// Where the database is and how it is used.
#[derive(Clone, Debug)]
pub struct DatabaseSection {
    /// Which database.
    pub address: DatabaseAddress,
    /// Connections at the same time, from 1 to 200.
    pub connections: u32,
    /// How long a statement waits for a lock or a free connection.
    pub busy_timeout: Duration,
}

/// Which database is used.
#[derive(Clone, Debug)]
pub enum DatabaseAddress {
    /// The built-in one, in this file; the path is absolute.
    Sqlite(PathBuf),
    /// A PostgreSQL server: `postgres://…`, with its password.
    Postgres(SecretString),
}

impl DatabaseAddress {
    /// The address as one text: `sqlite:PATH` or `postgres://…`.
    pub fn url(&self) -> SecretString {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()).into(),
            Self::Postgres(url) => url.clone(),
        }
    }
}

impl DatabaseSection {
    pub(super) fn read(reader: &mut Reader, folders: &Folders) -> Self {
        let builtin = DatabaseAddress::Sqlite(folders.root.join(SQLITE_FILE));
        let found = reader.secret("database.url", secret::show_database);
        let address = found.map(|found| parse(reader, found.expose_secret()));
        if address.as_ref().is_some_and(Option::is_none) {
            let remedy =
                "write \"sqlite\", \"sqlite:PATH\" (a file, without options) or \"postgres://USER:PASSWORD@HOST/NAME\"";
            reader.fault("database.url", &Rule::new("must be the address of a database", remedy));
        }
        Self {
            address: address.flatten().unwrap_or(builtin),
            connections: reader.number("database.connections", 1..=200),
            busy_timeout: reader.duration("database.busy_timeout", Duration::from_secs(1)..=Duration::from_secs(600)),
        }
    }
}

fn parse(reader: &Reader, text: &str) -> Option<DatabaseAddress> {
    let text = text.trim();
    if text == "sqlite" {
        return Some(DatabaseAddress::Sqlite(reader.under_root(SQLITE_FILE)));
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        // Jobs have to survive a restart, so a database in memory (`:memory:`) is none.
        let is_file = !path.is_empty() && !path.contains('?') && !path.starts_with(':') && !path.ends_with('/');
        return is_file.then(|| DatabaseAddress::Sqlite(reader.under_root(path)));
    }
    let server = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))?;
    let is_address = !server.is_empty() && !server.contains(char::is_whitespace);
    is_address.then(|| DatabaseAddress::Postgres(text.into()))
}
