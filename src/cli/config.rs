//! `eventferry config`: what is in force, and what is wrong with it.

use std::io::Write;

use clap::Subcommand;
use serde::Serialize;

use super::show::{Tone, cell, safe, toned, write_json, write_table};
use super::{Context, Exit, Failure, Loudness};
use crate::config::{DEFAULTS, Settings, Sources};
use crate::mail::Templates;

/// The configuration in force.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say everything that is wrong with the configuration and the mail templates
    ///
    /// All faults at once, each with key, rule, value, where it was set, and what to do. Exit code 3 where there is any.
    Check,
    /// Print every setting with its value and where it came from; secrets are masked
    Show {
        /// Only keys that begin with this, such as `queue`
        #[arg(value_name = "KEY")]
        key: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the commented defaults, a good start for a file of your own
    Defaults,
}

/// Runs one of them.
pub(super) fn run(
    command: &ConfigCommand,
    context: &Context,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(context, sources, out),
        ConfigCommand::Show { key, json: false } => show(key.as_deref(), context, out),
        ConfigCommand::Show { key, json: true } => show_json(key.as_deref(), context, out),
        ConfigCommand::Defaults => defaults(out),
    }
}

/// Prints the commented defaults.
pub(super) fn defaults(out: &mut dyn Write) -> Result<Exit, Failure> {
    out.write_all(DEFAULTS.as_bytes())?;
    Ok(Exit::AllIn)
}

/// The mail templates of the configuration, or the built-in ones where their folder is not there.
///
/// # Errors
/// Every fault of every template.
pub(super) fn load_templates(settings: &Settings) -> Result<Templates, Failure> {
    let folder = &settings.folders().templates;
    Templates::load(folder.exists().then_some(folder.as_path()))
        .map_err(|fault| Failure::could_not_run(fault.to_string()))
}

/// The settings were loaded before, so only the templates can still be at fault.
fn check(context: &Context, sources: &Sources, out: &mut dyn Write) -> Result<Exit, Failure> {
    load_templates(&context.settings)?;
    if context.loudness == Loudness::Normal {
        let read = match &sources.file {
            Some(file) => format!("read from `{}`", safe(&file.display().to_string())),
            None => "no file, so all from defaults, environment and flags".to_owned(),
        };
        writeln!(out, "The configuration has no fault ({read}).")?;
    }
    Ok(Exit::AllIn)
}

fn show(key: Option<&str>, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for setting in &chosen(key, &context.settings)? {
        let value = match setting.value {
            Some("") => toned("\"\"", Tone::Faint),
            Some(value) => cell(value),
            None => toned("(not set)", Tone::Faint),
        };
        let tone = if setting.origin == "default" { Tone::Faint } else { Tone::Busy };
        rows.push(vec![cell(setting.key), value, toned(setting.origin, tone)]);
    }
    write_table(out, context.screen, &["Key", "Value", "From"], rows)?;
    Ok(Exit::AllIn)
}

fn show_json(key: Option<&str>, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    write_json(out, &chosen(key, &context.settings)?)?;
    Ok(Exit::AllIn)
}

#[derive(Serialize)]
struct Setting<'a> {
    key: &'a str,
    value: Option<&'a str>,
    origin: &'a str,
}

fn chosen<'a>(key: Option<&str>, settings: &'a Settings) -> Result<Vec<Setting<'a>>, Failure> {
    let wanted = key.unwrap_or("");
    let chosen: Vec<_> = settings
        .explain()
        .iter()
        .filter(|setting| setting.key.starts_with(wanted))
        .map(|setting| Setting { key: &setting.key, value: setting.value.as_deref(), origin: &setting.origin })
        .collect();
    if chosen.is_empty() {
        return Err(Failure::could_not_run(format!(
            "no key begins with `{}`; `eventferry config show` prints all",
            safe(wanted)
        )));
    }
    Ok(chosen)
}
