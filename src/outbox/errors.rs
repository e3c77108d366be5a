//! `errors.csv`: the problems for a spreadsheet.

use std::borrow::Cow;
use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};

use crate::format::BYTE_ORDER_MARK;
use crate::format::spreadsheet::looks_like_a_formula;
use crate::model::Problem;

const COLUMNS: [&str; 9] = ["severity", "code", "file", "position", "source_id", "field", "value", "message", "hint"];

/// Writes the problems in the given order as CSV: UTF-8 with a byte order mark, commas, CRLF, a row of column names.
///
/// A text that a spreadsheet would compute gets a `'` in front; control characters other than line ends and tabs become U+FFFD.
///
/// # Errors
/// Those of `out`.
pub fn write_errors(out: &mut impl Write, problems: &[Problem]) -> io::Result<()> {
    out.write_all(BYTE_ORDER_MARK)?;
    let mut table = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    table.write_record(COLUMNS)?;
    for problem in problems {
        let position = problem.position.map(|position| position.to_string());
        table.write_record([
            problem.severity.as_str(),
            problem.code.as_str(),
            &cell(problem.file.as_deref()),
            position.as_deref().unwrap_or_default(),
            &cell(problem.source_id.as_deref()),
            &cell(problem.field.as_deref()),
            &cell(problem.value.as_deref()),
            &cell(Some(&problem.message)),
            &cell(Some(&problem.hint)),
        ])?;
    }
    table.flush()
}

fn cell(text: Option<&str>) -> Cow<'_, str> {
    let text = text.unwrap_or_default();
    let visible = if text.contains(is_invisible) {
        Cow::Owned(text.replace(is_invisible, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    };
    if looks_like_a_formula(&visible) { Cow::Owned(format!("'{visible}")) } else { visible }
}

fn is_invisible(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::model::Code;

    fn table(problems: &[Problem]) -> String {
        let mut bytes = Vec::new();
        write_errors(&mut bytes, problems).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn problem_with(value: &str) -> Problem {
        Problem::new(Code::FieldType, "m", "h").with_value(value)
    }

    #[test]
    fn every_field_of_a_problem_has_its_column() {
        let full = Problem::new(Code::DateInvalid, "no date", "write a date")
            .in_file("sessions")
            .at(7)
            .of_record("4379")
            .in_field("starts_at")
            .with_value("soon");
        let bare = Problem::new(Code::MediaUnreferenced, "unused", "leave it out");
        assert_eq!(
            table(&[full, bare]),
            "\u{feff}severity,code,file,position,source_id,field,value,message,hint\r\n\
             error,DATE_INVALID,sessions,7,4379,starts_at,soon,no date,write a date\r\n\
             warning,MEDIA_UNREFERENCED,,,,,,unused,leave it out\r\n"
        );
    }

    #[test]
    fn no_problems_are_a_table_without_rows() {
        assert_eq!(table(&[]).lines().count(), 1);
    }

    #[test]
    fn nothing_is_computed_by_a_spreadsheet() {
        let cases = [
            ("=1+1", "'=1+1"),
            ("+49 30 1", "'+49 30 1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1+1", "'  =1+1"),
            ("＝1+1", "'＝1+1"),
            ("\u{feff}=1", "'\u{feff}=1"),
            ("1-1", "1-1"),
            ("a@b.example", "a@b.example"),
        ];
        for (given, expected) in cases {
            assert_eq!(cell(Some(given)), expected);
        }
        assert_eq!(cell(Some("\tx")), "'\tx");
        assert_eq!(cell(Some("\rx")), "'\rx");
    }

    #[test]
    fn a_line_end_in_a_value_begins_no_new_row() {
        let text = table(&[problem_with("a\r\nerror,FAKE,\"x\""), problem_with("b\rc")]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let values: Vec<String> = reader.records().map(|row| row.unwrap()[6].to_owned()).collect();
        assert_eq!(values, ["a\r\nerror,FAKE,\"x\"", "b\rc"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_table() {
        assert_eq!(cell(Some("a\0b\u{1b}c")), "a\u{fffd}b\u{fffd}c");
    }
}
