//! How much of the machine, and of those who are told, an import may take.

use std::time::Duration;

use super::window::Window;

/// The bounds in force. They may change while a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Records in a chunk, at most.
    pub chunk_records: usize,
    /// Bytes of records in a chunk, about at most.
    pub chunk_bytes: usize,
    /// How long a chunk may take; those after one that took longer are smaller.
    pub chunk_time: Duration,
    /// Pause between two chunks.
    pub chunk_pause: Duration,
    /// Records that all jobs of this daemon together write in a second; none for as many as they can.
    pub records_per_second: Option<u32>,
    /// When imports may write; none for always.
    pub window: Option<Window>,
}

/// Records in a chunk where handlers are called, at most.
pub const CHUNK_RECORDS_WITH_HANDLERS: usize = 1_000;

impl Throttle {
    /// No bound but the size of a chunk.
    pub fn none(chunk_records: usize, chunk_bytes: usize) -> Self {
        Self {
            chunk_records,
            chunk_bytes,
            chunk_time: Duration::MAX,
            chunk_pause: Duration::ZERO,
            records_per_second: None,
            window: None,
        }
    }
}
