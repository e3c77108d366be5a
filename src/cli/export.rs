//! `eventferry export`: events into files, now.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::import::{exit_of, start, wait_for_end};
use super::progress::Progress;
use super::show::{self, Tone};
use super::{Context, Exit, Failure, Loudness, complain};
use crate::app::App;
use crate::export;
use crate::export::report::{EVENT_STATE_WORDS, EventExport, EventState, ExportReport};
use crate::fsx::{self, AtomicFile};
use crate::lifecycle;
use crate::model::JobId;
use crate::model::export::{BY_HAND, ExportRequest, Format, Keep, MediaSwitches, REQUEST_VERSION};
use crate::model::words::capital;
use crate::signal::Signals;
use crate::store::jobs::{self, NewExport};

/// Exports events now, in the same way as a schedule does: job, files in the outbox, mail.
///
/// Where a daemon works on the same root, it does the work, and this command looks on.
///
/// Exit code: 0 exported (or unchanged), 1 some events were not, 2 none was, 3 could not run, as where there is no such event.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eventferry export 12\n  eventferry export all --format archive --format schedule.html\n  eventferry export fossasia-2018 --format event.xlsx --private --out /tmp/tables"
)]
pub(crate) struct ExportArgs {
    /// The event: its id, identifier or name; `all` for every one of the account
    #[arg(required = true, value_name = "EVENT")]
    pub(crate) events: Vec<String>,
    /// Export the events of this account instead of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Make this format; may be repeated [default: all of them]
    #[arg(long, value_name = "FORMAT", value_parser = format_of, value_delimiter = ',')]
    pub(crate) format: Vec<Format>,
    /// Put these media into the archive: image, video, audio, document, none; may be repeated [default: all of them]
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) media: Vec<String>,
    /// Put personal data in: e-mail addresses, telephone numbers, addresses, comments
    #[arg(long)]
    pub(crate) private: bool,
    /// Tell event handlers that it has ended, or not [default: as the account says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) with_handlers: Option<bool>,
    /// Copy the files into this folder as well, in one folder per event
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn format_of(word: &str) -> Result<Format, String> {
    Format::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Format::WORDS.iter().map(|(word, _)| *word).collect();
        format!("is none of {}", words.join(", "))
    })
}

/// Runs that are kept of an event that is exported by hand.
const KEEP: Keep = Keep { runs: 30, days: 0 };

/// Exports the events in one job.
pub(super) async fn run(args: &ExportArgs, context: Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let request = request_of(args)?;
    let (screen, loudness) = (context.screen, context.loudness);
    let account = context.account_named(args.account.as_deref())?;
    let app = tokio::select! {
        app = App::open(context.settings, context.clock, Signals::default()) => app?,
        () = stop.cancelled() => {
            complain("stopped before the database was open; nothing is exported");
            return Ok(Exit::CouldNotRun);
        }
    };
    let mut snapshot = app.services.database.begin_snapshot().await?;
    let (events, missing) = export::look_up(&mut snapshot, &account, &request).await?;
    snapshot.rollback().await?;
    if let Some(missing) = missing.filter(|_| events.is_empty()) {
        return Err(Failure::could_not_run(show::safe(&missing)));
    }
    let progress = Arc::new(Progress::new(screen, args.json || loudness == Loudness::Quiet));
    let (daemon, _lock) = start(&app, &progress)?.unzip();
    let job = insert(&app, &account, args, &request).await?;
    if let Some(daemon) = &daemon {
        daemon.queue().wake();
    }
    progress.follow(job, &format!("Exporting {}", show::safe(&args.events.join(", "))));
    let ended = wait_for_end(&app, job, &progress, &stop).await?;
    progress.clear();
    let exit = match ended {
        None => {
            writeln!(out, "Stopped. Job {job} goes on with the next `eventferry run` or `eventferry export`.")?;
            Exit::CouldNotRun
        }
        Some(view) => {
            let report = read_report(&app, job).await?;
            let copied = args.out.as_deref().map(|folder| copy_out(&app, &report, folder).map(|()| folder)).transpose();
            if args.json {
                show::write_json(out, &report)?;
            } else {
                write_report(out, &app, &report, copied.as_ref().ok().copied().flatten())?;
            }
            match copied {
                Ok(_) => exit_of(view.state),
                Err(failure) => {
                    out.flush()?;
                    complain(&failure.to_string());
                    failure.exit()
                }
            }
        }
    };
    out.flush()?;
    if let Some(daemon) = daemon {
        tokio::select! {
            () = daemon.deliver_messages() => {}
            () = stop.cancelled() => {}
        }
        daemon.deliver_last_mails().await?;
        daemon.stop().await;
    }
    Ok(exit)
}

