//! How things look on a terminal and in a pipe: tables, times, sizes, and text from outside that must do no harm.

use std::io::{self, Write};
use std::path::Path;

use chrono::TimeDelta;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::fsx;
use crate::model::{JobId, JobState};

/// Blanks between two columns of a table.
const GAP: usize = 2;

/// What the output is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns of the terminal; none for a file or a pipe, where lines are as long as they are.
    pub(crate) columns: Option<u16>,
}

impl Screen {
    /// The one of this process.
    pub(super) fn of_stdout() -> Self {
        let table = Table::new();
        Self { columns: table.is_tty().then(|| table.width()).flatten() }
    }
}

/// What a cell means; colours follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing special.
    Plain,
    /// A label.
    Label,
    /// As it should be.
    Good,
    /// Something is going on.
    Busy,
    /// Somebody should look.
    Doubtful,
    /// Something is wrong.
    Bad,
    /// Of little interest.
    Faint,
}

impl Tone {
    /// For text outside of tables: `{style}text{style:#}`.
    pub(super) fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Label => Style::new().bold(),
            Self::Good => colour(AnsiColor::Green),
            Self::Busy => colour(AnsiColor::Cyan),
            Self::Doubtful => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red).bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    /// Of a job's state.
    pub(super) fn of_state(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Plain,
            JobState::Running => Self::Busy,
            JobState::Blocked | JobState::Paused | JobState::Partial => Self::Doubtful,
            JobState::Succeeded => Self::Good,
            JobState::Failed => Self::Bad,
            JobState::Cancelled | JobState::Duplicate => Self::Faint,
        }
    }
}

/// A cell of a table. Whatever is in it stays on its line and moves no cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    is_number: bool,
}

/// A cell with text from anywhere.
pub(super) fn cell(text: impl AsRef<str>) -> Cell {
    toned(text, Tone::Plain)
}

/// A cell with text from anywhere, in the colour of what it means.
pub(super) fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
    Cell { text: safe(text.as_ref()), tone, is_number: false }
}

/// A cell with a number, set to the right.
pub(super) fn number(number: u64) -> Cell {
    Cell { text: grouped(number), tone: Tone::Plain, is_number: true }
}

/// Writes a table with a header; in a pipe no line is cut or wrapped. On a terminal cells are wrapped to fit, and where
/// that would leave slivers each row becomes a block of its own.
pub(super) fn write_table(
    out: &mut dyn Write,
    screen: Screen,
    header: &[&str],
    rows: Vec<Vec<Cell>>,
) -> io::Result<()> {
    if screen.columns.is_some_and(|columns| usize::from(columns) < narrowest(header, &rows)) {
        return write_blocks(out, screen, header, rows);
    }
    let titles: Vec<_> =
        header.iter().map(|title| comfy_table::Cell::new(title).add_attribute(Attribute::Bold)).collect();
    let mut table = Table::new();
    table.set_header(titles);
    write_rows(out, screen, table, rows)
}

fn write_blocks(out: &mut dyn Write, screen: Screen, header: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
    for (index, row) in rows.into_iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let told = header.iter().copied().zip(row).filter(|(_, cell)| !cell.text.is_empty());
        let facts = told.map(|(name, cell)| (name, Cell { is_number: false, ..cell })).collect();
        write_facts(out, screen, facts)?;
    }
    Ok(())
}

/// Columns in which a table can still be read.
fn narrowest(header: &[&str], rows: &[Vec<Cell>]) -> usize {
    /// Columns that a longer cell needs at least.
    const WORD: usize = 12;
    let needed = |cell: &Cell| cell.text.width().min(WORD).max(unbreakable(&cell.text));
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(needed).max();
    let columns = header.iter().enumerate();
    columns.map(|(column, title)| GAP + widest(column).unwrap_or(0).max(title.width())).sum()
}

