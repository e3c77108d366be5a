//! `eventferry check`: a dry run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::import::exit_of;
use super::report::{errors_first, write_counts, write_problem};
use super::show::Screen;
use super::{Context, Exit, Failure, show};
use crate::app;
use crate::db::{Database, DatabaseOptions};
use crate::fsx;
use crate::import::{self, Import, Plan, PlanError};
use crate::model::words::capital;
use crate::model::{JobId, Severity};
use crate::pace::Turns;
use crate::signal::Signals;
use crate::store::jobs::{Lease, OwnerId};
use crate::work;

/// Reads an archive to its last byte and prints what an import would do: per dataset to create, to update, unchanged,
/// rejected and gone, and every problem. Nothing is written.
///
/// Exit code: 0 all would be in, 1 with errors, 2 it would be rejected, 3 could not run.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check for this account instead of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Print the plan and the problems as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the plan for one file.
pub(super) async fn run(args: &CheckArgs, context: Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let name = context.account_named(args.account.as_deref())?;
    let screen = context.screen;
    let scratch = Scratch::new(&std::env::temp_dir(), context.clock.new_id())?;
    let database = open_database(&context, &scratch.0).await?;
    let clock = context.clock.clone();
    let archive_name = args.file.file_name().map(fsx::display_name).unwrap_or_default();
    let job = Import {
        lease: Lease { job: JobId(clock.new_id()), owner: OwnerId(clock.new_id()), epoch: 0 },
        account: work::account_of(&context.settings, &name),
        archive: args.file.clone(),
        folder: scratch.0.clone(),
        archive_name,
        started: clock.now(),
        again: false,
        checkpoint: None,
        cancel_requested: false,
        retry_of: None,
        with_handlers: None,
        was_held: false,
    };
    let services = app::services_of(&context.settings, database, clock, Signals::default());
    let turn = Turns::new(1).take(&name).await;
    let plan = import::plan(&services, &job, turn, Arc::new(|_| {})).await;
    services.database.close().await;
    let plan = plan?;
    if args.json {
        show::write_json(out, &plan)?;
    } else {
        write_plan(out, screen, &plan)?;
    }
    Ok(exit_of(plan.state))
}

/// The configured database; where its file is not there yet, an empty one that goes with the scratch folder.
async fn open_database(context: &Context, scratch: &Path) -> Result<Database, Failure> {
    if !context.has_database()? {
        let url = format!("sqlite:{}", scratch.join("empty.db").display());
        let busy_timeout = context.settings.database.busy_timeout;
        return Ok(Database::open(&DatabaseOptions { url, connections: 1, busy_timeout }).await?);
    }
    context.open_database().await
}

fn write_plan(out: &mut dyn Write, screen: Screen, plan: &Plan) -> Result<(), Failure> {
    let style = show::Tone::of_state(plan.state).style();
    let word = match exit_of(plan.state) {
        Exit::AllIn => "fine",
        Exit::WithErrors => "with errors",
        Exit::Rejected | Exit::CouldNotRun => "rejected",
    };
    writeln!(out, "{style}{}{style:#}: {}", capital(word), show::safe(&plan.summary))?;
    match &plan.event {
        Some(event) => writeln!(out, "It would go into event {} ({}).", event.id, show::safe(&event.name))?,
        None if exit_of(plan.state) < Exit::Rejected => writeln!(out, "It would make a new event.")?,
        None => {}
    }
    writeln!(out)?;
    write_counts(out, plan.datasets.iter())?;
    let count = |severity: Severity| {
        plan.problem_counts.iter().filter(|(code, _)| code.severity() == severity).map(|(_, count)| count).sum::<u64>()
    };
    let errors = show::counted(count(Severity::Error), "error", "errors");
    let warnings = show::counted(count(Severity::Warning), "warning", "warnings");
    writeln!(out, "\nProblems: {errors}, {warnings}")?;
    for problem in errors_first(&plan.problems) {
        write_problem(out, screen, problem)?;
    }
    Ok(())
}

/// A folder that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path, id: uuid::Uuid) -> Result<Self, Failure> {
        let path = parent.join(format!("eventferry-check-{id}"));
        std::fs::create_dir(&path)
            .map_err(|error| Failure::could_not_run(format!("could not make `{}`: {error}", show::path(&path))))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing in it is needed; the system clears its folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::could_not_run(error.to_string())
    }
}
