//! `[limits]`

use super::reader::Reader;

/// Any size that makes sense.
const TEBIBYTES: u64 = 1 << 50;

/// What one archive may contain; nothing that it says of itself is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsSection {
    /// Bytes of the dropped file.
    pub archive_bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of one entry, unpacked.
    pub entry_bytes: u64,
    /// Bytes of all entries, unpacked.
    pub total_bytes: u64,
    /// How many times larger than packed an entry may become.
    pub ratio: u64,
    /// Bytes in the path of an entry.
    pub path_length: usize,
    /// Nesting of lists and objects, from 1 to 120: the JSON parser itself stops at 128.
    pub json_depth: usize,
    /// Records, and references between them.
    pub records: u64,
    /// Bytes of one record.
    pub record_bytes: usize,
    /// Problems that are kept one by one per job; those above are only counted.
    pub problems_kept: usize,
}

impl LimitsSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            archive_bytes: reader.size("limits.archive_bytes", 1024..=TEBIBYTES),
            entries: reader.number("limits.entries", 1..=10_000_000),
            entry_bytes: reader.size("limits.entry_bytes", 1024..=TEBIBYTES),
            total_bytes: reader.size("limits.total_bytes", 1024..=TEBIBYTES),
            ratio: reader.number("limits.ratio", 2..=1_000_000),
            path_length: reader.number("limits.path_length", 16..=65_535),
            json_depth: reader.number("limits.json_depth", 1..=120),
            records: reader.number("limits.records", 1..=10_000_000_000),
            record_bytes: usize::try_from(reader.size("limits.record_bytes", 1024..=1 << 30)).unwrap_or(usize::MAX),
            problems_kept: reader.number("limits.problems_kept", 1..=10_000_000),
        }
    }
}
