//! How much an archive may ask of us.

use serde::{Deserialize, Serialize};

/// Bounds for one archive. The last four are applied by those who read the entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the zip itself: the disk must hold it while it waits and while it is read.
    pub archive_bytes: u64,
    /// Entries in the zip: what is kept in memory grows with them and with nothing else.
    pub entries: u64,
    /// Inflated bytes of one entry: no file of an event is larger, a bomb is.
    pub entry_bytes: u64,
    /// Inflated bytes of all entries in one pass: many entries below the limit are a bomb too.
    pub total_bytes: u64,
    /// Inflated bytes per compressed byte, once an entry has given more than 1 MiB: text reaches 20, deflate ends at 1032.
    pub ratio: u64,
    /// Bytes of an entry's path: longer ones are made to break something.
    pub path_length: usize,
    /// Levels of nesting in JSON: readers that recurse would run out of stack.
    pub json_depth: usize,
    /// Records, and references between them: the notes about each take up to a few hundred bytes on disk.
    pub records: u64,
    /// Bytes of one record: it is held in memory whole.
    pub record_bytes: usize,
    /// Problems that are kept with their text: an archive in which all is wrong must not fill the database.
    pub problems_kept: usize,
}

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive_bytes: 10 * GIB,
            entries: 20_000,
            entry_bytes: 8 * GIB,
            total_bytes: 16 * GIB,
            ratio: 1000,
            path_length: 1024,
            json_depth: 64,
            records: 20_000_000,
            record_bytes: 4 * 1024 * 1024,
            problems_kept: 10_000,
        }
    }
}
