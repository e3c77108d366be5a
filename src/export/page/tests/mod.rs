#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod browser;
mod event;
mod in_chromium;
mod page;
mod sanitise;
mod template;
