//! The whole daemon: what is dropped becomes an event, a result and a mail, whatever happens in between.

pub(crate) mod archives;
mod bad;
mod exports;
pub(crate) mod faults;
mod handlers;
mod jobs;
mod points;
mod real;
mod results;
mod way;
