//! Zip archives: opened under [`Limits`], read entry by entry, written so that the same input gives the same bytes.
//!
//! The directory of an archive is read by our own code, piece by piece and only from its one place: nothing is allocated by a
//! number that the archive itself states, names that occur twice stay visible, and there is one reading of each file.
//! An archive begins with its first entry (or is an empty one); programs that unpack themselves are not taken.

mod directory;
mod fault;
mod find;
mod limits;
mod names;
mod open;
mod probe;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use fault::{Fault, FaultCode, OpenError, ReadError, fault_of};
pub use limits::Limits;
pub use open::{Archive, Entry};
pub use probe::{Wholeness, probe};
pub use reader::EntryReader;
pub use writer::Writer;
