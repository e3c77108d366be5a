//! What is wrong with an archive, for the person who made it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something was not imported.
    Error,
    /// Something was imported otherwise than given, or looks wrong.
    Warning,
}

impl Severity {
    /// The word used in tables and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Error, Self::Warning].into_iter().find(|severity| severity.as_str() == word)
    }
}

/// One thing that is wrong, said to the person who made the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable name of the kind of problem.
    pub code: Code,
    /// Whether something was left out because of it.
    pub severity: Severity,
    /// The file of the archive, without a common top folder; none for the archive as a whole.
    pub file: Option<String>,
    /// Which record of the file, counted from 1.
    pub position: Option<u64>,
    /// The record's id as the archive gives it.
    pub source_id: Option<String>,
    /// The field, under its canonical name.
    pub field: Option<String>,
    /// The value, cut to 200 characters: a text without the quotes of JSON, anything else as it stands in the file.
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Longest `value` that a problem keeps, in characters.
const VALUE_CHARACTERS: usize = 200;

impl Problem {
    /// A problem with the severity of its code, not yet tied to a place.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            file: None,
            position: None,
            source_id: None,
            field: None,
            value: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Says in which file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Says in which record, counted from 1.
    #[must_use]
    pub fn at(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }

    /// Says which id the record has.
    #[must_use]
    pub fn of_record(mut self, source_id: impl Into<String>) -> Self {
        self.source_id = Some(cut(&source_id.into()));
        self
    }