/// Columns of the longest word that is an id, perhaps with a bracket or a stop: nobody can copy one that is broken. Paths
/// that end in an id are longer than a column can be, and are broken like any text.
fn unbreakable(text: &str) -> usize {
    let is_id = |word: &&str| {
        let bare = word.trim_matches(|character: char| character.is_ascii_punctuation());
        bare.len() == Uuid::nil().hyphenated().to_string().len() && Uuid::try_parse(bare).is_ok()
    };
    text.split(' ').filter(is_id).map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// Writes names and what they stand for, one pair a line.
pub(super) fn write_facts(out: &mut dyn Write, screen: Screen, facts: Vec<(&str, Cell)>) -> io::Result<()> {
    let rows = facts.into_iter().map(|(name, value)| vec![toned(name, Tone::Label), value]).collect();
    write_rows(out, screen, Table::new(), rows)
}

/// Writes a text behind what stands on the line already, which is `begun` columns. On a terminal it is wrapped between
/// words, and further lines begin with `indent` blanks; a word that is longer than a line stays whole.
pub(super) fn write_wrapped(
    out: &mut dyn Write,
    screen: Screen,
    begun: usize,
    indent: usize,
    text: &str,
) -> io::Result<()> {
    let columns = screen.columns.map_or(usize::MAX, usize::from);
    let mut column = begun;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && column.saturating_add(1 + word.width()) > columns {
            write!(out, "\n{:indent$}", "")?;
            column = indent;
        } else if index > 0 {
            write!(out, " ")?;
            column += 1;
        }
        write!(out, "{word}")?;
        column += word.width();
    }
    writeln!(out)
}

/// Writes a heading with an empty line above.
pub(super) fn write_heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let style = Tone::Label.style();
    writeln!(out, "\n{style}{text}{style:#}")
}

