//! Where a drop lies: a name in the inbox or in an account's folder of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A place in the inbox. Sorts as people list folders: the inbox itself first, then folder by folder, by the bytes of the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxPath {
    /// The folder in the inbox; none for the inbox itself.
    pub folder: Option<String>,
    /// The name, byte for byte as the uploader gave it.
    pub name: OsString,
}

impl InboxPath {
    /// A name in the inbox itself, or in a folder of it.
    pub fn new(folder: Option<&str>, name: impl Into<OsString>) -> Self {
        Self { folder: folder.map(str::to_owned), name: name.into() }
    }

    /// The path below `inbox`.
    pub fn under(&self, inbox: &Path) -> PathBuf {
        self.parent(inbox).join(&self.name)
    }

    /// The folder it lies in.
    pub fn parent(&self, inbox: &Path) -> PathBuf {
        self.folder.as_ref().map_or_else(|| inbox.to_owned(), |folder| inbox.join(folder))
    }

    /// The place of a path that lies in `inbox` or one folder deeper; none for any other.
    pub fn of(inbox: &Path, path: &Path) -> Option<Self> {
        let inside = path.strip_prefix(inbox).ok()?;
        let name = inside.file_name()?;
        let parent = inside.parent()?;
        if parent.as_os_str().is_empty() {
            return Some(Self::new(None, name));
        }
        let folder = parent.to_str()?;
        (!folder.contains('/')).then(|| Self::new(Some(folder), name))
    }

    /// The account whose folder it lies in, `default_account` for the inbox itself.
    pub fn account<'a>(&'a self, default_account: &'a str) -> &'a str {
        self.folder.as_deref().unwrap_or(default_account)
    }

    /// A text that names the place uniquely and can be shown: `folder/name`, where what cannot be shown is `\xNN`.
    pub fn key(&self) -> String {
        let name = escape(self.name.as_bytes());
        match &self.folder {
            Some(folder) => format!("{}/{name}", escape(folder.as_bytes())),
            None => name,
        }
    }

    /// Reads [`InboxPath::key`] back; none where it is no such text.
    pub fn from_key(key: &str) -> Option<Self> {
        let (folder, name) = match key.split_once('/') {
            Some((folder, name)) => (Some(String::from_utf8(unescape(folder)?).ok()?), name),
            None => (None, key),
        };
        let name = OsString::from_vec(unescape(name)?);
        (!name.is_empty()).then_some(Self { folder, name })
    }
}

/// The bytes of a name as text: control characters, backslashes and what is not UTF-8 become `\xNN`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                let mut buffer = [0; 4];
                escape_bytes(character.encode_utf8(&mut buffer).as_bytes(), &mut text);
            } else {
                text.push(character);
            }
        }
        escape_bytes(chunk.invalid(), &mut text);
    }
    text
}

fn escape_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Reads [`escape`] back.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = escaped.strip_prefix('x')?.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = escaped.get(3..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Which names in the inbox are no drops: a list of patterns with `*` (any run of bytes) and `?` (any byte),
/// compared without regard to ASCII case.
#[derive(Clone, Debug, Default)]
pub struct Ignored {
    patterns: Vec<Vec<u8>>,
}

impl Ignored {
    /// Names that match one of `patterns` are ignored.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self {
            patterns: patterns.into_iter().map(|pattern| pattern.as_ref().to_ascii_lowercase().into_bytes()).collect(),
        }
    }

    /// Whether a file or folder of this name is no drop.
    pub fn covers(&self, name: &OsStr) -> bool {
        let name = name.as_bytes().to_ascii_lowercase();
        self.patterns.iter().any(|pattern| matches(pattern, &name))
    }
}

/// Walks pattern and name together and goes back to the last `*` where they part: linear in memory, never exponential.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while next < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[next] => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    next = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use proptest::prelude::*;

    use super::*;

    fn usual() -> Ignored {
        Ignored::new([".*", "*.part", "*.filepart", "*.partial", "*.tmp", "~$*", "__MACOSX", "Thumbs.db"])
    }

    #[test]
    fn temporary_and_hidden_names_are_ignored() {
        for name in [
            ".hidden",
            ".in.event.zip",
            "event.zip.part",
            "event.zip.filepart",
            "event.zip.1a2b3c4d.partial",
            "x.tmp",
            "~$event.xlsx",
            "__MACOSX",
            "Thumbs.db",
            "THUMBS.DB",
            "EVENT.ZIP.FILEPART",
            ".event.zip.X3b9Qa",
        ] {
            assert!(usual().covers(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn names_that_only_look_a_bit_like_them_are_not() {
        for name in ["event.zip", "a.part.zip", "part", "tmp.zip", "~event.zip", "-rf", "MACOSX", " .x", "event.tmpx"] {
            assert!(!usual().covers(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_pattern_with_several_stars_finds_its_way_back() {
        let ignored = Ignored::new(["a*b*?c"]);
        assert!(ignored.covers(OsStr::new("aXXbbYYbZc")));
        assert!(!ignored.covers(OsStr::new("aXXbc")));
    }

    #[test]
    fn a_key_shows_what_cannot_be_shown() {
        let path = InboxPath::new(Some("fossasia"), OsString::from_vec(b"a\nb\\c\xff d ".to_vec()));
        assert_eq!(path.key(), r"fossasia/a\x0ab\x5cc\xff d ");
    }

    #[test]
    fn only_the_inbox_and_one_folder_deeper_are_places() {
        let inbox = Path::new("/srv/inbox");
        assert_eq!(InboxPath::of(inbox, Path::new("/srv/inbox/a.zip")), Some(InboxPath::new(None, "a.zip")));
        assert_eq!(InboxPath::of(inbox, Path::new("/srv/inbox/x/a.zip")), Some(InboxPath::new(Some("x"), "a.zip")));
        assert_eq!(InboxPath::of(inbox, Path::new("/srv/inbox/x/y/a.zip")), None);
        assert_eq!(InboxPath::of(inbox, Path::new("/srv/inbox")), None);
        assert_eq!(InboxPath::of(inbox, Path::new("/srv/other/a.zip")), None);
    }

    proptest! {
        #[test]
        fn every_name_reads_back_from_its_key(name in proptest::collection::vec(1u8..=255, 1..40), deep in any::<bool>()) {
            prop_assume!(!name.contains(&b'/'));
            let path = InboxPath::new(deep.then_some("acc"), OsString::from_vec(name));
            prop_assert_eq!(InboxPath::from_key(&path.key()).unwrap(), path);
        }
    }
}
