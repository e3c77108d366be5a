//! Cron expressions, as people write them in a crontab and as the `cron` crate has them.

mod fields;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use cron::Schedule;

use fields::{Field, Form};

/// A schedule: the times on a wall clock at which something is due.
///
/// Five fields are those of a crontab: minute, hour, day of the month, month, day of the week, with Sunday as 0 or 7; where
/// both days are restricted, either one counts, as cron(8) has it. Six and seven fields are those of the `cron` crate: the
/// second first, the year last, Sunday as 1, and both days must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    /// More than one where it fires when any of them does.
    schedules: Vec<Schedule>,
}

/// Why a text is no schedule: what is wrong, where, and an example that is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It has too few fields, or too many.
    #[error(
        "`{expression}` has {found}, not the five of a crontab (minute, hour, day of the month, month, day of the week); \
         for every night at two write `0 2 * * *`"
    )]
    Fields {
        /// The whole text, cut.
        expression: String,
        /// How many there are, in words.
        found: String,
    },
    /// It begins with `@` and is none of the words that are known.
    #[error(
        "`{expression}` is not known: write `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`, or five fields such as `0 2 * * *`"
    )]
    Word {
        /// The whole text, cut.
        expression: String,
    },
    /// A field is wrong.
    #[error("the {field} in `{expression}`: {problem}; write for example `{example}`")]
    Field {
        /// The whole text, cut.
        expression: String,
        /// The name of the field, with its place.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What could stand there.
        example: &'static str,
    },
    /// Nothing is wrong with the fields, but no day fits.
    #[error(
        "`{expression}` never fires: no day between 1970 and 2100 fits all of it; for the last days of every month write for example `0 2 28-31 * *`"
    )]
    NeverFires {
        /// The whole text, cut.
        expression: String,
    },
}

/// Characters of an expression that an error repeats.
const SHOWN: usize = 100;

impl Expression {
    /// Reads an expression. One that fires on no day from 1970 to 2100 is an error; whether one fires again after a certain
    /// time says [`next_after`](super::due::next_after).
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        let fields: Vec<&str> = match text.strip_prefix('@') {
            Some(word) => {
                fields_of_word(word).ok_or_else(|| ExpressionError::Word { expression: shown(text) })?.to_vec()
            }
            None => text.split_whitespace().collect(),
        };
        let schedules = match fields.as_slice() {
            [_, _, _, _, _] => crontab(text, &fields)?,
            [_, _, _, _, _, _] | [_, _, _, _, _, _, _] => vec![as_the_crate_has_it(text, &fields)?],
            _ => return Err(wrong_count(text, fields.len())),
        };
        let expression = Self { text: text.to_owned(), schedules };
        match expression.next_on_the_clock((DateTime::UNIX_EPOCH - TimeDelta::seconds(1)).naive_utc()) {
            Some(_) => Ok(expression),
            None => Err(ExpressionError::NeverFires { expression: shown(text) }),
        }
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after this one, on a wall clock that never jumps; none after the year 2100.
    pub(super) fn next_on_the_clock(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        self.schedules.iter().filter_map(|schedule| next_of(schedule, after)).min()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The crate steps through UTC, where no time is skipped or repeated.
fn next_of(schedule: &Schedule, after: NaiveDateTime) -> Option<NaiveDateTime> {
    schedule.after(&after.and_utc()).next().map(|next: DateTime<Utc>| next.naive_utc())
}

fn fields_of_word(word: &str) -> Option<[&'static str; 5]> {
    Some(match word.to_ascii_lowercase().as_str() {
        "yearly" | "annually" => ["0", "0", "1", "1", "*"],
        "monthly" => ["0", "0", "1", "*", "*"],
        "weekly" => ["0", "0", "*", "*", "0"],
        "daily" | "midnight" => ["0", "0", "*", "*", "*"],
        "hourly" => ["0", "*", "*", "*", "*"],
        _ => return None,
    })
}

/// Five fields in the words of the crate, which counts days of the week from 1 and wants both days to fit.
fn crontab(text: &str, fields: &[&str]) -> Result<Vec<Schedule>, ExpressionError> {
    let mut translated = Vec::with_capacity(fields.len());
    for (field, value) in Form::Crontab.fields().iter().zip(fields) {
        translated
            .push(fields::translate(field, value).map_err(|problem| wrong_field(text, Form::Crontab, field, problem))?);
    }
    let [minute, hour, day, month, weekday] = translated.as_slice() else {
        return Err(wrong_count(text, fields.len()));
    };
    let lines = if is_restricted(fields[2]) && is_restricted(fields[4]) {
        vec![format!("0 {minute} {hour} {day} {month} *"), format!("0 {minute} {hour} * {month} {weekday}")]
    } else {
        vec![format!("0 {minute} {hour} {day} {month} {weekday}")]
    };
    lines.iter().map(|line| Schedule::from_str(line).map_err(|_| wrong_count(text, fields.len()))).collect()
}

/// A day that begins with a star is not restricted, also where a step follows: so cron(8) has it.
fn is_restricted(field: &str) -> bool {
    !field.starts_with('*')
}

fn as_the_crate_has_it(text: &str, fields: &[&str]) -> Result<Schedule, ExpressionError> {
    for (index, (field, value)) in Form::WithSeconds.fields().iter().zip(fields).enumerate() {
        fields::check_shape(field, value).map_err(|problem| wrong_field(text, Form::WithSeconds, field, problem))?;
        if Schedule::from_str(&alone(index, value)).is_err() {
            return Err(wrong_field(text, Form::WithSeconds, field, fields::explain(field, value)));
        }
    }
    Schedule::from_str(&fields.join(" ")).map_err(|_| wrong_count(text, fields.len()))
}

/// One field among stars, so that an error is that field's.
fn alone(index: usize, value: &str) -> String {
    let mut fields = ["*"; 7];
    fields[index] = value;
    fields.join(" ")
}

fn wrong_field(text: &str, form: Form, field: &Field, problem: String) -> ExpressionError {
    let place = form.fields().iter().position(|other| other.name == field.name).unwrap_or_default() + 1;
    ExpressionError::Field {
        expression: shown(text),
        field: format!("{} (field {place} of {})", field.name, text.split_whitespace().count()),
        problem,
        example: field.example,
    }
}

fn wrong_count(text: &str, count: usize) -> ExpressionError {
    let found = match count {
        0 => "no fields".to_owned(),
        1 => "one field".to_owned(),
        count => format!("{count} fields"),
    };
    ExpressionError::Fields { expression: shown(text), found }
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
