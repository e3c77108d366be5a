//! The `eventferry` command.
fn main() {}
