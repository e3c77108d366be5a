//! `eventferry accounts`: who may drop archives.

use std::io::Write;

use clap::Subcommand;
use serde::Serialize;

use super::jobs::JobDocument;
use super::show::{Tone, cell, path, time, toned, write_json, write_table};
use super::{Context, Exit, Failure};
use crate::config::{Account, Allow};
use crate::store::jobs::{self, Filter};

/// Accounts: who may drop archives.
#[derive(Debug, Subcommand)]
pub(super) enum AccountsCommand {
    /// List the accounts of the configuration with their folder, address, policies and last job
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// An account as people see it.
#[derive(Serialize)]
struct AccountDocument<'a> {
    name: &'a str,
    display_name: &'a str,
    folder: String,
    /// Whether the folder is there: nobody can drop anything into one that is not.
    folder_exists: bool,
    email: Option<String>,
    on_error: &'static str,
    on_existing: &'static str,
    with_handlers: bool,
    allow: Vec<&'static str>,
    is_default: bool,
    last_job: Option<JobDocument>,
}

/// Runs one of them.
pub(super) async fn run(command: &AccountsCommand, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        AccountsCommand::List { json } => {
            let accounts = gather(context).await?;
            if *json {
                write_json(out, &accounts)?;
            } else {
                write_list(&accounts, context, out)?;
            }
        }
    }
    Ok(Exit::AllIn)
}

async fn gather(context: &Context) -> Result<Vec<AccountDocument<'_>>, Failure> {
    let settings = &context.settings;
    // The accounts are those of the configuration, also before there is a database.
    let database = if context.has_database()? { Some(context.open_database().await?) } else { None };
    let mut accounts = Vec::new();
    for account in settings.accounts() {
        let last_job = match &database {
            None => None,
            Some(database) => {
                let filter = Filter { account: Some(account.name.clone()), states: Vec::new(), limit: 1 };
                jobs::list(database, &filter).await?.first().map(JobDocument::from)
            }
        };
        accounts.push(document(account, context, last_job));
    }
    Ok(accounts)
}

fn document<'a>(account: &'a Account, context: &Context, last_job: Option<JobDocument>) -> AccountDocument<'a> {
    let settings = &context.settings;
    let folder = settings.inbox_of(&account.name);
    AccountDocument {
        name: &account.name,
        display_name: &account.display_name,
        folder: path(&folder),
        folder_exists: folder.is_dir(),
        email: account.email.as_ref().map(ToString::to_string),
        on_error: account.on_error.as_str(),
        on_existing: account.on_existing.as_str(),
        with_handlers: account.with_handlers,
        allow: account.allow.iter().map(|allow| allow_word(*allow)).collect(),
        is_default: account.name == settings.inbox.default_account,
        last_job,
    }
}

/// The word used in the configuration.
fn allow_word(allow: Allow) -> &'static str {
    match allow {
        Allow::OnError => "on_error",
        Allow::OnExisting => "on_existing",
        Allow::Event => "event",
        Allow::Again => "again",
        Allow::WithHandlers => "with_handlers",
    }
}

fn write_list(accounts: &[AccountDocument<'_>], context: &Context, out: &mut dyn Write) -> Result<(), Failure> {
    let rows = accounts.iter().map(|account| {
        let name = if account.is_default { format!("{} (default)", account.name) } else { account.name.to_owned() };
        let policies = format!(
            "on_error {}, on_existing {}, with_handlers {}",
            account.on_error, account.on_existing, account.with_handlers
        );
        let allow = if account.allow.is_empty() { "nothing".to_owned() } else { account.allow.join(", ") };
        let last = match &account.last_job {
            Some(job) => toned(format!("{} {}", job.state, time(job.created_at)), Tone::of_state(job.state)),
            None => toned("none", Tone::Faint),
        };
        let email = account.email.as_deref().map_or_else(|| toned("no mails", Tone::Faint), cell);
        let folder = if account.folder_exists {
            cell(&account.folder)
        } else {
            toned(format!("{} (missing)", account.folder), Tone::Bad)
        };
        vec![cell(name), cell(account.display_name), folder, email, cell(policies), cell(allow), last]
    });
    let header = ["Account", "Name", "Folder", "Mails to", "Policies", "Archives may set", "Last job"];
    write_table(out, context.screen, &header, rows.collect())?;
    Ok(())
}
