//! Plain text in 80 columns: wrapped paragraphs and tables.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a page.
pub(super) const COLUMNS: usize = 80;

/// Lines of at most [`COLUMNS`] columns, the first after `first`, the others after as many blanks. Breaks at blanks, and
/// inside a word that is longer than a line.
pub(super) fn wrap(first: &str, text: &str) -> String {
    let indent = first.width();
    let room = COLUMNS.saturating_sub(indent).max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            if line.width() + 1 + word.width() <= room {
                line.push(' ');
            } else {
                lines.push(std::mem::take(&mut line));
            }
        }
        for character in word.chars() {
            if line.width() + character.width().unwrap_or(0) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    let mut page = String::new();
    for (index, line) in lines.iter().enumerate() {
        let begin = if index == 0 { first.to_owned() } else { " ".repeat(indent) };
        page.push_str(format!("{begin}{line}").trim_end());
        page.push('\n');
    }
    page
}

/// At most so many columns of a text, with a `…` at the end where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if short.width() + character.width().unwrap_or(0) + 1 > columns {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

/// A heading with a line under it and an empty line above.
pub(super) fn heading(text: &str) -> String {
    format!("\n{text}\n{}\n", "-".repeat(text.width()))
}

/// Rows in columns: the first to the left, the others to the right. Columns stand apart by two blanks, by one where the
/// page is too narrow for two.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
    let wide = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
    let gap = if wide <= COLUMNS { "  " } else { " " };
    let mut page = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let blanks = " ".repeat(widths[column] - cell.width());
            if column == 0 {
                line.push_str(&format!("{cell}{blanks}"));
            } else {
                line.push_str(&format!("{gap}{blanks}{cell}"));
            }
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page
}

pub(super) use crate::model::words::{counted_grouped as counted, grouped};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_at_blanks_and_hangs_under_its_first_word() {
        let text = "word ".repeat(30);
        let page = wrap("To do  ", text.trim());
        assert_eq!(page.lines().count(), 3);
        assert!(page.lines().all(|line| line.width() <= 80));
        assert!(page.lines().skip(1).all(|line| line.starts_with("       word")));
    }

    #[test]
    fn a_long_word_is_broken_and_wide_letters_count_twice() {
        assert_eq!(wrap("", &"x".repeat(161)).lines().map(str::len).collect::<Vec<_>>(), [80, 80, 1]);
        assert_eq!(wrap("", &"議".repeat(41)).lines().map(|line| line.chars().count()).collect::<Vec<_>>(), [40, 1]);
    }

    #[test]
    fn blanks_inside_a_text_stay() {
        assert_eq!(wrap("", "a  b"), "a  b\n");
    }

    #[test]
    fn a_word_that_starts_a_line_too_long_follows_the_text_before() {
        let page = wrap("", &format!("see {}", "x".repeat(100)));
        assert_eq!(page.lines().map(str::len).collect::<Vec<_>>(), [3, 80, 20]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(counted(1, "record", "records"), "1 record");
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let row = |name: &str, number: &str| vec![name.to_owned(), number.to_owned()];
        assert_eq!(table(&[row("日本", "1"), row("abc", "1,000")]), "日本      1\nabc   1,000\n");
    }
}
