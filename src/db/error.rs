//! What can go wrong with a database, sorted by what is to be done about it.

use std::fmt;

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
            Self::Constraint | Self::Newer | Self::Unusable => false,
        }
    }
}

/// A database that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub struct DbError {
    kind: DbErrorKind,
    step: &'static str,
    place: Option<String>,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl DbError {
    pub(crate) fn new(step: &'static str, source: sqlx::Error) -> Self {
        Self { kind: kind_of(&source), step, place: None, source: source.into() }
    }

    pub(crate) fn unusable(step: &'static str, why: impl Into<String>) -> Self {
        Self { kind: DbErrorKind::Unusable, step, place: None, source: why.into().into() }
    }

    pub(crate) fn disk(step: &'static str, source: std::io::Error) -> Self {
        Self { kind: DbErrorKind::Disk, step, place: None, source: source.into() }
    }

    pub(crate) fn newer(why: String) -> Self {
        Self { kind: DbErrorKind::Newer, step: "use the database", place: None, source: why.into() }
    }

    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
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
        "40001" | "40P01" => DbErrorKind::Conflict,
        "53100" | "58030" => DbErrorKind::Disk,
        "55P03" => DbErrorKind::Locked,
        _ if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => DbErrorKind::Unreachable,
        // A replica that has not been promoted yet refuses writes.
        "25006" => DbErrorKind::Unreachable,
        _ if code.starts_with("23") => DbErrorKind::Constraint,
        _ => DbErrorKind::Unusable,
    }
}

/// By primary result code, see "Result and Error Codes"; the extended code carries it in its low byte.
fn kind_of_sqlite(code: &str) -> DbErrorKind {
    match code.parse::<u32>().unwrap_or(0) & 0xff {
        5 | 6 => DbErrorKind::Locked,
        8 | 10 | 13 | 14 => DbErrorKind::Disk,
        19 => DbErrorKind::Constraint,
        _ => DbErrorKind::Unusable,
    }
}
