//! `[import]`

use std::time::Duration;

use super::reader::Reader;
use crate::model::{OnError, OnExisting};

/// The words for [`OnError`].
pub(super) const ON_ERROR: [(&str, OnError); 2] = [("skip", OnError::Skip), ("reject", OnError::Reject)];

/// The words for [`OnExisting`].
pub(super) const ON_EXISTING: [(&str, OnExisting); 3] =
    [("update", OnExisting::Update), ("create", OnExisting::Create), ("reject", OnExisting::Reject)];

/// How archives are imported.
#[derive(Clone, Debug)]
pub struct ImportSection {
    /// Jobs at the same time, from 1 to 64.
    pub parallel: usize,
    /// Records per transaction, from 1 to 100,000.
    pub chunk_records: usize,
    /// Bytes of records per transaction.
    pub chunk_bytes: u64,
    /// Pause between two chunks.
    pub chunk_pause: Duration,
    /// What bad records do, unless the account says otherwise.
    pub on_error: OnError,
    /// What happens with an event that is there, unless the account says otherwise.
    pub on_existing: OnExisting,
    /// Whether event handlers are called.
    pub with_handlers: bool,
}

impl ImportSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            parallel: reader.number("import.parallel", 1..=64),
            chunk_records: reader.number("import.chunk_records", 1..=100_000),
            chunk_bytes: reader.size("import.chunk_bytes", 4096..=1 << 30),
            chunk_pause: reader.duration("import.chunk_pause", Duration::ZERO..=Duration::from_secs(3600)),
            on_error: reader.choice("import.on_error", &ON_ERROR),
            on_existing: reader.choice("import.on_existing", &ON_EXISTING),
            with_handlers: reader.switch("import.with_handlers"),
        }
    }
}
