//! What can go wrong with a database, sorted by what is to be done about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbErrorKind {
    /// Nothing answers, or the connection broke: passes by itself.
    Unreachable,
    /// Somebody holds a lock for too long: passes by itself.
    Locked,
    /// The disk is full or fails: passes when somebody makes room.
    Disk,
    /// Two transactions got into each other's way: the same again will pass.
    Conflict,
    /// A row breaks a rule of the tables.
    Constraint,
    /// Another file lies where the SQLite file was: the process must end.
    Replaced,
    /// A newer eventferry has written the database.
    Newer,
    /// The address, the server or the tables are not what this program works with.
    Unusable,
}

impl DbErrorKind {
    /// Whether the same again may pass.
    pub fn passes(self) -> bool {
        match self {
            Self::Unreachable | Self::Locked | Self::Disk | Self::Conflict => true,
            Self::Constraint | Self::Replaced | Self::Newer | Self::Unusable => false,
        }
    }
}

/// A database that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub struct DbError {
    kind: DbErrorKind,
    step: &'static str,
    place: Option<String>,
    file: Option<PathBuf>,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl DbError {
    pub(crate) fn new(step: &'static str, source: sqlx::Error) -> Self {
        Self { kind: kind_of(&source), step, place: None, file: None, source: source.into() }
    }

    pub(crate) fn unusable(step: &'static str, why: impl Into<String>) -> Self {
        Self { kind: DbErrorKind::Unusable, step, place: None, file: None, source: why.into().into() }
    }

    pub(crate) fn disk(step: &'static str, source: std::io::Error) -> Self {
        Self { kind: DbErrorKind::Disk, step, place: None, file: None, source: source.into() }
    }

    pub(crate) fn replaced(step: &'static str, why: &'static str) -> Self {
        Self { kind: DbErrorKind::Replaced, step, place: None, file: None, source: why.into() }
    }

    pub(crate) fn newer(why: String) -> Self {
        Self { kind: DbErrorKind::Newer, step: "use the database", place: None, file: None, source: why.into() }
    }

    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// Of a SQLite file, which is the place where nothing else is.
    pub(super) fn in_file(mut self, file: &Path) -> Self {
        self.place.get_or_insert_with(|| file.display().to_string());
        self.file = Some(file.to_owned());
        self
    }

    /// The SQLite file that could not be opened or brought up to date.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether SQLite refused to write on a connection that it could open for reading only.
    pub(super) fn is_read_only(&self) -> bool {
        let error = self.source.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
        let code = error.and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
        self.kind == DbErrorKind::Disk && code.is_some_and(|code| code & 0xff == 8)
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> DbErrorKind {
        self.kind
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.step)?;
        if let Some(place) = &self.place {
            write!(f, " (`{place}`)")?;
        }
        write!(f, ": {}", self.source)
    }
}

fn kind_of(error: &sqlx::Error) -> DbErrorKind {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        // The connection is in a state that it should not be in; another one is not.
        | sqlx::Error::InvalidSavePointStatement
        | sqlx::Error::Protocol(_) => DbErrorKind::Unreachable,
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                kind_of_postgres(&code)
            } else {
                kind_of_sqlite(&code)
            }
        }
        _ => DbErrorKind::Unusable,
    }
}

/// By SQLSTATE class, see the appendix "PostgreSQL Error Codes".
fn kind_of_postgres(code: &str) -> DbErrorKind {
    match code {
        // The last one: somebody has cancelled the statement.
        "40001" | "40P01" | "57014" => DbErrorKind::Conflict,
        "53100" => DbErrorKind::Disk,
        "55P03" => DbErrorKind::Locked,
        _ if code.starts_with("58") => DbErrorKind::Disk,
        _ if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => DbErrorKind::Unreachable,
        // A replica that has not been promoted yet refuses writes; a session that was idle for too long is ended.
        "25006" | "25P03" => DbErrorKind::Unreachable,
        // A server that is being moved or mended: the database is closed or not there yet, the log-in or a right is
        // refused. Whoever mends it should not find failed jobs.
        "55000" | "3D000" | "42501" => DbErrorKind::Unreachable,
        _ if code.starts_with("28") => DbErrorKind::Unreachable,
        _ if code.starts_with("23") => DbErrorKind::Constraint,
        _ => DbErrorKind::Unusable,
    }
}

/// By primary result code, see "Result and Error Codes"; the extended code carries it in its low byte.
fn kind_of_sqlite(code: &str) -> DbErrorKind {
    match code.parse::<u32>().unwrap_or(0) & 0xff {
        // The last one: the write-ahead log could not be locked.
        5 | 6 | 15 => DbErrorKind::Locked,
        // Rolled back by what another statement did.
        4 => DbErrorKind::Conflict,
        // Out of memory, interrupted.
        7 | 9 => DbErrorKind::Unreachable,
        8 | 10 | 13 | 14 => DbErrorKind::Disk,
        19 => DbErrorKind::Constraint,
        _ => DbErrorKind::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_fault_of_the_rows_passes_on_postgresql() {
        for (code, kind) in [
            ("08006", DbErrorKind::Unreachable),
            ("57P01", DbErrorKind::Unreachable),
            ("57P03", DbErrorKind::Unreachable),
            ("53300", DbErrorKind::Unreachable),
            ("55000", DbErrorKind::Unreachable),
            ("3D000", DbErrorKind::Unreachable),
            ("28P01", DbErrorKind::Unreachable),
            ("42501", DbErrorKind::Unreachable),
            ("25006", DbErrorKind::Unreachable),
            ("40001", DbErrorKind::Conflict),
            ("40P01", DbErrorKind::Conflict),
            ("57014", DbErrorKind::Conflict),
            ("55P03", DbErrorKind::Locked),
            ("53100", DbErrorKind::Disk),
            ("58030", DbErrorKind::Disk),
            ("58P01", DbErrorKind::Disk),
        ] {
            assert_eq!(kind_of_postgres(code), kind, "{code}");
            assert!(kind.passes(), "{code}");
        }
        for code in ["23505", "22021", "42601", "42P01", "XX002"] {
            assert!(!kind_of_postgres(code).passes(), "{code}");
        }
    }

    #[test]
    fn what_is_not_the_fault_of_the_rows_passes_on_sqlite() {
        for (code, kind) in [
            ("5", DbErrorKind::Locked),
            ("261", DbErrorKind::Locked),
            ("15", DbErrorKind::Locked),
            ("4", DbErrorKind::Conflict),
            ("7", DbErrorKind::Unreachable),
            ("9", DbErrorKind::Unreachable),
            // Out of memory while reading or writing.
            ("3082", DbErrorKind::Disk),
            ("10", DbErrorKind::Disk),
            ("1034", DbErrorKind::Disk),
            ("13", DbErrorKind::Disk),
            ("14", DbErrorKind::Disk),
            ("1032", DbErrorKind::Disk),
        ] {
            assert_eq!(kind_of_sqlite(code), kind, "{code}");
            assert!(kind.passes(), "{code}");
        }
        for code in ["1", "11", "26", "2067"] {
            assert!(!kind_of_sqlite(code).passes(), "{code}");
        }
    }
}