fn request_of(args: &ExportArgs) -> Result<ExportRequest, Failure> {
    let words = || args.media.iter().map(String::as_str).filter(|word| *word != "none");
    let media = if args.media.is_empty() { Some(MediaSwitches::ALL) } else { MediaSwitches::of_words(words()) };
    let media = media.ok_or_else(|| {
        let unknown = words().find(|word| MediaSwitches::of_words([*word]).is_none()).unwrap_or_default();
        Failure::could_not_run(format!(
            "`{}` is no kind of media; there are `image`, `video`, `audio`, `document` and `none`",
            show::safe(unknown)
        ))
    })?;
    let mut formats = if args.format.is_empty() { Format::ALL.to_vec() } else { args.format.clone() };
    formats.sort_unstable();
    formats.dedup();
    Ok(ExportRequest {
        version: REQUEST_VERSION,
        scope: BY_HAND.to_owned(),
        events: args.events.clone(),
        state: None,
        formats,
        media,
        private: args.private,
        keep: KEEP,
        due_at: None,
        with_handlers: args.with_handlers,
    })
}

async fn insert(app: &App, account: &str, args: &ExportArgs, request: &ExportRequest) -> Result<JobId, Failure> {
    let clock = &app.services.clock;
    let export = NewExport {
        id: JobId(clock.new_id()),
        account: account.to_owned(),
        name: format!("export of {}", args.events.join(", ")),
        // A request can always be written as JSON.
        request: serde_json::to_string(request).unwrap_or_default(),
        created_at: clock.now(),
        run_at: clock.now(),
    };
    let mut tx = app.services.database.begin().await?;
    jobs::insert_export(&mut tx, &export).await?;
    tx.commit().await?;
    Ok(export.id)
}

async fn read_report(app: &App, job: JobId) -> Result<ExportReport, Failure> {
    let outcome = jobs::outcome(&app.services.database, job).await?.unwrap_or_default();
    serde_json::from_str(&outcome)
        .map_err(|error| Failure::could_not_run(format!("could not read the outcome of job {job}: {error}")))
}

/// Copies the newest good files of each event, each whole or not at all.
fn copy_out(app: &App, report: &ExportReport, into: &Path) -> Result<(), Failure> {
    let failed = |run: &Path, path: &Path, error: io::Error| {
        Failure::could_not_run(format!(
            "the export itself went well and lies in `{}`, but it could not be copied to `{}`: {error}; take it from \
             there, or make that folder writable and export again",
            show::path(run),
            show::path(path)
        ))
    };
    let outbox = &app.settings.folders().outbox;
    for event in &report.events {
        let is_good = matches!(event.state, EventState::Published | EventState::Unchanged);
        let Some(run) = event.folder.as_ref().filter(|_| is_good).map(|folder| outbox.join(folder)) else { continue };
        let name = run.parent().and_then(Path::file_name).unwrap_or_default().to_owned();
        let folder = into.join(name);
        let files = event.formats.iter().flat_map(|format| &format.files).map(|file| file.path.as_str());
        for name in files.chain([export::SUMS, export::MANIFEST]) {
            let to = folder.join(name);
            copy(&run.join(name), &to).map_err(|error| failed(&run, &to, error))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fsx::create_folders(folder)?;
    }
    let mut file = AtomicFile::create(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.commit()
}

fn write_report(out: &mut dyn Write, app: &App, report: &ExportReport, copied: Option<&Path>) -> Result<(), Failure> {
    let style = Tone::of_state(report.state).style();
    writeln!(out, "\n{style}{}{style:#}: {}", capital(report.state.as_str()), show::safe(&report.summary))?;
    for event in &report.events {
        write_event(out, app, event)?;
    }
    if let Some(folder) = copied {
        writeln!(out, "\nCopied into {}", show::path(folder))?;
    }
    writeln!(out, "\nJob {}", report.job)?;
    Ok(())
}

fn write_event(out: &mut dyn Write, app: &App, event: &EventExport) -> Result<(), Failure> {
    let state = EVENT_STATE_WORDS[event.state as usize];
    writeln!(out, "\nEvent {} ({state}): {}", event.event.id, show::safe(&event.event.name))?;
    if let Some(error) = &event.error {
        writeln!(out, "  {}", show::safe(error))?;
    }
    for format in &event.formats {
        let bytes: u64 = format.files.iter().map(|file| file.bytes).sum();
        let files = if format.files.len() == 1 { String::new() } else { format!(", {} files", format.files.len()) };
        writeln!(out, "  {:<14} {}{files}; {}", format.format.as_str(), show::size(bytes), format.checked)?;
    }
    if let Some(changes) = &event.changes {
        writeln!(
            out,
            "  since {}: {} added, {} moved, {} removed, {} changed otherwise",
            show::time(changes.since),
            changes.added,
            changes.moved,
            changes.removed,
            changes.changed
        )?;
    }
    for (code, noted) in event.notes.iter() {
        writeln!(out, "  {}: {}", code.words(), noted.count)?;
    }
    if let Some(folder) = &event.folder {
        writeln!(out, "  {}", show::path(&app.settings.folders().outbox.join(folder)))?;
    }
    Ok(())
}
