//! What the daemon does again and again beside its jobs: mails, archives that could not be moved, old files, the free space.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::App;
use super::space::Space;
use crate::fsx;
use crate::mail::Mailer;
use crate::model::AdminTrouble;
use crate::outbox::Reserve;
use crate::queue::QueueHandle;
use crate::work;

/// How long archives cannot be moved before the admin is told: two daemons may meet over one.
const TOLD_AFTER: Duration = Duration::from_mins(1);

/// How often old files and unused media are looked for.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// How often the free space is looked at.
const SPACE_EVERY: Duration = Duration::from_secs(10);

/// Longest time until the mails are looked at again.
const MAIL_EVERY: Duration = Duration::from_secs(60);

impl App {
    pub(super) async fn send_mails(self, mailer: Arc<Mailer>, wake: Arc<Notify>, stop: CancellationToken) {
        let clock = &self.services.clock;
        let _ = fsx::sweep_temporaries(&self.settings.folders().mail);
        while !stop.is_cancelled() {
            match mailer.deliver_due().await {
                Ok(delivered) if delivered.is_any() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "mails cannot be sent now"),
            }
            let due = mailer.next_wake().await.ok().flatten();
            // What became due meanwhile is sent at once.
            let pause = due.map_or(MAIL_EVERY, |due| {
                let until = (due - clock.now()).to_std().unwrap_or_default();
                until.clamp(Duration::from_millis(100), MAIL_EVERY)
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified() => {}
                () = clock.sleep(pause) => {}
            }
        }
    }

    /// Moves the archives that the end of their job could not move.
    pub(super) async fn move_sources_again(self, stop: CancellationToken) {
        let clock = &self.services.clock;
        let (mut since, mut is_told) = (None, false);
        while !stop.is_cancelled() {
            match work::move_sources(&self.settings, &self.services, None).await {
                Ok(_) => (since, is_told) = (None, false),
                Err(error) => {
                    let now = clock.monotonic();
                    if since.is_none() {
                        tracing::warn!(%error, "archives of ended jobs cannot be moved now; it is tried again until they can");
                    }
                    let lasted = now.saturating_sub(*since.get_or_insert(now));
                    is_told = is_told || (lasted >= TOLD_AFTER && self.tell_of_sources(&error).await);
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep(self.settings.inbox.scan_every) => {}
            }
        }
    }

    async fn tell_of_sources(&self, error: &work::MoveError) -> bool {
        let trouble = AdminTrouble {
            subject_key: format!("sources stay {}", self.services.clock.now().format("%Y-%m-%d")),
            job: None,
            title: "Imported archives cannot be moved".to_owned(),
            what: "Archives of jobs that have ended stay in the work folder; that their accounts have their results is not touched by it."
                .to_owned(),
            why: error.to_string(),
            what_now: "Look whether eventferry may write into `done` and `rejected` and the folders in them; the rest goes by itself."
                .to_owned(),
        };
        self.tells(&trouble).await
    }

    pub(super) async fn sweep_now_and_then(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match work::sweep(&self.settings, &self.services).await {
                Ok(swept) => tracing::debug!(?swept, "the folders were swept"),
                Err(error) => tracing::warn!(%error, "the folders cannot be swept now"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.services.clock.sleep(SWEEP_EVERY) => {}
            }
        }
    }

    /// No job begins while a disk is nearly full, so that those that are open can end; where it is full to the end, the
    /// reserve in the outbox is given up for what is to be said of it.
    pub(super) async fn look_at_space(
        self,
        queue: QueueHandle,
        mail_wake: Arc<Notify>,
        shown: watch::Sender<Option<String>>,
        stop: CancellationToken,
    ) {
        let floor = self.settings.queue.free_space_floor;
        let reserve = Reserve::of(&self.settings.folders().outbox, floor);
        let mut space = Space::new(floor, reserve.bytes());
        while !stop.is_cancelled() {
            let free = self.least_free_space();
            let looked = space.look(free);
            if looked.gives_up_reserve && reserve.give_up().is_ok_and(|was_there| was_there) {
                tracing::warn!(free_bytes = free, "the disk is full; the reserve in the outbox is given up to say so");
            }
            if looked.holds {
                queue.hold_claims();
                shown.send_replace(Some(format!(
                    "only {free} bytes are free on the disk, and no job begins below {floor}"
                )));
                if looked.tells {
                    if looked.is_news {
                        tracing::warn!(free_bytes = free, floor_bytes = floor, "the disk is low; no job begins");
                    }
                    if self.tell_of_space(free, floor).await {
                        space.told();
                        mail_wake.notify_one();
                    }
                }
            } else {
                let kept = reserve.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || kept.take()).await {
                    tracing::debug!(%error, "no space can be kept back in the outbox now");
                }
                if looked.is_news {
                    if shown.send_replace(None).is_some() {
                        tracing::info!(free_bytes = free, "there is space again");
                    }
                    queue.allow_claims();
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.services.clock.sleep(SPACE_EVERY) => {}
            }
        }
    }

    /// Of the file systems that imports write to. One that cannot be asked says so elsewhere.
    fn least_free_space(&self) -> u64 {
        let folders = self.settings.folders();
        let asked = [&folders.root, &folders.work, &folders.outbox, &folders.media];
        asked.into_iter().filter_map(|folder| fsx::free_space(folder).ok()).min().unwrap_or(u64::MAX)
    }

    async fn tell_of_space(&self, free: u64, floor: u64) -> bool {
        let trouble = AdminTrouble {
            subject_key: format!("disk low {}", self.services.clock.now().format("%Y-%m-%d")),
            job: None,
            title: "The disk is nearly full".to_owned(),
            what: format!("Only {free} bytes are free; no import begins below {floor} bytes."),
            why: format!("`{}` lies on a disk that is nearly full.", self.settings.folders().work.display()),
            what_now: "Make room; the imports go on by themselves.".to_owned(),
        };
        self.tells(&trouble).await
    }

    /// Whether the admin could be told.
    async fn tells(&self, trouble: &AdminTrouble) -> bool {
        let told = work::tell_admin(&self.settings, &self.services, &self.templates, trouble).await;
        told.inspect_err(|error| tracing::warn!(%error, "the admin cannot be told now")).is_ok()
    }
}
