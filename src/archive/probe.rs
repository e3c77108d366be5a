//! Whether a file is a whole zip, told by a short look.

use std::fs::File;
use std::io;

use super::directory::{END, Found, LOCAL, Step, Walk, data_start, find_tail, read_whole};
use crate::model::words::counted;

/// How much of a zip is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wholeness {
    /// The end record, the directory and the beginning of each entry are in their places.
    Whole,
    /// No bytes at all.
    Empty,
    /// It begins like a zip, but something that belongs to it is not there; or it begins with zeros, where a zip may come
    /// to stand.
    Incomplete {
        /// What is missing, in words for the person who uploads.
        why: String,
    },
    /// It does not begin like a zip. A program that unpacks itself counts as this.
    NotZip,
}

/// Entries whose places are looked at; beyond them the directory is taken on trust, so that the look stays short.
const LOOKED_AT: u64 = 65_536;

/// Looks whether a file is a whole zip, by position only, so that others may hold it open.
///
/// The end record, with its comment, must be the very end of the file, and places are counted from its beginning: a zip that stands
/// within another file is never taken for that file. A zip of several parts counts as whole; opening it says what it is. Memory is bounded whatever the file says, and no more than
/// 65,536 entries are looked at.
///
/// # Errors
/// Those of the disk.
pub fn probe(file: &File) -> io::Result<Wholeness> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(Wholeness::Empty);
    }
    if begins_with_a_hole(file, length)? {
        let why = "its beginning is not there yet, as in a file that is allocated first and filled later".to_owned();
        return Ok(Wholeness::Incomplete { why });
    }
    if !begins_like_a_zip(file, length)? {
        return Ok(Wholeness::NotZip);
    }
    let tail = match find_tail(file, length)? {
        Found::Tail(tail) => tail,
        Found::MultiDisk => return Ok(Wholeness::Whole),
        Found::Nothing { why } => return Ok(Wholeness::Incomplete { why }),
    };
    let mut walk = Walk::new(file, &tail);
    let mut there = 0;
    loop {
        match walk.step()? {
            Step::Header(header) => {
                there += 1;
                let whole = data_start(file, header.offset)?
                    .and_then(|data| data.checked_add(header.compressed))
                    .is_some_and(|end| end <= tail.start);
                if !whole {
                    let name = String::from_utf8_lossy(&header.name);
                    return Ok(Wholeness::Incomplete { why: format!("the entry `{name}` is not there whole") });
                }
            }
            Step::End if tail.agrees(there) => return Ok(Wholeness::Whole),
            Step::End => {
                return Ok(Wholeness::Incomplete {
                    why: format!(
                        "the zip should have {}, but its directory has {there}",
                        counted(tail.entries, "entry", "entries")
                    ),
                });
            }
            Step::Broken { why } => return Ok(Wholeness::Incomplete { why }),
        }
        if there >= LOOKED_AT {
            return Ok(Wholeness::Whole);
        }
    }
}

/// Whether the first byte is a zero, with which no file of people begins, and a zip may come to stand there. Some clients give a
/// file its full length before they fill it, and not always from its beginning.
fn begins_with_a_hole(file: &File, length: u64) -> io::Result<bool> {
    let mut start = [1; LOCAL.len()];
    let start = &mut start[..usize::try_from(length).unwrap_or(usize::MAX).min(LOCAL.len())];
    let is_there = read_whole(file, start, 0)?;
    Ok(is_there && start[0] == 0 && start.iter().zip(LOCAL).all(|(byte, of_zip)| *byte == 0 || *byte == of_zip))
}

/// Whether the first bytes are those of a zip, as far as there are any.
pub(super) fn begins_like_a_zip(file: &File, length: u64) -> io::Result<bool> {
    let mut start = [0; 4];
    let start = &mut start[..usize::try_from(length).unwrap_or(4).min(4)];
    Ok(read_whole(file, start, 0)? && (LOCAL.starts_with(start) || END.starts_with(start)))
}
