//! How far a job is, in words.

/// The line that people see while a job runs: `Importing sessions (240/371)`. The stage is a phrase in lower case as it
/// is stored; without a known total it stands alone.
pub fn progress_text(stage: &str, done: u64, total: u64) -> String {
    let mut letters = stage.chars();
    let phrase: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if total == 0 { phrase } else { format!("{phrase} ({done}/{total})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_a_phrase_with_counts() {
        assert_eq!(progress_text("importing sessions", 240, 371), "Importing sessions (240/371)");
        assert_eq!(progress_text("checking", 0, 0), "Checking");
        assert_eq!(progress_text("", 0, 0), "");
    }
}
