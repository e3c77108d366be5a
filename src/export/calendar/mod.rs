//! The formats that phones, recording crews, volunteer systems and calendars read: `schedule.xml`, `schedule.json` and
//! `schedule.ics`. Only sessions that take place at a known time are in them.
//!
//! Each is made in two passes over the event: the first learns the days (or the span of time) and notes what is left
//! out, the second writes one session after the other.

pub mod ics;
pub mod json;
pub mod xml;

mod address;
mod days;
mod head;
mod names;
mod rich;
mod shown;
mod survey;
mod text;
mod zone;

#[cfg(test)]
mod tests;
