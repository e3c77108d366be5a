//! The fields of an expression: what may stand in each, and what it says to the `cron` crate.

use std::ops::RangeInclusive;

/// How many fields there are, and how they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Five, as in a crontab.
    Crontab,
    /// Six or seven, as the crate has them.
    WithSeconds,
}

/// What may stand in a field.
#[derive(Debug)]
pub(super) struct Field {
    /// What people call it.
    pub(super) name: &'static str,
    /// Its numbers.
    numbers: RangeInclusive<u32>,
    /// Its words; the first stands for the first number of [`Field::first_word`].
    words: &'static [&'static str],
    /// The number of the first word.
    first_word: u32,
    /// Whether a question mark is understood.
    question_mark: QuestionMark,
    /// What could stand there.
    pub(super) example: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionMark {
    Refused,
    MeansAny,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// The last number of a weekday in a crontab: Sunday once more.
const SUNDAY_AGAIN: u32 = 7;

const WEEKDAY: &str = "day of the week";

const fn plain(name: &'static str, first: u32, last: u32, example: &'static str) -> Field {
    Field { name, numbers: first..=last, words: &[], first_word: first, question_mark: QuestionMark::Refused, example }
}

const MINUTE: Field = plain("minute", 0, 59, "*/15");
const HOUR: Field = plain("hour", 0, 23, "2");
const DAY: Field = plain("day of the month", 1, 31, "1,15");
const MONTH: Field = Field { words: &MONTHS, ..plain("month", 1, 12, "3-10") };

const CRONTAB: [Field; 5] =
    [MINUTE, HOUR, DAY, MONTH, Field { words: &WEEKDAYS, ..plain(WEEKDAY, 0, SUNDAY_AGAIN, "1-5") }];

const WITH_SECONDS: [Field; 7] = [
    plain("second", 0, 59, "0"),
    MINUTE,
    HOUR,
    Field { question_mark: QuestionMark::MeansAny, ..DAY },
    MONTH,
    Field { words: &WEEKDAYS, question_mark: QuestionMark::MeansAny, ..plain(WEEKDAY, 1, 7, "MON-FRI") },
    plain("year", 1970, 2100, "2026-2030"),
];

impl Form {
    /// Its fields in their order.
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Crontab => &CRONTAB,
            Self::WithSeconds => &WITH_SECONDS,
        }
    }
}

/// One part of a list, taken apart.
struct Part<'a> {
    start: &'a str,
    end: Option<&'a str>,
    step: Option<&'a str>,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        let (start, end) = range.split_once('-').map_or((range, None), |(start, end)| (start, Some(end)));
        Self { start, end, step }
    }
}

/// A field of a crontab in the words of the crate.
pub(super) fn translate(field: &Field, text: &str) -> Result<String, String> {
    check_shape(field, text)?;
    if text == "*" {
        return Ok(text.to_owned());
    }
    let mut numbers = Vec::new();
    for part in text.split(',') {
        numbers.extend(numbers_of(field, part)?);
    }
    if field.name == WEEKDAY {
        for number in &mut numbers {
            *number = *number % SUNDAY_AGAIN + 1;
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// Refuses what no field looks like, before the crate sees it: it reads `*5` as two fields, and then takes the rest one
/// place further.
pub(super) fn check_shape(field: &Field, text: &str) -> Result<(), String> {
    if let Some(odd) =
        text.chars().find(|character| !character.is_ascii_alphanumeric() && !"*?,-/".contains(*character))
    {
        return Err(format!("`{text}` holds `{}`, which has no meaning here", odd.escape_debug()));
    }
    text.split(',').try_for_each(|part| check_part(field, text, part))
}

fn check_part(field: &Field, text: &str, part: &str) -> Result<(), String> {
    let Part { start, end, step } = Part::of(part);
    if [Some(start), end, step].into_iter().flatten().any(str::is_empty) {
        return Err(if part.is_empty() {
            format!("`{text}` has a comma with nothing beside it")
        } else {
            format!("`{part}` is not finished")
        });
    }
    let star = |value: &str| value == "*" || (value == "?" && field.question_mark == QuestionMark::MeansAny);
    let is_known = |value: &str| value.chars().all(|character| character.is_ascii_alphanumeric());
    match (star(start), end) {
        (true, None) => {}
        (true, Some(_)) => return Err(format!("`{part}` is a range of a star, which has neither begin nor end")),
        (false, _) if start.contains('?') => return Err(format!("`{part}` holds a question mark: write `*` for any")),
        (false, end) if !is_known(start) || !end.is_none_or(is_known) => return Err(unknown(field, part)),
        (false, _) => {}
    }
    match step {
        Some(step) if !step.chars().all(|character| character.is_ascii_digit()) => {
            Err(format!("the step of `{part}` is no number"))
        }
        Some(_) | None => Ok(()),
    }
}

fn numbers_of(field: &Field, part: &str) -> Result<Vec<u32>, String> {
    let Part { start, end, step } = Part::of(part);
    let (first, last) = (*field.numbers.start(), *field.numbers.end());
    let (from, to) = match (start, end) {
        // A star of weekdays does not count Sunday twice.
        ("*", _) => (first, if last == SUNDAY_AGAIN { last - 1 } else { last }),
        (start, None) => {
            let start = number(field, start)?;
            (start, if step.is_some() { last } else { start })
        }
        (start, Some(end)) => {
            let (from, to) = (number(field, start)?, number(field, end)?);
            // As the end of a range Sunday is the last day, by whichever name.
            (from, if field.name == WEEKDAY && to == 0 && from > 0 { SUNDAY_AGAIN } else { to })
        }
    };
    if from > to {
        return Err(format!("`{part}` runs backwards: write `{from}-{last},{first}-{to}`"));
    }
    let span = last - first + 1;
    let step = match step.map(str::parse::<u32>) {
        None => 1,
        Some(Ok(step)) if (1..=span).contains(&step) => step,
        Some(_) => return Err(format!("the step of `{part}` must be between 1 and {span}")),
    };
    Ok((from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect())
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().or_else(|| number_of_word(field, text));
    number.filter(|number| field.numbers.contains(number)).ok_or_else(|| unknown(field, text))
}

fn number_of_word(field: &Field, text: &str) -> Option<u32> {
    let word = text.to_ascii_lowercase();
    let index = field.words.iter().position(|known| word.len() >= 3 && known.starts_with(&word))?;
    Some(field.first_word + u32::try_from(index).ok()?)
}

fn unknown(field: &Field, text: &str) -> String {
    let (first, last) = (field.numbers.start(), field.numbers.end());
    let words = match field.words {
        [first, .., last] => format!(", or {} to {}", first[..3].to_ascii_uppercase(), last[..3].to_ascii_uppercase()),
        _ => String::new(),
    };
    let sunday = match (field.name == WEEKDAY, first) {
        (true, 0) => " (Sunday is 0 or 7)",
        (true, _) => " (with six or seven fields Sunday is 1)",
        (false, _) => "",
    };
    format!("`{text}` is not understood; it takes {first} to {last}{words}{sunday}")
}

/// Why the crate refuses a field that has the right shape.
pub(super) fn explain(field: &Field, text: &str) -> String {
    text.split(',').find_map(|part| numbers_of(field, part).err()).unwrap_or_else(|| unknown(field, text))
}
