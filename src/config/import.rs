//! `[import]`

use std::time::Duration;

use super::reader::{Reader, Rule};
use crate::model::throttle::Throttle;
use crate::model::window::Window;
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
    /// How long a transaction may take; those after one that took longer are smaller.
    pub chunk_time: Duration,
    /// Pause between two chunks.
    pub chunk_pause: Duration,
    /// Records that all jobs together write in a second; 0 for as many as they can.
    pub records_per_second: u32,
    /// When imports may write; none for always.
    pub window: Option<Window>,
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
            chunk_time: reader.duration("import.chunk_time", Duration::from_millis(10)..=Duration::from_secs(3600)),
            chunk_pause: reader.duration("import.chunk_pause", Duration::ZERO..=Duration::from_secs(3600)),
            records_per_second: reader.number("import.records_per_second", 0..=1_000_000),
            window: read_window(reader),
            on_error: reader.choice("import.on_error", &ON_ERROR),
            on_existing: reader.choice("import.on_existing", &ON_EXISTING),
            with_handlers: reader.switch("import.with_handlers"),
        }
    }

    /// The bounds that may change while a job runs.
    pub fn throttle(&self) -> Throttle {
        Throttle {
            chunk_records: self.chunk_records,
            chunk_bytes: usize::try_from(self.chunk_bytes).unwrap_or(usize::MAX),
            chunk_time: self.chunk_time,
            chunk_pause: self.chunk_pause,
            records_per_second: (self.records_per_second > 0).then_some(self.records_per_second),
            window: self.window,
        }
    }
}

fn read_window(reader: &mut Reader) -> Option<Window> {
    let key = "import.window";
    let text = reader.optional_text(key)?;
    match Window::parse(&text) {
        Ok(window) => Some(window),
        Err(error) => {
            let remedy = "write begin, end and zone, as in \"22:00-06:00 Europe/Berlin\"";
            reader.fault(key, &Rule::new(format!("must be a part of the day: {error}"), remedy));
            None
        }
    }
}
