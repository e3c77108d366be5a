//! Brings the tables up to date.

use std::borrow::Cow;
use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::{Arg, Backend, Database, DbError, Pools, Sql};

struct Step {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Released steps are never edited: the database remembers their checksums.
const STEPS: &[Step] = &[
    Step {
        number: 1,
        name: "main job",
        sqlite: include_str!("migrations/0001_main_job.sqlite.sql"),
        postgres: include_str!("migrations/0001_main_job.postgres.sql"),
    },
    Step {
        number: 2,
        name: "exports",
        sqlite: include_str!("migrations/0002_exports.sqlite.sql"),
        postgres: include_str!("migrations/0002_exports.postgres.sql"),
    },
    Step {
        number: 3,
        name: "handlers",
        sqlite: include_str!("migrations/0003_handlers.sqlite.sql"),
        postgres: include_str!("migrations/0003_handlers.postgres.sql"),
    },
];

const APPLIED: Sql = Sql::same("read the migrations", "SELECT coalesce(max(version), 0) FROM _sqlx_migrations");

const HAS_TABLE: Sql = Sql::per(
    "look for the migrations",
    "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
    "SELECT count(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()",
);

const IS_USED: Sql = Sql::same(
    "look whether the database holds anything",
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM jobs) OR EXISTS (SELECT 1 FROM events) THEN 1 ELSE 0 END",
);

pub(super) async fn run(database: &Database) -> Result<(), DbError> {
    let mut applied = applied(database).await?;
    loop {
        let Err(error) = bring_up_to_date(database, applied).await else { return Ok(()) };
        // SQLite has no lock for it: another process that starts at the same time may have been faster.
        let now = self::applied(database).await?;
        if now <= applied {
            return Err(error);
        }
        applied = now;
    }
}

async fn bring_up_to_date(database: &Database, applied: i64) -> Result<(), DbError> {
    let newest = STEPS.last().map_or(0, |step| step.number);
    if applied > newest {
        return Err(DbError::newer(format!(
            "its tables are of version {applied}, this program knows versions up to {newest}; install the newer eventferry again"
        )));
    }
    if applied == newest {
        return Ok(());
    }
    // A first start that was cut short has left tables without a row.
    if applied > 0
        && let Some(file) = database.file()
        && first(database.fetch_all(&IS_USED, &[]).await?)? > 0
    {
        copy_aside(database, file, applied).await?;
    }
    let migrator = Migrator { migrations: Cow::Owned(migrations(database.backend())), ..Migrator::DEFAULT };
    match &database.pools {
        Pools::Sqlite { writer, .. } => migrator.run(writer).await,
        Pools::Postgres(pool) => migrator.run(pool).await,
    }
    .map_err(|error| DbError::new("bring the tables up to date", sqlx::Error::Migrate(Box::new(error))))
}

async fn applied(database: &Database) -> Result<i64, DbError> {
    let mut tx = database.begin().await?;
    let tables: i64 = first(tx.fetch_all(&HAS_TABLE, &[]).await?)?;
    if tables == 0 {
        return Ok(0);
    }
    first(tx.fetch_all(&APPLIED, &[]).await?)
}

fn first(rows: Vec<super::Row>) -> Result<i64, DbError> {
    rows.into_iter().next().map_or(Ok(0), |row| row.get(0))
}

/// A crash in between leaves a copy that is not whole; the next start makes it anew, as the tables are still old.
async fn copy_aside(database: &Database, file: &Path, applied: i64) -> Result<(), DbError> {
    let copy = format!("{}.before-version-{}", file.display(), applied + 1);
    if Path::new(&copy).exists() {
        std::fs::remove_file(&copy)
            .map_err(|error| DbError::new("remove an old copy of the database", error.into()).at(&copy))?;
    }
    let Pools::Sqlite { writer, .. } = &database.pools else { return Ok(()) };
    let vacuum = Sql::same("copy the database aside", "VACUUM INTO $1");
    super::sql::execute_sqlite(writer, &vacuum, &[Arg::from(copy)]).await.map(drop)
}

fn migrations(backend: Backend) -> Vec<Migration> {
    let migration = |step: &Step| {
        let text = match backend {
            Backend::Sqlite => step.sqlite,
            Backend::Postgres => step.postgres,
        };
        Migration::new(
            step.number,
            Cow::Borrowed(step.name),
            MigrationType::Simple,
            AssertSqlSafe(text.to_owned()).into_sql_str(),
            false,
        )
    };
    STEPS.iter().map(migration).collect()
}
