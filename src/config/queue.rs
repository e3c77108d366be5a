//! `[queue]`

use std::time::Duration;

use super::reader::{Reader, Rule};

/// How jobs are claimed, kept alive and tried again.
#[derive(Clone, Debug)]
pub struct QueueSection {
    /// Time between two signs of life of a running job.
    pub heartbeat: Duration,
    /// How long after the last sign of life a job is taken over; more than twice `heartbeat`.
    pub lease: Duration,
    /// Time between two looks for due jobs.
    pub poll: Duration,
    /// Wait before the second try.
    pub retry_first: Duration,
    /// Longest wait between two tries.
    pub retry_max: Duration,
    /// Tries in all.
    pub attempts: u32,
    /// Deaths of the process without progress before a job is quarantined.
    pub strikes: u32,
    /// Bytes of free space below which nothing is claimed.
    pub free_space_floor: u64,
}

impl QueueSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let tenth = Duration::from_millis(100);
        let hour = Duration::from_secs(3600);
        Self {
            heartbeat: reader.duration("queue.heartbeat", tenth..=hour),
            lease: reader.duration("queue.lease", tenth..=hour * 24),
            poll: reader.duration("queue.poll", Duration::from_millis(10)..=hour),
            retry_first: reader.duration("queue.retry_first", Duration::from_millis(1)..=hour),
            retry_max: reader.duration("queue.retry_max", Duration::from_millis(1)..=hour * 24),
            attempts: reader.number("queue.attempts", 1..=100),
            strikes: reader.number("queue.strikes", 1..=100),
            free_space_floor: reader.size("queue.free_space_floor", 0..=1 << 50),
        }
    }

    pub(super) fn check(&self, reader: &mut Reader) {
        reader.require(
            &["queue.lease", "queue.heartbeat"],
            self.lease > self.heartbeat * 2,
            &Rule::new(
                "clashes: `queue.lease` must be more than twice `queue.heartbeat`",
                "make the lease longer or the heartbeat shorter; one late sign of life must not lose a job",
            ),
        );
        reader.require(
            &["queue.retry_max", "queue.retry_first"],
            self.retry_first <= self.retry_max,
            &Rule::new(
                "clashes: `queue.retry_max` must not be shorter than `queue.retry_first`",
                "make `queue.retry_max` longer",
            ),
        );
    }
}
