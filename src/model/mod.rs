//! What the daemon talks about: jobs, datasets and their catalogue, records, problems, reports. No I/O.

pub mod catalogue;
pub mod export;
pub mod handler;
pub mod job;
pub mod message;
pub mod policy;
pub mod problem;
pub mod report;
pub mod throttle;
mod trouble;
pub mod window;
pub(crate) mod words;

pub use catalogue::{Dataset, FieldKind};
pub use job::{JobId, JobState};
pub use policy::{OnError, OnExisting};
pub use problem::{Code, Problem, Severity};
pub use report::Report;
pub use trouble::AdminTrouble;
