//! Who is told of what was imported, and how the import and those who deliver wake each other.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::handler::Interest;
use crate::pace::next_change;

/// Handlers that want to be told. Clones are the same.
#[derive(Clone, Debug)]
pub struct Audience {
    /// What each handler is told of; changes with the configuration.
    pub interests: watch::Receiver<Arc<[Interest]>>,
    /// Rings when messages were written.
    pub written: Bell,
    /// Rings when messages were delivered, or something else has changed that an import may wait for.
    pub delivered: Bell,
}

impl Audience {
    /// With handlers that may change.
    pub fn new(interests: watch::Receiver<Arc<[Interest]>>) -> Self {
        Self { interests, written: Bell::default(), delivered: Bell::default() }
    }

    /// Nobody is told of anything.
    pub fn nobody() -> Self {
        let (_, interests) = watch::channel(Vec::new().into());
        Self::new(interests)
    }

    /// The handlers that are told of anything of this account.
    pub fn of_account(&self, account: &str) -> Vec<Interest> {
        self.interests.borrow().iter().filter(|interest| interest.listens_to(account)).cloned().collect()
    }
}

/// Something that can be waited for, and happens again and again. Clones are the same bell.
#[derive(Clone, Debug)]
pub struct Bell {
    rung: watch::Sender<u64>,
}

/// Hears a bell: every ringing since it began to listen, or since it heard the last one.
#[derive(Debug)]
pub struct Listener {
    rung: watch::Receiver<u64>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: watch::channel(0).0 }
    }
}

impl Bell {
    /// Wakes everybody who listens.
    pub fn ring(&self) {
        self.rung.send_modify(|rung| *rung = rung.wrapping_add(1));
    }

    /// Begins to listen.
    pub fn listen(&self) -> Listener {
        Listener { rung: self.rung.subscribe() }
    }
}

impl Listener {
    /// Waits for the next ringing; for ever where the bell is gone.
    pub async fn heard(&mut self) {
        next_change(&mut self.rung).await;
    }
}
