//! The whole daemon: what is dropped becomes an event, a result and a mail, whatever happens in between.

mod archives;
mod bad;
mod exports;
mod faults;
mod jobs;
mod real;
mod results;
mod way;