    /// Says in which field.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Shows the value, cut where it is long.
    #[must_use]
    pub fn with_value(mut self, value: &str) -> Self {
        self.value = Some(cut(value));
        self
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident $word:literal $severity:ident;)+) => {
        /// Stable names of what can be wrong; new ones may be added, none is renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in tables and files.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Whether such a problem leaves something out.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// Reads the name back.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The file has no bytes.
    EmptyFile "EMPTY_FILE" Error;
    /// The file is no zip.
    NotAZip "NOT_A_ZIP" Error;
    /// The file begins like a zip and does not end like one.
    Incomplete "INCOMPLETE" Error;
    /// The zip spans several disks.
    MultiDisk "MULTI_DISK" Error;
    /// An entry is encrypted.
    Encrypted "ENCRYPTED" Error;
    /// An entry is compressed in a way that is not read.
    UnsupportedMethod "UNSUPPORTED_METHOD" Error;
    /// The bytes of a data file do not match their checksum.
    CrcMismatch "CRC_MISMATCH" Error;
    /// A data file cannot be inflated.
    EntryDamaged "ENTRY_DAMAGED" Error;
    /// Entries of the zip share bytes.
    OverlappingEntries "OVERLAPPING_ENTRIES" Error;
    /// Two entries have the same name.
    DuplicateEntry "DUPLICATE_ENTRY" Error;
    /// An entry's name leads out of the archive.
    UnsafeEntryName "UNSAFE_ENTRY_NAME" Error;
    /// An entry is a link.
    EntryIsLink "ENTRY_IS_LINK" Error;
    /// The archive is larger than allowed.
    LimitArchiveBytes "LIMIT_ARCHIVE_BYTES" Error;
    /// The archive has more entries than allowed.
    LimitEntries "LIMIT_ENTRIES" Error;
    /// An entry inflates to more than allowed.
    LimitEntryBytes "LIMIT_ENTRY_BYTES" Error;
    /// The entries together inflate to more than allowed.
    LimitTotalBytes "LIMIT_TOTAL_BYTES" Error;
    /// An entry inflates by more than the allowed ratio.
    LimitRatio "LIMIT_RATIO" Error;
    /// An entry's name is longer than allowed.
    LimitPathLength "LIMIT_PATH_LENGTH" Error;
    /// A file that was meant for records of the event is not read, because of its name, place or kind.
    FileNotRead "FILE_NOT_READ" Error;
    /// The archive has more records and references between them than allowed.
    LimitRecords "LIMIT_RECORDS" Error;
    /// A record is nested deeper than allowed.
    LimitJsonDepth "LIMIT_JSON_DEPTH" Error;
    /// A record has more bytes or keys than allowed, lists more others, or is a form with more fields.
    LimitRecordBytes "LIMIT_RECORD_BYTES" Error;
    /// The file was changed while it was read.
    ChangedWhileReading "CHANGED_WHILE_READING" Error;
    /// The import failed in a way that is our fault.
    Internal "INTERNAL" Error;
    /// The process died over this file again and again.
    Quarantined "QUARANTINED" Error;
    /// The job was tried as often as is allowed, without success.
    GaveUp "GAVE_UP" Error;
    /// Not in use: a person's stop is no problem but a state, `cancelled`.
    Cancelled "CANCELLED" Error;
    /// A file is not JSON to its end.
    JsonSyntax "JSON_SYNTAX" Error;
    /// A file holds an object where an array is wanted, or the other way round.
    WrongTopLevel "WRONG_TOP_LEVEL" Error;
    /// The archive has no `event` that can be read and used.
    EventMissing "EVENT_MISSING" Error;
    /// More than one event in the database could be meant.
    EventAmbiguous "EVENT_AMBIGUOUS" Error;
    /// The event is there already, and the account wants such archives refused.
    EventExists "EVENT_EXISTS" Error;
    /// The event that `eventferry.json` names is not there.
    EventUnknown "EVENT_UNKNOWN" Error;
    /// `eventferry.json` cannot be read, or asks for what its account does not allow.
    PolicyInvalid "POLICY_INVALID" Error;
    /// Something is wrong with some records, and the account wants all or nothing.
    RejectedAsAWhole "REJECTED_AS_A_WHOLE" Error;
    /// An element of the array is no object.
    RecordNotAnObject "RECORD_NOT_AN_OBJECT" Error;
    /// A text is not valid UTF-8.
    Encoding "ENCODING" Error;
    /// A record has no id.
    IdMissing "ID_MISSING" Error;
    /// A required field is absent or null.
    FieldRequired "FIELD_REQUIRED" Error;
    /// A field that should say something is blank; the record was imported all the same.
    FieldBlank "FIELD_BLANK" Warning;
    /// A value has the wrong type.
    FieldType "FIELD_TYPE" Error;
    /// A date cannot be read.
    DateInvalid "DATE_INVALID" Error;
    /// A number cannot be read.
    NumberInvalid "NUMBER_INVALID" Error;
    /// A key is given twice in one record.
    DuplicateKey "DUPLICATE_KEY" Warning;
    /// A text holds a NUL character, which no database keeps.
    NulCharacter "NUL_CHARACTER" Warning;
    /// The same record stands twice in a file.
    DuplicateRecord "DUPLICATE_RECORD" Warning;
    /// Two different records have the same id.
    DuplicateId "DUPLICATE_ID" Warning;
    /// Records were rebuilt from the objects nested in others.
    RecordsRebuilt "RECORDS_REBUILT" Warning;
    /// A reference to a record that is not there.
    DanglingReference "DANGLING_REFERENCE" Warning;
    /// A reference whose nested name is not the record's.
    NameMismatch "NAME_MISMATCH" Warning;
    /// Sessions and speakers do not agree on who speaks where.
    LinksDisagree "LINKS_DISAGREE" Warning;
    /// Something ends before it starts.
    EndBeforeStart "END_BEFORE_START" Warning;
    /// The event's zone had to be guessed.
    TimezoneGuessed "TIMEZONE_GUESSED" Warning;
    /// The event's zone is not known.
    TimezoneUnknown "TIMEZONE_UNKNOWN" Warning;
    /// A length of a session type is not clear.
    LengthUnclear "LENGTH_UNCLEAR" Warning;
    /// A media file that is referenced is not in the archive.
    MediaMissing "MEDIA_MISSING" Warning;
    /// A media file that is referenced cannot be read.
    MediaDamaged "MEDIA_DAMAGED" Warning;
    /// Media files that nothing references.
    MediaUnreferenced "MEDIA_UNREFERENCED" Warning;
    /// Entries that are no part of an event archive.
    EntryIgnored "ENTRY_IGNORED" Warning;
    /// The event's id is used by another event.
    EventIdReused "EVENT_ID_REUSED" Warning;
    /// The event's own form requires a field that some records leave empty.
    FormFieldMissing "FORM_FIELD_MISSING" Warning;
    /// There are more problems than are kept.
    ProblemsTruncated "PROBLEMS_TRUNCATED" Warning;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_as_itself() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn a_long_value_is_cut_on_a_character() {
        let problem = Problem::new(Code::FieldType, "m", "h").with_value(&"é".repeat(300));
        assert_eq!(problem.value.map(|value| value.chars().count()), Some(201));
    }
}
