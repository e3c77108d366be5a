//! Exports: an event is read in one state of the tables, rendered format by format, checked, and published.

pub mod program;
