//! What spreadsheet programs make of a CSV file.

/// Whether a spreadsheet would compute the text. Blanks in front do not help: some programs drop them and compute the rest.
/// East Asian ones compute the wide signs too.
pub fn looks_like_a_formula(text: &str) -> bool {
    text.starts_with(['\t', '\r', '\n'])
        || text
            .trim_start_matches(|character: char| character.is_whitespace() || character == '\u{feff}')
            .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}