/// Writes a value as JSON that people can read as well.
pub(super) fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn write_rows(out: &mut dyn Write, screen: Screen, mut table: Table, rows: Vec<Vec<Cell>>) -> io::Result<()> {
    // Colours are always written; the stream takes them out where it is no terminal.
    table.load_style(NOTHING).force_no_tty().enforce_styling().style_text_only();
    match screen.columns {
        Some(columns) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    let mut least: Vec<usize> = Vec::new();
    for row in rows {
        least.resize(least.len().max(row.len()), 0);
        for (least, cell) in least.iter_mut().zip(&row) {
            *least = unbreakable(&cell.text).max(*least);
        }
        table.add_row(row.into_iter().map(Cell::into_comfy));
    }
    for (column, least) in table.column_iter_mut().zip(least) {
        column.set_padding((0, u16::try_from(GAP).unwrap_or(0)));
        if screen.columns.is_some() && least > 0 {
            let columns = u16::try_from(least + GAP).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(columns)));
        }
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

impl Cell {
    /// What is in it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn into_comfy(self) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(self.text);
        let cell = if self.is_number { cell.set_alignment(CellAlignment::Right) } else { cell };
        match self.tone {
            Tone::Plain => cell,
            Tone::Label => cell.add_attribute(Attribute::Bold),
            Tone::Good => cell.fg(Color::DarkGreen),
            Tone::Busy => cell.fg(Color::DarkCyan),
            Tone::Doubtful => cell.fg(Color::DarkYellow),
            Tone::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// Text from anywhere, on one line, with control characters made visible.
pub(super) fn safe(text: &str) -> String {
    fsx::display_bytes(text.as_bytes())
}

/// As [`safe`], line ends stay.
pub(super) fn safe_lines(text: &str) -> String {
    text.split('\n').map(safe).collect::<Vec<_>>().join("\n")
}

/// A path for people.
pub(super) fn path(path: &Path) -> String {
    fsx::display_name(path)
}

/// A point in time, in UTC as in result files and mails: `2026-11-22 05:27:30Z`.
pub(super) fn time(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A point in time with its distance from now: `2026-11-22 05:27:30Z (4 min ago)`.
pub(super) fn time_and_age(time_then: Timestamp, now: Timestamp) -> String {
    let age = now - time_then;
    if age < TimeDelta::zero() {
        format!("{} (in {})", time(time_then), lasting(-age))
    } else {
        format!("{} ({} ago)", time(time_then), lasting(age))
    }
}

/// A length of time in its largest unit: `40 s`, `4 min`, `3 h`, `12 days`.
pub(super) fn lasting(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Bytes in the largest unit that fits: `512 B`, `1.5 KiB`, `12.0 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, rounded down: what is free is never shown as more.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

pub(super) use crate::model::words::{counted_grouped as counted, grouped};

/// The shortest beginnings that tell these ids apart, whole ids in a pipe. All commands take such a beginning.
pub(super) fn short_ids(screen: Screen, ids: &[JobId]) -> Vec<String> {
    /// The milliseconds of an id and what follows them.
    const SHORTEST: usize = 13;
    let whole: Vec<String> = ids.iter().map(JobId::to_string).collect();
    if screen.columns.is_none() {
        return whole;
    }
    let mut sorted: Vec<&str> = whole.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let in_common = |(one, other): (&str, &str)| one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let longest = sorted.iter().copied().zip(sorted.iter().skip(1).copied()).map(in_common).max().unwrap_or(0);
    let length = (longest + 1).max(SHORTEST);
    whole.iter().map(|id| id.chars().take(length).collect()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use chrono::DateTime;

    use super::*;

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, count| vec![toned(name, Tone::Bad), number(count), cell("some more words")];
        vec![row("conference.zip", 1_234), row("a", 5)]
    }

    #[test]
    fn in_a_pipe_a_table_is_plain_lines_without_trailing_blanks() {
        let page = written(|out| write_table(out, Screen { columns: None }, &["Name", "Count", "Words"], rows()));
        assert_eq!(
            page,
            "Name            Count  Words\n\
             conference.zip  1,234  some more words\n\
             a                   5  some more words\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_cells_are_wrapped_and_no_line_is_longer() {
        let screen = Screen { columns: Some(38) };
        let page = written(|out| write_table(out, screen, &["Name", "Count", "Words"], rows()));
        assert!(page.lines().all(|line| line.chars().count() <= 38), "{page}");
        assert!(page.starts_with("Name ") && page.lines().count() > 3, "{page}");
    }

    #[test]
    fn on_a_terminal_too_narrow_for_columns_each_row_is_a_block() {
        let screen = Screen { columns: Some(30) };
        let page = written(|out| write_table(out, screen, &["Name", "Count", "Words"], rows()));
        assert_eq!(
            page,
            "Name   conference.zip\n\
             Count  1,234\n\
             Words  some more words\n\
             \n\
             Name   a\n\
             Count  5\n\
             Words  some more words\n"
        );
    }

    #[test]
    fn an_id_is_never_broken() {
        let id = "0199a0f2-7c3e-7bd1-8a44-0c5d2e1f9a10";
        let row = || vec![cell(id), cell("many words that take all the room there is"), cell(format!("as job {id}."))];
        for columns in [60, 80, 90, 100, 130] {
            let screen = Screen { columns: Some(columns) };
            let page = written(|out| write_table(out, screen, &["Message", "Words", "Why"], vec![row(), row()]));
            assert_eq!(page.matches(id).count(), 4, "{columns}:\n{page}");
            assert!(page.lines().all(|line| line.width() <= usize::from(columns)), "{columns}:\n{page}");
        }
    }

    #[test]
    fn text_from_outside_moves_no_cursor_and_makes_no_line() {
        let rows = vec![vec![cell("a\u{1b}[2Jb\nc\u{202e}d"), cell("x")]];
        let page = written(|out| write_table(out, Screen { columns: None }, &["A", "B"], rows));
        assert_eq!(page.lines().last(), Some("a\\x1b[2Jb\\nc\\u{202e}d  x"));
        assert_eq!(safe_lines("a\nb\u{7}"), "a\nb\\x07");
    }

    #[test]
    fn times_are_utc_and_say_how_long_ago_they_are() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        assert_eq!(time(now), "2026-09-21 14:13:20Z");
        assert_eq!(time_and_age(now - TimeDelta::minutes(4), now), "2026-09-21 14:09:20Z (4 min ago)");
        assert_eq!(time_and_age(now + TimeDelta::seconds(5), now), "2026-09-21 14:13:25Z (in 5 s)");
        let cases = [(119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 days")];
        for (seconds, expected) in cases {
            assert_eq!(lasting(TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(counted(1, "record", "records"), "1 record");
        assert_eq!(counted(0, "record", "records"), "0 records");
    }

    #[test]
    fn ids_are_cut_on_a_terminal_so_that_they_still_differ() {
        let id = |text: &str| text.parse::<JobId>().unwrap();
        let ids = [id("0199a0f2-7c3e-7bd1-8a44-000000000001"), id("0199a0f2-7c3e-7bd1-8b44-000000000001")];
        let terminal = Screen { columns: Some(80) };
        assert_eq!(short_ids(terminal, &ids), ["0199a0f2-7c3e-7bd1-8a", "0199a0f2-7c3e-7bd1-8b"]);
        assert_eq!(short_ids(terminal, &ids[..1]), ["0199a0f2-7c3e"]);
        assert_eq!(short_ids(terminal, &[ids[0], ids[0]]), ["0199a0f2-7c3e", "0199a0f2-7c3e"]);
        assert_eq!(short_ids(Screen { columns: None }, &ids[..1]), ["0199a0f2-7c3e-7bd1-8a44-000000000001"]);
    }
}
