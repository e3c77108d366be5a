//! `eventferry jobs cancel`

use std::io::Write;

use super::super::{Context, Failure, Loudness};
use super::show::named;
use super::{JobArgs, find};
use crate::db::Database;
use crate::model::JobState;
use crate::store::jobs::{self, Cancellation};

/// Asks for a job to be cancelled.
pub(super) async fn run(
    args: &JobArgs,
    context: &Context,
    database: &Database,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let job = find(database, &args.id).await?;
    let name = named(job.id, &job.archive_name);
    match jobs::cancel(database, job.id, context.clock.now()).await? {
        Cancellation::Requested => {
            if context.loudness == Loudness::Normal {
                let when = match job.state {
                    JobState::Running => "after its current chunk",
                    _ => "as soon as a daemon gets to it",
                };
                writeln!(
                    out,
                    "Cancelling {name}: it ends {when}. `eventferry jobs show {}` says when it has.",
                    job.id
                )?;
            }
            Ok(())
        }
        Cancellation::TooLate => {
            Err(Failure::refused(format!("could not cancel {name}: its outcome is settled, it is just ending")))
        }
        Cancellation::Ended(state) => {
            Err(Failure::refused(format!("could not cancel {name}: it has ended as {state}")))
        }
        Cancellation::Unknown => Err(Failure::could_not_run(format!("could not cancel {name}: it is gone"))),
    }
}
