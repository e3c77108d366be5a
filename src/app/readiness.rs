//! Whether the daemon can do what it is there for: one word over database, inbox and disk.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::inbox::{Health, InboxView};

/// Whether dropped archives are imported now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It begins; not everything was looked at yet.
    #[default]
    Starting,
    /// They are.
    Ready,
    /// They wait: with the reasons. It passes by itself when those have gone.
    NotReady(String),
}

/// What readiness is made of.
pub(super) struct Sources {
    /// Why the queue cannot work with the database.
    pub(super) database: watch::Receiver<Option<Arc<str>>>,
    /// How the inbox stands; it does not change where none is watched.
    pub(super) inbox: watch::Receiver<InboxView>,
    /// Why the disk takes no more.
    pub(super) disk: watch::Receiver<Option<String>>,
}

impl Sources {
    fn readiness(&mut self, is_watched: bool) -> Readiness {
        let mut reasons = Vec::new();
        if let Some(why) = self.database.borrow_and_update().as_deref() {
            reasons.push(format!("the database does not do what it should: {why}"));
        }
        let inbox = self.inbox.borrow_and_update().clone();
        match inbox.health {
            // Where the database is away, the inbox can only say the same.
            Health::Paused(why) if reasons.is_empty() => reasons.push(why),
            Health::Paused(_) | Health::Good | Health::Degraded(_) => {}
        }
        if let Some(why) = self.disk.borrow_and_update().clone() {
            reasons.push(why);
        }
        if !reasons.is_empty() {
            return Readiness::NotReady(reasons.join("; "));
        }
        if is_watched && inbox.scans == 0 { Readiness::Starting } else { Readiness::Ready }
    }
}

/// Keeps `shown` up to date, and says in the log when it changes.
pub(super) async fn keep(
    mut sources: Sources,
    is_watched: bool,
    shown: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    loop {
        let now = sources.readiness(is_watched);
        let before = shown.borrow().clone();
        if now != before {
            match (&before, &now) {
                (Readiness::NotReady(_), Readiness::Ready) => {
                    tracing::info!("ready again: archives that are dropped are imported");
                }
                (Readiness::Starting | Readiness::Ready, Readiness::NotReady(why)) => {
                    tracing::warn!(why, "not ready: archives that are dropped wait until this has passed");
                }
                // Told by the command that runs the daemon; or it only has another reason.
                _ => {}
            }
            shown.send_replace(now);
        }
        // Each ends only with the daemon.
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = sources.database.changed() => changed,
            changed = sources.inbox.changed(), if is_watched => changed,
            changed = sources.disk.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_database_inbox_and_disk_are_and_says_why_not() {
        let (database, database_seen) = watch::channel(None);
        let (inbox, inbox_seen) = watch::channel(InboxView::default());
        let (disk, disk_seen) = watch::channel(None);
        let mut sources = Sources { database: database_seen, inbox: inbox_seen, disk: disk_seen };
        assert_eq!(sources.readiness(false), Readiness::Ready);
        assert_eq!(sources.readiness(true), Readiness::Starting);
        inbox.send_modify(|view| view.scans = 1);
        assert_eq!(sources.readiness(true), Readiness::Ready);
        inbox.send_modify(|view| view.health = Health::Degraded("no watches".to_owned()));
        assert_eq!(sources.readiness(true), Readiness::Ready);
        inbox.send_modify(|view| view.health = Health::Paused("the inbox is missing".to_owned()));
        assert_eq!(sources.readiness(true), Readiness::NotReady("the inbox is missing".to_owned()));
        database.send_replace(Some(Arc::from("nothing answers")));
        disk.send_replace(Some("the disk is full".to_owned()));
        assert_eq!(
            sources.readiness(true),
            Readiness::NotReady(
                "the database does not do what it should: nothing answers; the disk is full".to_owned()
            )
        );
        database.send_replace(None);
        disk.send_replace(None);
        inbox.send_modify(|view| view.health = Health::Good);
        assert_eq!(sources.readiness(true), Readiness::Ready);
    }
}
