//! Everything that is read from and written to the tables: the only place with SQL text.

pub mod arrivals;
pub mod events;
pub mod exports;
pub mod jobs;
pub mod mails;
pub mod media;
pub mod notifications;
pub mod problems;
pub mod programme;
pub mod records;
pub mod schedules;
