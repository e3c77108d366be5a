//! What can be wrong with an archive, in words for the person who made it.

use std::fmt;
use std::io;

/// The stable name of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The file has no bytes.
    EmptyFile,
    /// The file does not begin like a zip.
    NotAZip,
    /// The file begins like a zip, but its directory or an entry that it names is not there.
    Incomplete,
    /// The zip is one of several parts.
    MultiDisk,
    /// The entry is encrypted.
    Encrypted,
    /// The entry is compressed in another way than deflate.
    UnsupportedMethod,
    /// The bytes of the entry do not give its checksum.
    CrcMismatch,
    /// The entry cannot be inflated, or has another size than stated.
    EntryDamaged,
    /// Two entries share bytes of the file.
    OverlappingEntries,
    /// Several entries have the same path.
    DuplicateEntry,
    /// The name of an entry leads out of the archive.
    UnsafeEntryName,
    /// The entry is a symbolic link.
    EntryIsLink,
    /// More bytes than `limits.archive_bytes`.
    LimitArchiveBytes,
    /// More entries than `limits.entries`.
    LimitEntries,
    /// More inflated bytes in an entry than `limits.entry_bytes`.
    LimitEntryBytes,
    /// More inflated bytes in all than `limits.total_bytes`.
    LimitTotalBytes,
    /// More inflated bytes per compressed byte than `limits.ratio`.
    LimitRatio,
    /// A path longer than `limits.path_length`.
    LimitPathLength,
}

impl FaultCode {
    /// The name under which the fault is reported.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyFile => "EMPTY_FILE",
            Self::NotAZip => "NOT_A_ZIP",
            Self::Incomplete => "INCOMPLETE",
            Self::MultiDisk => "MULTI_DISK",
            Self::Encrypted => "ENCRYPTED",
            Self::UnsupportedMethod => "UNSUPPORTED_METHOD",
            Self::CrcMismatch => "CRC_MISMATCH",
            Self::EntryDamaged => "ENTRY_DAMAGED",
            Self::OverlappingEntries => "OVERLAPPING_ENTRIES",
            Self::DuplicateEntry => "DUPLICATE_ENTRY",
            Self::UnsafeEntryName => "UNSAFE_ENTRY_NAME",
            Self::EntryIsLink => "ENTRY_IS_LINK",
            Self::LimitArchiveBytes => "LIMIT_ARCHIVE_BYTES",
            Self::LimitEntries => "LIMIT_ENTRIES",
            Self::LimitEntryBytes => "LIMIT_ENTRY_BYTES",
            Self::LimitTotalBytes => "LIMIT_TOTAL_BYTES",
            Self::LimitRatio => "LIMIT_RATIO",
            Self::LimitPathLength => "LIMIT_PATH_LENGTH",
        }
    }

    /// Whether the whole archive is refused, not only the entry.
    pub fn refuses_archive(self) -> bool {
        match self {
            Self::Encrypted
            | Self::UnsupportedMethod
            | Self::CrcMismatch
            | Self::EntryDamaged
            | Self::DuplicateEntry => false,
            Self::EmptyFile
            | Self::NotAZip
            | Self::Incomplete
            | Self::MultiDisk
            | Self::OverlappingEntries
            | Self::UnsafeEntryName
            | Self::EntryIsLink
            | Self::LimitArchiveBytes
            | Self::LimitEntries
            | Self::LimitEntryBytes
            | Self::LimitTotalBytes
            | Self::LimitRatio
            | Self::LimitPathLength => true,
        }
    }
}

/// One thing that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault.
    pub code: FaultCode,
    /// The name of the entry, where it is about one.
    pub entry: Option<String>,
    /// What is wrong, and where.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Fault {
    pub(super) fn new(code: FaultCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, entry: None, message: message.into(), hint: hint.into() }
    }

    pub(super) fn of_entry(self, name: &str) -> Self {
        Self { entry: Some(name.to_owned()), ..self }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.message, self.hint)
    }
}

impl std::error::Error for Fault {}

/// The fault that an error of an [`EntryReader`](super::EntryReader) carries; none where the disk failed.
pub fn fault_of(error: &io::Error) -> Option<&Fault> {
    error.get_ref()?.downcast_ref()
}

/// Why an archive was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The archive is bad.
    #[error("the archive is refused: {0}")]
    Fault(Fault),
    /// The disk failed.
    #[error("the archive could not be read from the disk: {0}")]
    Io(#[from] io::Error),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why an entry is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The entry is bad.
    #[error("the entry cannot be read: {0}")]
    Fault(Fault),
    /// The disk failed.
    #[error("the entry could not be read from the disk: {0}")]
    Io(#[from] io::Error),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
