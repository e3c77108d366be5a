//! Programs beside a test that say in one line that they are at work.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Starts a program that listens to its standard input, and gives it with the first line that it prints.
pub(crate) fn start_and_hear(command: &mut Command) -> (Child, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}
