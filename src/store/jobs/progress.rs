//! How far a job is, in words.

use crate::clock::Timestamp;
use crate::model::words::capital;

/// The line that people see while a job runs: `Importing sessions (240/371)`. The stage is a phrase in lower case as it
/// is stored; without a known total it stands alone.
pub fn progress_text(stage: &str, done: u64, total: u64) -> String {
    let phrase = capital(stage);
    if total == 0 { phrase } else { format!("{phrase} ({done}/{total})") }
}

/// The line that people see while a job waits: `waiting for handler `tickets` since 14:02, 1,940 undelivered`. The time
/// is UTC.
pub fn waiting_text(waits_for: &str, since: Timestamp, detail: Option<&str>) -> String {
    let detail = detail.map_or_else(String::new, |detail| format!(", {detail}"));
    format!("waiting for {waits_for} since {}{detail}", since.format("%H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_a_phrase_with_counts() {
        assert_eq!(progress_text("importing sessions", 240, 371), "Importing sessions (240/371)");
        assert_eq!(progress_text("checking", 0, 0), "Checking");
        assert_eq!(progress_text("Checking", 0, 0), "Checking");
        assert_eq!(progress_text("", 0, 0), "");
    }
}
