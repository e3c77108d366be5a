//! Everything that is read from and written to the tables: the only place with SQL text.

pub mod jobs;
pub mod mails;
pub mod notifications;
