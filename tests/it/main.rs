//! One binary with every integration test.
#![expect(clippy::disallowed_methods, reason = "tests stand outside: they write files and start programs")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod architecture;
mod bad_input;
mod cli;
mod commands;
mod daemon;
mod dirt;
mod example_archive;
mod fixtures;
mod handlers;
mod hostile;
mod inbox;
mod mail;
mod queue;
mod real_archives;
mod reliability;
mod round_trip;
mod service;
mod store;
mod store_jobs;
mod support;
mod systemd;
mod updates;
