//! Problem rows of jobs.

use std::sync::LazyLock;

use crate::db::{Arg, BulkTable, Column, ColumnType, Database, DbError, Sql, Tx};
use crate::model::{Code, JobId, Problem, Severity};

static TABLE: LazyLock<BulkTable> = LazyLock::new(|| {
    let text = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Text };
    let int = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int };
    BulkTable::new(
        "problems",
        vec![
            text("job_id"),
            int("number"),
            text("code"),
            text("severity"),
            text("file"),
            int("position"),
            text("source_id"),
            text("field"),
            text("value"),
            text("message"),
            text("hint"),
        ],
    )
});

const LIST: Sql = Sql::same(
    "read the problems of a job",
    "SELECT code, severity, file, position, source_id, field, value, message, hint FROM problems WHERE job_id = $1 \
     ORDER BY number",
);

const DELETE: Sql = Sql::same("delete the problems of a job", "DELETE FROM problems WHERE job_id = $1");

/// Rows that go into one statement at most.
const ROWS_AT_ONCE: usize = 1_000;

/// Every statement, for the test that prepares them.
pub fn statements() -> Vec<Sql> {
    vec![LIST, DELETE]
}

/// Writes problems of a job, numbered from `first`.
///
/// # Errors
/// Where the database is out of reach, or one of the numbers is taken.
pub async fn insert(tx: &mut Tx, job: JobId, first: u64, problems: &[Problem]) -> Result<(), DbError> {
    let mut cells: Vec<Arg> = Vec::with_capacity(problems.len() * TABLE.columns().len());
    for (number, problem) in (first..).zip(problems) {
        cells.extend([
            job.into(),
            i64::try_from(number).unwrap_or(i64::MAX).into(),
            problem.code.as_str().into(),
            problem.severity.as_str().into(),
            storable(problem.file.as_deref()),
            problem.position.and_then(|position| i64::try_from(position).ok()).into(),
            storable(problem.source_id.as_deref()),
            storable(problem.field.as_deref()),
            storable(problem.value.as_deref()),
            storable(Some(&problem.message)),
            storable(Some(&problem.hint)),
        ]);
    }
    tx.insert_rows(&TABLE, cells.into_iter()).await
}

/// Deletes the problems of a job.
///
/// # Errors
/// Where the database is out of reach.
pub async fn delete(tx: &mut Tx, job: JobId) -> Result<(), DbError> {
    tx.execute(&DELETE, &[job.into()]).await.map(drop)
}

/// Puts these problems in the place of those that a job has.
///
/// # Errors
/// Where the database is out of reach.
pub async fn replace(tx: &mut Tx, job: JobId, problems: &[Problem]) -> Result<(), DbError> {
    delete(tx, job).await?;
    let mut first = 1;
    for some in problems.chunks(ROWS_AT_ONCE) {
        insert(tx, job, first, some).await?;
        first += some.len() as u64;
    }
    Ok(())
}

/// PostgreSQL keeps no NUL characters; what is shown to people shows them as a picture.
fn storable(text: Option<&str>) -> Arg {
    Arg::Text(text.map(|text| text.replace('\0', "\u{2400}")))
}

/// The problems of a job, in the order of the archive.
///
/// # Errors
/// Where the database is out of reach.
pub async fn list(database: &Database, job: JobId) -> Result<Vec<Problem>, DbError> {
    let rows = database.fetch_all(&LIST, &[job.into()]).await?;
    let mut problems = Vec::with_capacity(rows.len());
    for row in rows {
        let code: String = row.get(0)?;
        let severity: String = row.get(1)?;
        problems.push(Problem {
            code: Code::parse(&code).unwrap_or(Code::Internal),
            severity: Severity::parse(&severity).unwrap_or(Severity::Error),
            file: row.get(2)?,
            position: row.get::<Option<i64>>(3)?.and_then(|position| u64::try_from(position).ok()),
            source_id: row.get(4)?,
            field: row.get(5)?,
            value: row.get(6)?,
            message: row.get(7)?,
            hint: row.get(8)?,
        });
    }
    Ok(problems)
}
