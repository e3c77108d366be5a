//! `[[export]]`

use std::time::Duration;

use chrono_tz::Tz;

use super::accounts::{self, Account};
use super::inbox::InboxSection;
use super::reader::{DEFAULT, Reader, Rule, list_of};
use super::units;
use crate::model::export::{ALL_EVENTS, Format, Keep, MediaSwitches};
use crate::timetable::due::Missed;
use crate::timetable::expression::Expression;

/// Keys that a block may have; asked for where one is misspelt.
pub(super) const FIELDS: [&str; 15] = [
    "name",
    "account",
    "events",
    "state",
    "formats",
    "media",
    "private",
    "cron",
    "zone",
    "missed",
    "missed_at_most",
    "missed_within",
    "jitter",
    "keep",
    "keep_days",
];

/// An export at set times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportEntry {
    /// Its name.
    pub name: String,
    /// Whose events.
    pub account: String,
    /// Ids, identifiers or names of events, or `all`.
    pub events: Vec<String>,
    /// Only events in this state.
    pub state: Option<String>,
    /// What is made.
    pub formats: Vec<Format>,
    /// Which media go into the archive.
    pub media: MediaSwitches,
    /// Whether personal data goes in.
    pub private: bool,
    /// When, on the clock of the zone.
    pub expression: Expression,
    /// The zone.
    pub zone: Tz,
    /// What happens with times that were missed.
    pub missed: Missed,
    /// The longest random wait before it begins.
    pub jitter: Duration,
    /// Which runs are kept.
    pub keep: Keep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MissedWord {
    One,
    None,
    All,
}

const MISSED: [(&str, MissedWord); 3] =
    [("one", MissedWord::One), ("none", MissedWord::None), ("all", MissedWord::All)];

const DAY: Duration = Duration::from_hours(24);

/// Reads all blocks. Those whose expression is at fault are left out, as is said by their fault.
pub(super) fn read(reader: &mut Reader, inbox: &InboxSection, accounts: &[Account]) -> Vec<ExportEntry> {
    let mut entries: Vec<ExportEntry> = Vec::new();
    for index in 0..reader.tables("export") {
        let block = format!("export[{index}]");
        let Some(entry) = read_block(reader, &block, inbox, accounts) else { continue };
        if entries.iter().any(|other| other.name == entry.name) {
            let rule = Rule::new("must be unique; another block has the same name", "give one of them another name");
            reader.fault(&format!("{block}.name"), &rule);
        }
        entries.push(entry);
    }
    entries
}

fn read_block(reader: &mut Reader, block: &str, inbox: &InboxSection, accounts: &[Account]) -> Option<ExportEntry> {
    let key = |field: &str| format!("{block}.{field}");
    let name = reader.parsed(&key("name"), &accounts::name_rule(), accounts::parse_name);
    let name = reader.needed(&key("name"), name);
    let account = reader.optional_text(&key("account")).unwrap_or_else(|| inbox.default_account.clone());
    if !accounts.iter().any(|known| known.name == account) {
        let rule = Rule::new("must be the name of an account", "add an `[[accounts]]` block of that name");
        reader.fault(&key("account"), &rule);
    }
    let some_text = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let events_rule = Rule::new("must be a list of events", "write `[\"all\"]`, or ids, identifiers or names");
    let events = reader.list(&key("events"), &events_rule, some_text).unwrap_or_else(|| vec![ALL_EVENTS.to_owned()]);
    let state = reader.optional_text(&key("state"));
    let mut formats = reader.optional_choices(&key("formats"), &Format::WORDS).unwrap_or_else(|| Format::ALL.to_vec());
    formats.sort_unstable();
    formats.dedup();
    let kinds = ["image", "video", "audio", "document"].map(|word| (word, word));
    let media = reader.optional_choices(&key("media"), &kinds);
    let media = media.map_or(Some(MediaSwitches::ALL), MediaSwitches::of_words).unwrap_or_default();
    let private = reader.optional_switch(&key("private")).unwrap_or(false);
    let expression = read_expression(reader, &key("cron"));
    let zone_rule = Rule::new("must be the IANA name of a time zone", "write for example \"Europe/Berlin\" or \"UTC\"");
    let zone = reader.parsed(&key("zone"), &zone_rule, |text| text.trim().parse::<Tz>().ok()).unwrap_or(Tz::UTC);
    let missed = reader.optional_choice(&key("missed"), &MISSED).unwrap_or(MissedWord::One);
    let at_most = reader.optional_number(&key("missed_at_most"), 1..=1000).unwrap_or(7);
    let within = reader.optional_duration(&key("missed_within"), Duration::ZERO..=DAY * 366).unwrap_or(DAY * 7);
    let jitter = reader.optional_duration(&key("jitter"), Duration::ZERO..=DAY).unwrap_or_default();
    let keep = Keep {
        runs: reader.optional_number(&key("keep"), 0..=100_000).unwrap_or(30),
        days: reader.optional_number(&key("keep_days"), 0..=100_000).unwrap_or(0),
    };
    reader.in_force(&key("account"), account.as_str(), "`inbox.default_account`");
    let missed_words = MISSED.iter().filter(|(_, word)| *word == missed).map(|(word, _)| *word);
    for (field, value) in [
        ("events", list_of(events.iter().map(String::as_str))),
        ("formats", list_of(formats.iter().map(|format| format.as_str()))),
        ("media", list_of(kinds.map(|(word, _)| word))),
        ("private", private.to_string()),
        ("zone", zone.name().to_owned()),
        ("missed", missed_words.collect()),
        ("missed_at_most", at_most.to_string()),
        ("missed_within", units::show_duration(within)),
        ("jitter", units::show_duration(jitter)),
        ("keep", keep.runs.to_string()),
        ("keep_days", keep.days.to_string()),
    ] {
        reader.in_force(&key(field), value, DEFAULT);
    }
    Some(ExportEntry {
        name,
        account,
        events,
        state,
        formats,
        media,
        private,
        expression: expression?,
        zone,
        missed: match missed {
            MissedWord::One => Missed::One,
            MissedWord::None => Missed::None,
            MissedWord::All => Missed::All { at_most, not_older_than: within },
        },
        jitter,
        keep,
    })
}

fn read_expression(reader: &mut Reader, key: &str) -> Option<Expression> {
    let any = Rule::new("must be text", "put it in quotes");
    let text: Option<String> = reader.parsed(key, &any, |text| Some(text.to_owned()));
    match text.as_deref().map(Expression::parse) {
        Some(Ok(expression)) => Some(expression),
        Some(Err(error)) => {
            let remedy = "write five fields as in a crontab, such as \"0 3 * * *\" for every night at three";
            reader.fault(key, &Rule::new(format!("must be a cron expression that fires: {error}"), remedy));
            None
        }
        None => {
            let _: String = reader.needed(key, text);
            None
        }
    }
}
