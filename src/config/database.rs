//! `[database]`

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

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
        let address = found.map_or(Ok(builtin.clone()), |found| parse(reader, found.expose_secret()));
        if let Err(why) = &address {
            let rule = match why {
                Some(why) => format!("must be the address of a database: {why}"),
                None => "must be the address of a database".to_owned(),
            };
            let remedy = "write \"sqlite\", \"sqlite:PATH\" (a file, without options) or \
                          \"postgres://USER:PASSWORD@HOST/NAME\", in which `%40` stands for `@` and so on";
            reader.fault("database.url", &Rule::new(rule, remedy));
        }
        Self {
            address: address.unwrap_or(builtin),
            connections: reader.number("database.connections", 1..=200),
            busy_timeout: reader.duration("database.busy_timeout", Duration::from_secs(1)..=Duration::from_secs(600)),
        }
    }
}

/// Without the address, `Err` may say why.
fn parse(reader: &Reader, text: &str) -> Result<DatabaseAddress, Option<String>> {
    let text = text.trim();
    if text == "sqlite" {
        return Ok(DatabaseAddress::Sqlite(reader.under_root(SQLITE_FILE)));
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        // Jobs have to survive a restart, so a database in memory (`:memory:`) is none.
        let is_file = !path.is_empty() && !path.contains('?') && !path.starts_with(':') && !path.ends_with('/');
        return if is_file { Ok(DatabaseAddress::Sqlite(reader.under_root(path))) } else { Err(None) };
    }
    let server = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")).ok_or(None)?;
    if server.is_empty() || server.contains(char::is_whitespace) {
        return Err(None);
    }
    match fault_of_server(text) {
        Some(why) => Err(Some(why)),
        None => Ok(DatabaseAddress::Postgres(text.into())),
    }
}

/// The ways to encrypt, as libpq has them.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// What the driver would refuse in the address of a server.
fn fault_of_server(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(error.to_string()),
    };
    url.query_pairs().find_map(|(name, value)| match name.as_ref() {
        "port" if value.parse::<u16>().is_err() => Some("`port` is no port".to_owned()),
        "hostaddr" if value.parse::<IpAddr>().is_err() => Some("`hostaddr` is no address".to_owned()),
        "sslmode" | "ssl-mode" if !SSL_MODES.contains(&value.to_ascii_lowercase().as_str()) => {
            Some(format!("`{name}` must be one of {}", SSL_MODES.join(", ")))
        }
        _ => None,
    })
}
