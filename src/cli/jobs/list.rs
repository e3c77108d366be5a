//! `eventferry jobs list`

use std::io::Write;

use super::super::daemon;
use super::super::show::{Tone, cell, short_ids, time, toned, write_json, write_table};
use super::super::{Context, Failure, Loudness};
use super::{JobDocument, ListArgs, describe};
use crate::db::Database;
use crate::store::jobs::{self, Filter};

/// Lists jobs, the newest first.
pub(super) async fn run(
    args: &ListArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    context.may_list(args.account.as_deref(), database).await?;
    // One more than is shown tells whether there are more.
    let filter = Filter { account: args.account.clone(), states: args.state.clone(), limit: args.limit + 1 };
    let mut found: Vec<JobDocument> = jobs::list(database, &filter).await?.iter().map(JobDocument::from).collect();
    let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let has_more = found.len() > shown;
    found.truncate(shown);
    if args.json {
        return Ok(write_json(out, &found)?);
    }
    write_list(&found, context, out)?;
    if has_more && context.loudness == Loudness::Normal {
        let style = Tone::Faint.style();
        writeln!(out, "{style}There are more; `--limit {}` shows them.{style:#}", args.limit.saturating_mul(10))?;
    }
    Ok(())
}

/// Writes a table of jobs, or that there is none.
pub(super) fn write_list(found: &[JobDocument], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if found.is_empty() {
        if context.loudness == Loudness::Normal {
            writeln!(out, "No jobs.")?;
        }
        return Ok(());
    }
    let (now, daemon) = (context.clock.now(), daemon::look(&context.settings));
    let ids = short_ids(context.screen, &found.iter().map(|job| job.id).collect::<Vec<_>>());
    let rows = found.iter().zip(ids).map(|(job, id)| {
        vec![
            cell(id),
            toned(job.state.as_str(), Tone::of_state(job.state)),
            cell(&job.account),
            cell(&job.archive.name),
            cell(time(job.created_at)),
            cell(describe(job, now, &daemon)),
        ]
    });
    write_table(out, context.screen, &["Job", "State", "Account", "Archive", "Dropped", ""], rows.collect())?;
    Ok(())
}
