//! Bytes to records and back: finds the records of a JSON file one by one, and reads each by the catalogue.

pub mod forms;
pub mod length;
pub mod record;
pub mod split;
pub mod spreadsheet;
pub mod value;
pub mod zone;

pub use record::{Converted, Converter, FieldValue, RawRecord, Ref};
/// Begins some files in UTF-8. Excel takes a CSV file without it for the machine's old code page and garbles every name that is
/// not English.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub use split::{Piece, SplitError, Splitter, Syntax, Top};
