//! What every command is handed.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::fs::MetadataExt;

use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::{DatabaseAddress, Settings};
use crate::db::{Database, DatabaseOptions};
use crate::store::events;
use crate::store::jobs::{self, Filter};

use super::access;
use super::exit::Failure;
use super::show::{self, Screen};

/// What every command is handed.
#[derive(Debug)]
pub(crate) struct Context {
    /// The configuration in force.
    pub(crate) settings: Settings,
    /// The time.
    pub(crate) clock: Clock,
    /// What the output is written to.
    pub(crate) screen: Screen,
    /// Whether a person is there to answer a question.
    pub(crate) asking: Asking,
    /// How much is said.
    pub(crate) loudness: Loudness,
}

/// Whether a person can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Questions and answers go over a terminal.
    Possible,
    /// Nobody is there.
    Impossible,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// What was asked for, how it goes on, and remarks.
    Normal,
    /// What was asked for, and what went wrong.
    Quiet,
}

impl Context {
    /// The one of this process.
    pub(super) fn of_process(settings: Settings, loudness: Loudness) -> Self {
        let is_answered = io::stdin().is_terminal() && io::stderr().is_terminal();
        let asking = if is_answered { Asking::Possible } else { Asking::Impossible };
        Self { settings, clock: Clock::system(), screen: Screen::of_stdout(), asking, loudness }
    }

    /// Makes sure that a daemon can read and move what this command puts into the work folder.
    ///
    /// # Errors
    /// Where that folder belongs to another user.
    pub(super) fn may_add_work(&self) -> Result<(), Failure> {
        let work = &self.settings.folders().work;
        let me = rustix::process::geteuid().as_raw();
        // One that is not there yet is made by this user.
        let owner = fs::metadata(work).map_or(me, |metadata| metadata.uid());
        if owner == me {
            return Ok(());
        }
        let user = access::user_name(owner);
        Err(Failure::could_not_run(format!(
            "`{}` belongs to the user `{user}`, who could not read what this one puts there; run it as that user: \
             `sudo -u {user} eventferry …`",
            show::path(work)
        )))
    }

    /// The name of the account that was asked for; where none was, that of the default account.
    ///
    /// # Errors
    /// Where there is no such account.
    pub(super) fn account_named(&self, name: Option<&str>) -> Result<String, Failure> {
        let Some(name) = name else { return Ok(self.settings.inbox.default_account.clone()) };
        match self.settings.account(name) {
            Some(account) => Ok(account.name.clone()),
            None => Err(no_account(name)),
        }
    }

    /// Makes sure that the account whose things are to be listed is one of the configuration, or has left something.
    ///
    /// # Errors
    /// Where there is no such account, or the database is out of reach.
    pub(super) async fn may_list(&self, account: Option<&str>, database: &Database) -> Result<(), Failure> {
        let Some(name) = account.filter(|name| self.settings.account(name).is_none()) else { return Ok(()) };
        let filter = Filter { account: Some(name.to_owned()), states: Vec::new(), limit: 1 };
        if jobs::list(database, &filter).await?.is_empty() && events::list(database, account, 0, 1).await?.is_empty() {
            return Err(no_account(name));
        }
        Ok(())
    }

    /// Whether there is a database: a SQLite file is made by the first run or import.
    ///
    /// # Errors
    /// Where neither could make it, or it cannot be told.
    pub(super) fn has_database(&self) -> Result<bool, Failure> {
        let DatabaseAddress::Sqlite(file) = &self.settings.database.address else { return Ok(true) };
        let error = match fs::metadata(file) {
            Ok(metadata) if metadata.is_file() => return Ok(true),
            // The root is made with the database.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let root = &self.settings.folders().root;
                if file.parent().is_some_and(|folder| folder == root || folder.is_dir()) {
                    return Ok(false);
                }
                error.to_string()
            }
            Err(error) => error.to_string(),
            Ok(_) => "it is no file".to_owned(),
        };
        let why = access::obstacle_to_database(file).unwrap_or_else(|| format!("`{}`: {error}", show::path(file)));
        Err(Failure::could_not_run(format!("could not open the database: {why}")))
    }

    /// Opens the database for a command that looks at what is there or changes it: no SQLite file is made.
    ///
    /// # Errors
    /// Where there is no SQLite file, or the database cannot be opened.
    pub(super) async fn open_database(&self) -> Result<Database, Failure> {
        let section = &self.settings.database;
        let exists = self.has_database()?;
        if let DatabaseAddress::Sqlite(file) = &section.address
            && !exists
        {
            return Err(Failure::could_not_run(format!(
                "there is no database at `{}` yet; `eventferry run` or `eventferry import FILE` makes it, `--root DIR` \
                 says where it is",
                file.display()
            )));
        }
        let options = DatabaseOptions {
            url: section.address.url().expose_secret().to_owned(),
            connections: section.connections,
            busy_timeout: section.busy_timeout,
        };
        Ok(Database::open(&options).await?)
    }
}

fn no_account(name: &str) -> Failure {
    Failure::could_not_run(format!("there is no account `{}`; `eventferry accounts list` shows them", show::safe(name)))
}
