//! `eventferry completions`: what a shell needs to complete commands.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, Failure};

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  eventferry completions bash > /etc/bash_completion.d/eventferry
  eventferry completions zsh > \"${fpath[1]}/_eventferry\"
  eventferry completions fish > ~/.config/fish/completions/eventferry.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub(super) fn print(args: &CompletionsArgs, out: &mut dyn Write) -> Result<Exit, Failure> {
    // The generator cannot report that its output is refused, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "eventferry", &mut script);
    out.write_all(&script)?;
    Ok(Exit::AllIn)
}
