//! What every command is handed.

use std::io::{self, IsTerminal};

use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::{DatabaseAddress, Settings};
use crate::db::{Database, DatabaseOptions};

use super::exit::Failure;
use super::show::Screen;

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

    /// Opens the database for a command that looks at what is there or changes it: no SQLite file is made.
    ///
    /// # Errors
    /// Where there is no SQLite file, or the database cannot be opened.
    pub(super) async fn open_database(&self) -> Result<Database, Failure> {
        let section = &self.settings.database;
        if let DatabaseAddress::Sqlite(file) = &section.address
            && !file.exists()
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
