//! Mails as files, for those who have no mail server (yet) and for tests.

use std::io;
use std::path::Path;

use super::compose::Composed;
use super::send::{Scope, SendOutcome};
use crate::fsx;

/// Longest part of a file name that an address makes, in bytes.
const ADDRESS_BYTES: usize = 64;

/// Longest part of a file name that a Message-ID makes, in bytes; what tells mails apart stands in front.
const ID_BYTES: usize = 120;

/// Writes the mail as `<time>_<kind>_<to>_<message id>.eml`; a file of that name is the same mail and stays as it is.
pub(super) async fn send(folder: &Path, mail: &Composed) -> SendOutcome {
    let (path, bytes) = (folder.join(file_name(mail)), mail.bytes());
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || write_once(&path, &bytes)).await;
    match written.map_err(io::Error::other).and_then(|result| result) {
        Ok(()) => SendOutcome::Accepted,
        Err(error) => SendOutcome::TryLater {
            reason: format!("cannot write the mail `{shown}`: {error}"),
            scope: Scope::Transport,
        },
    }
}

fn file_name(mail: &Composed) -> String {
    let to: Vec<String> = mail.message.envelope().to().iter().map(ToString::to_string).collect();
    let to = plain(&to.join("+"), ADDRESS_BYTES);
    let id = plain(mail.message_id.trim_matches(['<', '>']), ID_BYTES);
    format!("{}_{}_{to}_{id}.eml", mail.date.format("%Y%m%dT%H%M%SZ"), mail.kind)
}

/// Only characters that every file system takes, and none in front that hides a file.
fn plain(text: &str, bytes: usize) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '+' | '-' | '_');
    text.chars().map(|c| if safe(c) { c } else { '-' }).take(bytes).collect()
}

/// A crash leaves what `fsx` says; a second try writes the same bytes under the same name.
fn write_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fsx::create_folders(folder)?;
    }
    fsx::write_atomic(path, bytes)
}
