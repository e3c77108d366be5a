//! `eventferry events delete`

use std::io::{self, BufRead, Write};

use super::super::context::Asking;
use super::super::show::{counted, safe};
use super::super::{Context, Failure, Loudness};
use super::{DeleteArgs, find};
use crate::config::HandlerEntry;
use crate::db::Database;
use crate::model::handler::Change;
use crate::model::{Dataset, JobId, JobState};
use crate::store::events;
use crate::store::jobs::{self, Filter};

/// States of jobs that have not ended.
const UNFINISHED: [JobState; 4] = [JobState::Queued, JobState::Running, JobState::Blocked, JobState::Paused];

/// Deletes an event with everything that hangs on it.
pub(super) async fn run(
    args: &DeleteArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let event = find(database, args.id).await?;
    let records = records_of(database, event.id).await?;
    let name = format!(
        "event {} (`{}`, account `{}`)",
        event.id,
        safe(event.name.as_deref().unwrap_or("no name")),
        event.account
    );
    let held = format!("{name} with {}", counted(records, "record", "records"));
    let untold = untold(&context.settings.handlers, &event.account);
    refuse_while_imported(database, event.id, &name).await?;
    if !args.yes {
        let answer = match context.asking {
            Asking::Impossible => Answer::Nobody,
            Asking::Possible => ask(&format!("Delete {held} for good?{untold}"), &mut io::stdin().lock())?,
        };
        match answer {
            Answer::Yes => {}
            Answer::No => return Err(Failure::refused("nothing was deleted")),
            Answer::Nobody => {
                return Err(Failure::could_not_run(format!(
                    "nobody can be asked whether to delete {held}; add `--yes` to delete it"
                )));
            }
        }
    }
    delete(database, event.id, &name, context).await?;
    if context.loudness == Loudness::Normal {
        writeln!(out, "Deleted {held}.{untold}")?;
    }
    Ok(())
}

/// Says, where handlers are told when records of the account are gone, that they hear nothing of a deletion.
fn untold(handlers: &[HandlerEntry], account: &str) -> String {
    let hears = |entry: &&HandlerEntry| {
        Dataset::ALL.iter().any(|dataset| entry.interest.wants_record(account, *dataset, Change::Gone))
    };
    let names: Vec<String> =
        handlers.iter().filter(hears).map(|entry| format!("`{}`", entry.interest.handler)).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" The handler {one} is not told of it."),
        several => format!(" The handlers {} are not told of it.", several.join(", ")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Nobody,
}

/// The question goes to stderr, so that it is seen where the output goes to a file.
fn ask(question: &str, answers: &mut dyn BufRead) -> Result<Answer, Failure> {
    write!(anstream::stderr(), "{question} [y/N] ")?;
    read_answer(answers)
}

fn read_answer(answers: &mut dyn BufRead) -> Result<Answer, Failure> {
    let mut line = String::new();
    let length = answers
        .read_line(&mut line)
        .map_err(|error| Failure::could_not_run(format!("could not read the answer: {error}")))?;
    Ok(match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        _ if length == 0 => Answer::Nobody,
        _ => Answer::No,
    })
}

async fn delete(database: &Database, event: i64, name: &str, context: &Context) -> Result<(), Failure> {
    let rows = i64::try_from(context.settings.import.chunk_records).unwrap_or(i64::MAX);
    loop {
        // An import may have been given the event since the last chunk.
        refuse_while_imported(database, event, name).await?;
        let mut tx = database.begin().await?;
        let has_more = events::delete_some(&mut tx, event, rows).await?;
        tx.commit().await?;
        if !has_more {
            return Ok(());
        }
    }
}

async fn refuse_while_imported(database: &Database, event: i64, name: &str) -> Result<(), Failure> {
    match unfinished_job_of(database, event).await? {
        None => Ok(()),
        Some(job) => Err(Failure::refused(format!(
            "could not delete {name}: job {job} imports into it; wait for its end or cancel it, then give the same \
             command again"
        ))),
    }
}

async fn unfinished_job_of(database: &Database, event: i64) -> Result<Option<JobId>, Failure> {
    let filter = Filter { account: None, states: UNFINISHED.to_vec(), limit: u64::from(u32::MAX) };
    Ok(jobs::list(database, &filter).await?.iter().find(|job| job.event_id == Some(event)).map(|job| job.id))
}

async fn records_of(database: &Database, event: i64) -> Result<u64, Failure> {
    Ok(events::record_counts(database, event).await?.iter().map(|(_, records, _)| records).sum())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn only_a_clear_yes_deletes() {
        let cases = [
            ("y\n", Answer::Yes),
            ("YES\n", Answer::Yes),
            ("\n", Answer::No),
            ("no\n", Answer::No),
            ("yesterday\n", Answer::No),
            ("", Answer::Nobody),
        ];
        for (typed, expected) in cases {
            assert_eq!(read_answer(&mut typed.as_bytes()).unwrap(), expected, "{typed:?}");
        }
    }
}
