//! How a command ends, for the person and for the exit code.

use std::io;
use std::process::ExitCode;

use super::access;
use crate::config::Faults;
use crate::db::{DbError, DbErrorKind};

/// How a command ended; the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// 0: all is in, or what was asked for is done.
    AllIn,
    /// 1: in, with errors.
    WithErrors,
    /// 2: nothing is in, or a command was refused and has changed nothing.
    Rejected,
    /// 3: nothing was even tried.
    CouldNotRun,
}

impl Exit {
    /// The code that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::AllIn => 0,
            Self::WithErrors => 1,
            Self::Rejected => 2,
            Self::CouldNotRun => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command did not do what it was asked, in words for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration has faults.
    #[error(transparent)]
    Configuration(#[from] Faults),
    /// The database did not do it.
    #[error("{0}{hint}", hint = hint_for(.0))]
    Database(DbError),
    /// The output cannot be written.
    #[error("could not write the output: {0}")]
    Output(#[from] io::Error),
    /// What was asked for must not be done now; nothing is changed.
    #[error("{0}")]
    Refused(String),
    /// What was asked for cannot be tried.
    #[error("{0}")]
    CouldNotRun(String),
}

impl Failure {
    /// A refusal, with what to do.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// Something is missing, with what to do.
    pub(crate) fn could_not_run(why: impl Into<String>) -> Self {
        Self::CouldNotRun(why.into())
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Rejected,
            Self::Configuration(_) | Self::Database(_) | Self::Output(_) | Self::CouldNotRun(_) => Exit::CouldNotRun,
        }
    }
}

/// Whoever typed the command can change what it was refused, which the daemon takes for trouble that passes.
impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let is_refused = error.kind() == DbErrorKind::Disk;
        match error.file().filter(|_| is_refused).and_then(access::obstacle_to_database) {
            Some(obstacle) => Self::CouldNotRun(format!("could not open the database: {obstacle}")),
            None => Self::Database(error),
        }
    }
}

fn hint_for(error: &DbError) -> &'static str {
    if error.kind().passes() {
        "; this passes by itself, or when the database or its disk is mended: try again"
    } else {
        "; `eventferry config show` says which database is used"
    }
}
