//! The `eventferry` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventferry::cli::main()
}
