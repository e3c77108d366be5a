//! What the inbox keeps of its files over a restart.

use super::path::InboxPath;
use super::scan::Folders;
use super::settling::{RefusalCode, Remembered, Stand, Waiting};
use crate::fsx::FileIdentity;
use crate::store::arrivals::{ArrivalRow, ArrivalState};

/// The row of a file.
pub(super) fn to_row(folders: &Folders, path: &InboxPath, waiting: &Waiting) -> ArrivalRow {
    let account = path.account(&folders.default_account);
    let (state, reason) = match &waiting.stand {
        Stand::Settling | Stand::Nothing => (ArrivalState::Arriving, None),
        Stand::Incomplete(reason) => (ArrivalState::Incomplete, Some(format!("INCOMPLETE: {reason}"))),
        Stand::Refused(code, reason) => (ArrivalState::Refused, Some(format!("{code}: {reason}"))),
    };
    let is_nobodys = matches!(waiting.stand, Stand::Refused(RefusalCode::UnknownAccount, _));
    ArrivalRow {
        path: path.key(),
        account: (!is_nobodys).then(|| account.to_owned()),
        state,
        identity: waiting.identity.map(identity_text).unwrap_or_default(),
        bytes: waiting.identity.map_or(0, |identity| identity.size),
        reason,
        first_seen: waiting.first_seen,
        changed_at: waiting.changed_at,
        told_at: waiting.told_at(),
    }
}

/// What a row says of a file; none where it was not written by this program.
pub(super) fn from_row(row: &ArrivalRow) -> Option<(InboxPath, Remembered)> {
    let path = InboxPath::from_key(&row.path)?;
    let told_refusal = (row.state == ArrivalState::Refused)
        .then(|| row.reason.as_deref().and_then(|reason| RefusalCode::parse(reason.split(':').next()?)))
        .flatten();
    let remembered = Remembered {
        identity: identity_of(&row.identity),
        first_seen: row.first_seen,
        changed_at: row.changed_at,
        told_at: row.told_at,
        told_refusal,
    };
    Some((path, remembered))
}

fn identity_text(identity: FileIdentity) -> String {
    let FileIdentity { device, inode, size, modified_ns, changed_ns } = identity;
    format!("{device}:{inode}:{size}:{modified_ns}:{changed_ns}")
}

fn identity_of(text: &str) -> Option<FileIdentity> {
    let mut parts = text.split(':');
    let identity = FileIdentity {
        device: parts.next()?.parse().ok()?,
        inode: parts.next()?.parse().ok()?,
        size: parts.next()?.parse().ok()?,
        modified_ns: parts.next()?.parse().ok()?,
        changed_ns: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(identity)
}
