//! `[inbox]`

use std::ffi::OsStr;
use std::time::Duration;

use super::accounts;
use super::reader::{Reader, Rule};

/// How dropped files are found and when they are whole.
#[derive(Clone, Debug)]
pub struct InboxSection {
    /// Whether the system reports new files; the scan finds them without it.
    pub watch: bool,
    /// Time between two scans.
    pub scan_every: Duration,
    /// How long a file has to stay unchanged.
    pub settle: Duration,
    /// When the owner of an unfinished upload is told.
    pub incomplete_after: Duration,
    /// When an unfinished upload is rejected.
    pub incomplete_reject: Duration,
    /// The account of files directly in the inbox.
    pub default_account: String,
    /// Names that are left alone.
    pub ignore: Vec<NamePattern>,
}

/// A pattern for file names: `*` is any text, `?` any one byte; ASCII letters match in either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether the pattern matches the whole of a file name.
    pub fn matches(&self, name: &OsStr) -> bool {
        matches(self.0.as_bytes(), name.as_encoded_bytes())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let matches_everything = text.bytes().all(|byte| byte == b'*');
        (!matches_everything && !text.contains('/')).then(|| Self(text.to_owned()))
    }
}

impl InboxSection {
    /// Whether files and folders of that name are left alone.
    pub fn ignores(&self, name: &OsStr) -> bool {
        self.ignore.iter().any(|pattern| pattern.matches(name))
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let day = Duration::from_secs(86_400);
        let instant = Duration::from_millis(1);
        let pattern = Rule::new(
            "must be a list of name patterns, none of which is `*` or has a `/`",
            "write it as in [\".*\", \"*.part\"]; an empty list [] ignores nothing",
        );
        Self {
            watch: reader.switch("inbox.watch"),
            scan_every: reader.duration("inbox.scan_every", Duration::from_millis(10)..=day),
            settle: reader.duration("inbox.settle", instant..=day),
            incomplete_after: reader.duration("inbox.incomplete_after", instant..=day * 100),
            incomplete_reject: reader.duration("inbox.incomplete_reject", instant..=day * 400),
            default_account: read_default_account(reader),
            ignore: reader.list("inbox.ignore", &pattern, NamePattern::parse).unwrap_or_default(),
        }
    }

    pub(super) fn check(&self, reader: &mut Reader) {
        reader.require(
            &["inbox.default_account", "inbox.ignore"],
            !self.ignores(OsStr::new(&self.default_account)),
            &Rule::new(
                "clashes: the folder of `inbox.default_account` must not match a pattern of `inbox.ignore`",
                "choose another name, or take the pattern away",
            ),
        );
        reader.require(
            &["inbox.incomplete_after", "inbox.settle"],
            self.settle < self.incomplete_after,
            &Rule::new(
                "clashes: `inbox.incomplete_after` must be longer than `inbox.settle`",
                "make the one longer or the other shorter",
            ),
        );
        reader.require(
            &["inbox.incomplete_reject", "inbox.incomplete_after"],
            self.incomplete_after < self.incomplete_reject,
            &Rule::new(
                "clashes: `inbox.incomplete_reject` must be longer than `inbox.incomplete_after`",
                "make the one longer or the other shorter, so that an owner is told before the end",
            ),
        );
    }
}

fn read_default_account(reader: &mut Reader) -> String {
    let found = reader.parsed("inbox.default_account", &accounts::name_rule(), accounts::parse_name);
    reader.needed("inbox.default_account", found)
}

/// Goes back to the last `*` where a try fails, so the time is at most the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || name.get(seen).is_some_and(|byte| byte.eq_ignore_ascii_case(wanted)) => {
                at += 1;
                seen += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    at = star + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| NamePattern(pattern.to_owned()).matches(OsStr::new(name));
        assert!(matches(".*", ".hidden"));
        assert!(matches("*.part", "event.zip.part"));
        assert!(matches("*.part", "EVENT.PART"));
        assert!(matches("~$*", "~$event.zip"));
        assert!(matches("Thumbs.db", "thumbs.db"));
        assert!(matches("a?c*e", "abcdde"));
        assert!(!matches("*.part", "event.part.zip"));
        assert!(!matches(".*", "event.zip"));
        assert!(!matches("Thumbs.db", "Thumbs.dbx"));
        assert!(!matches("?", ""));
    }

    #[test]
    fn a_pattern_that_ignores_everything_is_refused() {
        assert_eq!(NamePattern::parse("**"), None);
        assert_eq!(NamePattern::parse(""), None);
        assert_eq!(NamePattern::parse("a/*"), None);
    }
}
