//! The whole daemon: what is dropped becomes an event, a result and a mail, whatever happens in between.

mod archives;
mod faults;
mod real;
mod way;
