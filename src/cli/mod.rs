//! The command line: one file per command.
//!
//! A command takes its arguments, a `Context` and a writer, and gives back how it ended; only [`main`] knows the process.

mod access;
mod accounts;
mod check;
mod completions;
mod config;
mod context;
mod daemon;
mod events;
mod exit;
mod export;
mod handlers;
mod import;
mod jobs;
mod logs;
mod mail;
mod progress;
mod report;
mod run;
mod schedule;
mod show;
mod status;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, Settings, Sources, parse_assignment};

pub(crate) use context::{Context, Loudness};
pub(crate) use exit::{Exit, Failure};
use logs::Audience;

const EXAMPLES: &str = "\
Examples:
  eventferry import conference.zip           import one archive, say what became of it
  eventferry --root /srv/ferry run           watch /srv/ferry/inbox until stopped
  eventferry status                          everything at once
  eventferry jobs show 0199a0f2              one job, by the beginning of its id

Exit codes:
  0  all is in; other commands: done
  1  in with errors: some records were left out
  2  rejected: nothing is in; other commands: refused, nothing is changed
  3  could not run: wrong arguments or configuration, no database, no such id

Configuration, the last one wins:
  compiled-in defaults; /etc/eventferry/eventferry.toml or --config FILE;
  variables such as EVENTFERRY__QUEUE__LEASE=60s; --set and --root.
  `eventferry config show` tells what is in force and where it came from.

Times are UTC, as in result files and mails.";

/// Imports dropped event archives into a database and says what became of them.
#[derive(Debug, Parser)]
#[command(name = "eventferry", version, max_term_width = 100, after_long_help = EXAMPLES)]
#[command(
    after_help = "`eventferry --help` has examples and the exit codes, `eventferry COMMAND --help` more on a command."
)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Put every folder and the SQLite file under DIR
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Read this configuration file [default: /etc/eventferry/eventferry.toml where it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, as in `--set queue.lease=60s`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = parse_assignment)]
    set: Vec<(String, String)>,
    /// Log from this level on: error, warn, info, debug, trace; also per module
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Say only what was asked for and what went wrong
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the inbox and work on what is dropped
    Run(run::RunArgs),
    /// Import archives now, by the same way as dropped ones
    Import(import::ImportArgs),
    /// Say what an import would do and every problem, without writing anything
    Check(check::CheckArgs),
    /// Write events into files now, as a schedule does at its times
    Export(export::ExportArgs),
    /// When exports run
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Jobs: one per dropped archive, one per export
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Events that were imported
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Accounts: who may drop archives
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// Event handlers: who is told of what was imported
    #[command(subcommand)]
    Handlers(handlers::HandlersCommand),
    /// Everything at once: daemon, jobs, files that wait, mails, free space
    Status(status::StatusArgs),
    /// The configuration in force
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Mails
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Where not even this can be written, the exit code is all there is.
            let _ = told.print();
            return if told.use_stderr() { Exit::CouldNotRun.into() } else { Exit::AllIn.into() };
        }
    };
    let mut out = anstream::stdout().lock();
    let ended = start(&cli, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    match ended {
        Ok(exit) => exit.into(),
        // The reader has seen enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Exit::AllIn.into(),
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

/// Says on standard error what went wrong.
fn complain(text: &str) {
    let style = show::Tone::Bad.style();
    // Where not even this can be written, the exit code is all there is.
    let _ = writeln!(anstream::stderr(), "{style}eventferry:{style:#} {}", show::safe_lines(text));
}

/// Does what needs no settings, or loads them and goes on.
fn start(cli: &Cli, out: &mut dyn Write) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Completions(args) => return completions::print(args, out),
        Command::Config(config::ConfigCommand::Defaults) => return config::defaults(out),
        _ => {}
    }
    let sources = cli.global.sources();
    let context = Context::of_process(Settings::load(&sources)?, cli.global.loudness());
    logs::start(&context.settings.log, &cli.audience())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::could_not_run(format!("could not start the threads of the runtime: {error}")))?;
    runtime.block_on(dispatch(&cli.command, context, &sources, out))
}

async fn dispatch(
    command: &Command,
    context: Context,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(args, context, sources, out).await,
        Command::Import(args) => import::run(args, context, out).await,
        Command::Check(args) => check::run(args, context, out).await,
        Command::Export(args) => export::run(args, context, out).await,
        Command::Schedule(command) => schedule::run(command, &context, out).await,
        Command::Jobs(command) => jobs::run(command, &context, out).await,
        Command::Events(command) => events::run(command, &context, out).await,
        Command::Accounts(command) => accounts::run(command, &context, out).await,
        Command::Handlers(command) => handlers::run(command, &context, out).await,
        Command::Status(args) => status::run(args, &context, out).await,
        Command::Config(command) => config::run(command, &context, sources, out),
        Command::Mail(command) => mail::run(command, &context, out).await,
        Command::Completions(args) => completions::print(args, out),
    }
}

impl Cli {
    fn audience(&self) -> Audience {
        match (&self.command, &self.global.log_level) {
            (Command::Run(_), _) => Audience::Service(self.global.loudness()),
            (_, Some(level)) => Audience::Person(level.clone()),
            (_, None) if self.global.quiet => Audience::Person("error".to_owned()),
            (_, None) => Audience::Person("warn".to_owned()),
        }
    }
}

impl Global {
    fn sources(&self) -> Sources {
        let (root, set, log_level) = (self.root.clone(), self.set.clone(), self.log_level.clone());
        Sources::of_process(self.config.clone(), Overrides { root, set, log_level })
    }

    fn loudness(&self) -> Loudness {
        if self.quiet { Loudness::Quiet } else { Loudness::Normal }
    }
}
