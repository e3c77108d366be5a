//! Everything that is read from and written to the tables: the only place with SQL text.

pub mod arrivals;
pub mod deliveries;
pub mod events;
pub mod exports;
pub mod handlers;
pub mod jobs;
pub mod mails;
pub mod media;
pub mod notifications;
pub mod problems;
pub mod programme;
pub mod records;
pub mod remembered;
pub mod schedules;
