//! One look at a file that has come to rest: is it an archive, whole, and ours to take?

use std::io::{self, ErrorKind};

use super::claim::{Candidate, Verdict};
use super::path::InboxPath;
use super::scan::{self, Folders};
use super::settling::{Finding, RefusalCode};
use crate::archive::{self, Wholeness};
use crate::clock::Timestamp;
use crate::fsx::{self, FileIdentity, OpenError};

/// What a look has shown.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// To be claimed now.
    Take(Candidate),
    /// To be claimed once it has been incomplete for too long; until then it waits, with the reason for its owner.
    Wait(Candidate, String),
    /// Not to be claimed.
    Leave(Finding),
    /// It is another file than the one that came to rest, or it has changed.
    Changed(FileIdentity),
    /// It is gone.
    Gone,
}

/// Looks at what lies at `path`, which was `identity` when it came to rest. Never blocks on pipes and follows no links.
pub(super) fn decide(folders: &Folders, path: &InboxPath, identity: Option<FileIdentity>, seen: Timestamp) -> Decision {
    match decide_or_fail(folders, path, identity, seen) {
        Ok(decision) => decision,
        Err(error) => unreadable(&error),
    }
}

fn decide_or_fail(
    folders: &Folders,
    path: &InboxPath,
    identity: Option<FileIdentity>,
    seen: Timestamp,
) -> io::Result<Decision> {
    let Some(now) = scan::look(&folders.inbox, path)? else { return Ok(Decision::Gone) };
    if identity != Some(now) {
        return Ok(Decision::Changed(now));
    }
    if let Some((code, reason)) = scan::refusal(folders, path)? {
        return Ok(Decision::Leave(Finding::Refused(code, reason)));
    }
    let full = path.under(&folders.inbox);
    if full.is_dir() {
        return Ok(Decision::Leave(Finding::Nothing));
    }
    let file = match fsx::open_regular(&full) {
        Ok(file) => file,
        Err(OpenError::NotRegular { kind, .. }) => {
            let reason = format!("this is {kind}, not a file; it is left alone, remove it");
            return Ok(Decision::Leave(Finding::Refused(RefusalCode::NotARegularFile, reason)));
        }
        Err(OpenError::HardLinked { links, .. }) => {
            let reason = format!(
                "this file has {links} names (hard links), so that it may change behind eventferry's back; it is left \
                 alone, drop a copy instead"
            );
            return Ok(Decision::Leave(Finding::Refused(RefusalCode::MoreThanOneLink, reason)));
        }
        Err(OpenError::Io { source, .. }) => return Err(source),
    };
    let opened = FileIdentity::of_file(&file)?;
    if opened != now {
        return Ok(Decision::Changed(opened));
    }
    let candidate = |verdict| Candidate { path: path.clone(), identity: now, verdict, seen };
    Ok(match archive::probe(&file)? {
        Wholeness::Whole => Decision::Take(candidate(Verdict::Whole)),
        Wholeness::NotZip => Decision::Take(candidate(Verdict::NotZip)),
        Wholeness::Empty => Decision::Wait(candidate(Verdict::Empty), "the file is empty".to_owned()),
        Wholeness::Incomplete { why } => Decision::Wait(candidate(Verdict::Incomplete), why),
    })
}

fn unreadable(error: &io::Error) -> Decision {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Decision::Gone,
        ErrorKind::PermissionDenied => Decision::Leave(Finding::Refused(
            RefusalCode::Permission,
            "the file cannot be read; let eventferry read it (its owner can: `chmod a+r`)".to_owned(),
        )),
        _ => Decision::Leave(Finding::Refused(RefusalCode::Unreadable, format!("the file cannot be read: {error}"))),
    }
}
