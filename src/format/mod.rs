//! Bytes to records and back: finds the records of a JSON file one by one, and reads each by the catalogue.

pub mod forms;
pub mod length;
pub mod record;
pub mod split;
pub mod value;
pub mod zone;

pub use record::{Converted, Converter, FieldValue, RawRecord, Ref};
pub use split::{Piece, SplitError, Splitter, Syntax, Top};
