//! Hands a composed mail over: to a folder, or to a mail server.

use std::path::PathBuf;

use super::compose::Composed;
use super::file;
use super::smtp::{self, Smtp};
use crate::clock::Clock;

/// Where mails go.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Each mail is a file in a folder.
    File {
        /// The folder; made where it is not there.
        folder: PathBuf,
    },
    /// A mail server.
    Smtp(Smtp),
    /// Nowhere.
    None,
}

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is delivered.
    Accepted,
    /// It was not delivered, and a later try may succeed.
    TryLater {
        /// What happened, in a sentence for the admin; no password in it.
        reason: String,
        /// Whom it concerns.
        scope: Scope,
    },
    /// It was not delivered and never will be.
    Refused {
        /// What the server said.
        reason: String,
    },
}

/// How far a trouble reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every mail: no server, no encryption, no log-in, no folder.
    Transport,
    /// This mail: the server took it and did not keep it.
    Mail,
}

/// Tries once to deliver a mail.
///
/// The folder keeps one file per Message-ID, so a second try there changes nothing; a server may get it twice, with
/// the same Message-ID.
pub async fn send(transport: &Transport, mail: &Composed, clock: &Clock) -> SendOutcome {
    match transport {
        Transport::File { folder } => file::send(folder, mail).await,
        Transport::Smtp(settings) => smtp::send(settings, mail, clock).await,
        Transport::None => {
            SendOutcome::Refused { reason: "no mail is sent here: `mail.transport` is \"none\"".to_owned() }
        }
    }
}
