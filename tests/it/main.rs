//! One binary with every integration test.
#![expect(clippy::disallowed_methods, reason = "tests stand outside: they write files and start programs")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod architecture;
mod daemon;
mod example_archive;
mod inbox;
mod fixtures;
mod mail;
mod real_archives;
mod support;
mod systemd;
