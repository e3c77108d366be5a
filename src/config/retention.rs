//! `[retention]`

use super::reader::Reader;

/// How long things are kept; `None` is for ever, or without limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSection {
    /// Days that result folders are kept.
    pub results_days: Option<u32>,
    /// Days that archives in `done` are kept.
    pub done_days: Option<u32>,
    /// Days that archives in `rejected` are kept.
    pub rejected_days: Option<u32>,
    /// Bytes that result folders may take together.
    pub results_bytes: Option<u64>,
    /// Bytes that `done` may take.
    pub done_bytes: Option<u64>,
    /// Bytes that `rejected` may take.
    pub rejected_bytes: Option<u64>,
    /// Days that mails are kept.
    pub mail_days: Option<u32>,
    /// Days that finished jobs are kept.
    pub jobs_days: Option<u32>,
}

impl RetentionSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            results_days: days(reader, "retention.results_days"),
            done_days: days(reader, "retention.done_days"),
            rejected_days: days(reader, "retention.rejected_days"),
            results_bytes: bytes(reader, "retention.results_bytes"),
            done_bytes: bytes(reader, "retention.done_bytes"),
            rejected_bytes: bytes(reader, "retention.rejected_bytes"),
            mail_days: days(reader, "retention.mail_days"),
            jobs_days: days(reader, "retention.jobs_days"),
        }
    }
}

fn days(reader: &mut Reader, key: &str) -> Option<u32> {
    Some(reader.number(key, 0..=36_500)).filter(|days| *days > 0)
}

fn bytes(reader: &mut Reader, key: &str) -> Option<u64> {
    Some(reader.size(key, 0..=1 << 60)).filter(|bytes| *bytes > 0)
}
