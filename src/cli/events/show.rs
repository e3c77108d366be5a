//! `eventferry events show`

use std::io::Write;

use serde::Serialize;

use super::super::jobs::JobDocument;
use super::super::show::{
    Tone, cell, number, short_ids, time, toned, write_facts, write_heading, write_json, write_table,
};
use super::super::{Context, Failure};
use super::list::source;
use super::{EventDocument, ShowArgs, find};
use crate::db::Database;
use crate::model::Dataset;
use crate::store::events;
use crate::store::jobs::{self, Filter};

/// How many jobs of its account are looked through for those of an event.
const JOBS_LOOKED_AT: u64 = 10_000;

/// How many of them are shown.
const JOBS_SHOWN: usize = 5;

/// Everything about one event.
#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    event: EventDocument,
    owners: Vec<String>,
    records: Vec<RecordCount>,
    /// The newest ones.
    jobs: Vec<JobDocument>,
}

#[derive(Serialize)]
struct RecordCount {
    dataset: Dataset,
    records: u64,
    /// Of these, how many the last archive did not have any more.
    gone: u64,
}

/// Shows one event.
pub(super) async fn run(
    args: &ShowArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let everything = gather(args.id, database).await?;
    if args.json {
        return Ok(write_json(out, &everything)?);
    }
    let event = &everything.event;
    let mut facts = vec![
        ("Event", cell(event.id.to_string())),
        ("Name", event.name.as_deref().map_or_else(|| toned("(no name)", Tone::Faint), cell)),
        ("Account", cell(&event.account)),
        ("Owners", cell(everything.owners.join(", "))),
        ("Source", cell(source(event))),
    ];
    if let Some(starts_at) = event.starts_at {
        let zone = event.timezone.as_deref().map(|zone| format!(" ({zone})")).unwrap_or_default();
        facts.push(("Starts", cell(format!("{}{zone}", time(starts_at)))));
    }
    write_facts(out, context.screen, facts)?;
    write_heading(out, "Records")?;
    let row = |count: &RecordCount| vec![cell(count.dataset.as_str()), number(count.records), number(count.gone)];
    write_table(out, context.screen, &["Dataset", "Records", "Gone"], everything.records.iter().map(row).collect())?;
    write_jobs(&everything.jobs, context, out)
}

async fn gather(id: i64, database: &Database) -> Result<Everything, Failure> {
    let row = find(database, id).await?;
    let counts = events::record_counts(database, id).await?;
    let filter = Filter { account: Some(row.account.clone()), states: Vec::new(), limit: JOBS_LOOKED_AT };
    let jobs = jobs::list(database, &filter).await?;
    Ok(Everything {
        event: EventDocument::from(&row),
        owners: events::owners(database, id).await?,
        records: counts.into_iter().map(|(dataset, records, gone)| RecordCount { dataset, records, gone }).collect(),
        jobs: jobs.iter().filter(|job| job.event_id == Some(id)).take(JOBS_SHOWN).map(JobDocument::from).collect(),
    })
}

fn write_jobs(jobs: &[JobDocument], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    if jobs.is_empty() {
        return Ok(());
    }
    write_heading(out, "Newest jobs")?;
    let ids = short_ids(context.screen, &jobs.iter().map(|job| job.id).collect::<Vec<_>>());
    let rows = jobs.iter().zip(ids).map(|(job, id)| {
        let state = toned(job.state.as_str(), Tone::of_state(job.state));
        vec![cell(id), state, cell(&job.archive.name), cell(time(job.created_at))]
    });
    write_table(out, context.screen, &["Job", "State", "Archive", "Dropped"], rows.collect())?;
    Ok(())
}
