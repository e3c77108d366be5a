//! The inbox's loop.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::blocking;
use super::hooks::{Health, HookError, Hooks, InboxView};
use super::mount::Mount;
use super::path::InboxPath;
use super::recover::recover;
use super::rows;
use super::scan::{self, Folders, PAGE};
use super::settling::{Arrival, Moment, Patience, RefusalCode, Settling, Stand};
use super::watch::InboxWatch;
use crate::clock::Clock;
use crate::db::{Database, DbError};
use crate::fsx::FileIdentity;
use crate::model::JobId;
use crate::signal::{Injected, Signals};
use crate::store::arrivals::{self, ArrivalRow};

/// Most files that are kept in mind; more wait in the inbox until some of those have gone.
const MOST_TRACKED: usize = 50_000;

/// Shortest time between two scans, however many events ask for them.
const SHORTEST_SCAN_PAUSE: Duration = Duration::from_millis(250);

/// How long the inbox rests after trouble with the database or the work folder, unless the next scan comes sooner.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// How often a busy inbox shows how it stands.
const VIEW_EVERY: Duration = Duration::from_secs(1);

/// How the inbox works.
#[derive(Clone, Debug)]
pub struct InboxOptions {
    /// Where drops are looked for.
    pub folders: Folders,
    /// How long it waits for what.
    pub patience: Patience,
    /// How long between two scans of everything.
    pub scan_every: Duration,
    /// Whether the kernel's events wake it in between.
    pub watch: bool,
}

/// What the inbox works with.
#[derive(Clone, Debug)]
pub struct InboxDeps {
    /// Time and ids.
    pub clock: Clock,
    /// Points for tests.
    pub signals: Signals,
    /// Where the arrivals are kept.
    pub database: Database,
    /// The rest of the daemon.
    pub hooks: Hooks,
}

/// Watches the inbox until `cancel`, and shows in `view` how it stands each time it comes to rest, and once a second
/// while it is busy. No claim is left half
/// done by `cancel`. Trouble outside (database, disk, a missing inbox) pauses it and is shown; it ends only by `cancel`.
///
/// # Errors
/// Only what a test has injected.
pub async fn run(
    options: InboxOptions,
    deps: InboxDeps,
    view: channel::Sender<InboxView>,
    cancel: CancellationToken,
) -> Result<(), Injected> {
    let mut inbox = Inbox::new(options, deps);
    let wakes = inbox.watch.as_ref().map(InboxWatch::wakes);
    while !cancel.is_cancelled() {
        inbox.take_in_changes().await;
        if inbox.is_scan_due() {
            inbox.scan().await;
        }
        let acted = inbox.act(&cancel).await?;
        inbox.save_rows().await;
        let now = inbox.now().monotonic;
        let is_busy = acted && inbox.trouble.is_none();
        if !is_busy || now >= inbox.next_view {
            inbox.next_view = now + VIEW_EVERY;
            view.send_replace(inbox.view(is_busy));
        }
        if is_busy {
            continue;
        }
        let rest = inbox.rest();
        tokio::select! {
            () = cancel.cancelled() => {}
            () = inbox.deps.clock.sleep(rest) => {}
            () = async {
                match &wakes {
                    Some(wakes) => wakes.woken().await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
    Ok(())
}

/// Everything the loop keeps in mind.
pub(super) struct Inbox {
    pub(super) options: InboxOptions,
    pub(super) deps: InboxDeps,
    pub(super) settling: Settling,
    /// Jobs whose rows are known to be there.
    pub(super) recorded: HashSet<JobId>,
    /// Files whose rows may differ from what is in the table.
    pub(super) unsaved: BTreeSet<InboxPath>,
    pub(super) claimed: u64,
    /// Why nothing is claimed until the next scan.
    pub(super) trouble: Option<String>,
    saved: HashMap<InboxPath, ArrivalRow>,
    is_restored: bool,
    watch: Option<InboxWatch>,
    mount: Mount,
    next_scan: Duration,
    next_view: Duration,
    last_scan: Option<Duration>,
    /// Whether the last scan left files out because too many wait already.
    is_full: bool,
    scans: u64,
    overflows: u64,
    health: Health,
}

impl Inbox {
    fn new(options: InboxOptions, deps: InboxDeps) -> Self {
        Self {
            settling: Settling::new(options.patience),
            watch: options.watch.then(|| InboxWatch::new(&options.folders.inbox)),
            options,
            deps,
            recorded: HashSet::new(),
            unsaved: BTreeSet::new(),
            claimed: 0,
            trouble: None,
            saved: HashMap::new(),
            is_restored: false,
            mount: Mount::default(),
            next_scan: Duration::ZERO,
            next_view: Duration::ZERO,
            last_scan: None,
            is_full: false,
            scans: 0,
            overflows: 0,
            health: Health::Good,
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.deps.clock)
    }

    /// Notes trouble that passes: nothing more is claimed before the next scan, which comes soon.
    pub(super) fn rest_because(&mut self, why: String) {
        self.next_scan = self.next_scan.min(self.now().monotonic + TROUBLE_PAUSE);
        self.trouble = Some(why);
    }

    fn is_scan_due(&self) -> bool {
        self.next_scan <= self.now().monotonic
    }

    /// How long nothing is to be done, as far as is known.
    fn rest(&self) -> Duration {
        let now = self.now().monotonic;
        let due = if self.trouble.is_none() { self.settling.next_due(now) } else { None };
        due.map_or(self.next_scan, |due| due.min(self.next_scan)).saturating_sub(now)
    }

    /// Looks where events have pointed.
    async fn take_in_changes(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let changes = watch.changes();
        self.overflows += changes.overflows;
        if changes.overflows > 0 {
            warn!(overflows = self.overflows, "The kernel dropped events; the whole inbox is scanned instead");
        }
        let mut asks_for_scan = changes.everything;
        let folders = self.options.folders.clone();
        let now = self.now();
        let looked = blocking(move || look_at(&folders, changes.paths)).await;
        for (path, look) in looked.unwrap_or_default() {
            match look {
                Look::Sight(identity, arrival) => self.observe(path, identity, arrival, now),
                Look::Gone => self.forget(&path),
                Look::AccountFolder => asks_for_scan = true,
            }
        }
        if asks_for_scan {
            self.rescan_soon();
        }
    }

    /// Brings the next scan forward, but not so far that events alone could keep the inbox scanning.
    pub(super) fn rescan_soon(&mut self) {
        let soonest = self.last_scan.map_or(Duration::ZERO, |last| last + SHORTEST_SCAN_PAUSE);
        self.next_scan = self.next_scan.min(soonest);
    }

    /// Looks at everything, and mends what crashes and outages have left.
    async fn scan(&mut self) {
        self.trouble = None;
        self.next_scan = self.now().monotonic + self.options.scan_every;
        if let Err(why) = self.scan_or_fail().await {
            self.rest_because(why);
        }
        self.last_scan = Some(self.now().monotonic);
    }

    async fn scan_or_fail(&mut self) -> Result<(), String> {
        let said = |error: HookError| error.to_string();
        let (mut mount, inbox) = (self.mount.clone(), self.options.folders.inbox.clone());
        let (mount, checked) = blocking(move || {
            let checked = mount.check(&inbox);
            (mount, checked)
        })
        .await
        .map_err(said)?;
        self.mount = mount;
        checked?;
        self.restore().await?;
        let now = self.now();
        let adopted = recover(&self.options.folders, &self.deps.hooks, &mut self.recorded, now).await;
        self.claimed += adopted.map_err(said)?.len() as u64;
        self.arm().await.map_err(said)?;
        self.read_pages().await.map_err(said)?;
        self.scans += 1;
        Ok(())
    }

    /// Takes up what was known before the start, once the database answers.
    async fn restore(&mut self) -> Result<(), String> {
        if self.is_restored {
            return Ok(());
        }
        let rows = arrivals::list(&self.deps.database).await.map_err(|error| error.to_string())?;
        let now = self.now();
        for row in rows {
            if let Some((path, remembered)) = rows::from_row(&row) {
                self.settling.restore(path.clone(), remembered, now);
                self.saved.insert(path, row);
            }
        }
        self.is_restored = true;
        Ok(())
    }

    /// Watches the folders that are there, before they are read.
    async fn arm(&mut self) -> Result<(), HookError> {
        let Some(mut watch) = self.watch.take() else { return Ok(()) };
        let folders = self.options.folders.clone();
        let (watch, there) = blocking(move || {
            let there = scan::folders(&folders);
            if let Ok(there) = &there {
                watch.arm(there);
            }
            (watch, there)
        })
        .await?;
        self.watch = Some(watch);
        there?;
        Ok(())
    }

    async fn read_pages(&mut self) -> Result<(), HookError> {
        let mut seen = BTreeSet::new();
        let mut unreadable = BTreeSet::new();
        let mut after = None;
        self.is_full = false;
        loop {
            let folders = self.options.folders.clone();
            let now = self.now();
            let page = blocking(move || scan::page(&folders, after.as_ref(), PAGE)).await??;
            for (path, error) in page.unreadable {
                let reason = format!("this cannot be read ({error}); let eventferry read it");
                self.settling.refuse(path.clone(), RefusalCode::Permission, reason, now);
                self.unsaved.insert(path.clone());
                unreadable.insert(path);
            }
            for sight in page.sights {
                seen.insert(sight.path.clone());
                self.observe(sight.path, sight.identity, Arrival::Seen, now);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            if self.settling.len() >= MOST_TRACKED {
                self.is_full = true;
                break;
            }
        }
        self.forget_unseen(&seen, &unreadable).await
    }

    /// Forgets files that are gone. Those in a folder that could not be read this time are not.
    async fn forget_unseen(
        &mut self,
        seen: &BTreeSet<InboxPath>,
        unreadable: &BTreeSet<InboxPath>,
    ) -> Result<(), HookError> {
        let is_hidden = |path: &InboxPath| {
            unreadable.contains(path)
                || path.folder.as_ref().is_some_and(|folder| unreadable.contains(&InboxPath::new(None, folder.clone())))
        };
        let mut unseen: Vec<InboxPath> = self
            .settling
            .iter()
            .map(|(path, _)| path)
            .filter(|path| !seen.contains(*path) && !is_hidden(path))
            .cloned()
            .collect();
        if self.is_full {
            // What was not seen may lie behind the point where the scan has stopped.
            let inbox = self.options.folders.inbox.clone();
            unseen = blocking(move || {
                unseen.retain(|path| matches!(scan::look(&inbox, path), Ok(None)));
                unseen
            })
            .await?;
        }
        for path in unseen {
            self.forget(&path);
        }
        let long_ago = self.now().wall - self.options.scan_every;
        let slow = self.settling.iter().filter(|(_, waiting)| {
            waiting.stand == Stand::Settling && waiting.first_seen <= long_ago && !waiting.is_told_refusal()
        });
        self.unsaved.extend(slow.map(|(path, _)| path.clone()));
        Ok(())
    }

    pub(super) fn observe(&mut self, path: InboxPath, identity: FileIdentity, arrival: Arrival, now: Moment) {
        if self.settling.len() < MOST_TRACKED || self.settling.get(&path).is_some() {
            self.settling.observe(path, identity, arrival, now);
        } else {
            self.is_full = true;
        }
    }

    pub(super) fn forget(&mut self, path: &InboxPath) {
        self.settling.forget(path);
        if self.saved.contains_key(path) {
            self.unsaved.insert(path.clone());
        }
    }

    /// Brings the table of arrivals up to date with what has changed.
    async fn save_rows(&mut self) {
        if self.unsaved.is_empty() || !self.is_restored {
            return;
        }
        let changed: Vec<(InboxPath, Option<ArrivalRow>)> = std::mem::take(&mut self.unsaved)
            .into_iter()
            .map(|path| {
                let row = self.settling.get(&path).map(|waiting| rows::to_row(&self.options.folders, &path, waiting));
                (path, row)
            })
            .filter(|(path, row)| self.saved.get(path) != row.as_ref() && !self.keeps_its_row(path))
            .collect();
        if changed.is_empty() {
            return;
        }
        match self.write_rows(&changed).await {
            Ok(()) => {
                for (path, row) in changed {
                    match row {
                        Some(row) => self.saved.insert(path, row),
                        None => self.saved.remove(&path),
                    };
                }
            }
            Err(error) => {
                self.unsaved.extend(changed.into_iter().map(|(path, _)| path));
                self.rest_because(error.to_string());
            }
        }
    }

    /// Whether the row of a refusal that was told stays until the file has come to rest again.
    fn keeps_its_row(&self, path: &InboxPath) -> bool {
        self.settling.get(path).is_some_and(|waiting| waiting.stand == Stand::Settling && waiting.is_told_refusal())
    }

    async fn write_rows(&self, changed: &[(InboxPath, Option<ArrivalRow>)]) -> Result<(), DbError> {
        let mut tx = self.deps.database.begin().await?;
        for (path, row) in changed {
            match row {
                Some(row) => arrivals::save(&mut tx, row).await?,
                None => arrivals::forget(&mut tx, &path.key()).await?,
            }
        }
        tx.commit().await
    }

    fn view(&mut self, is_busy: bool) -> InboxView {
        let health = self.judge_health();
        if health != self.health {
            match &health {
                Health::Good => info!("The inbox works as it should again"),
                Health::Degraded(reason) => warn!(reason, "The inbox works more slowly"),
                Health::Paused(reason) => warn!(reason, "The inbox is paused"),
            }
            self.health = health.clone();
        }
        let mut view = InboxView {
            health,
            is_busy,
            scans: self.scans,
            claimed: self.claimed,
            overflows: self.overflows,
            ..InboxView::default()
        };
        for (_, waiting) in self.settling.iter() {
            match &waiting.stand {
                Stand::Settling => view.settling += 1,
                Stand::Incomplete(_) => view.incomplete += 1,
                Stand::Refused(..) => view.refused += 1,
                Stand::Nothing => {}
            }
        }
        view
    }

    fn judge_health(&self) -> Health {
        if let Some(trouble) = &self.trouble {
            return Health::Paused(trouble.clone());
        }
        if self.is_full {
            return Health::Degraded(format!(
                "more than {MOST_TRACKED} files wait in the inbox, most of them incomplete or refused; some are not looked \
                 at before others have gone"
            ));
        }
        match self.watch.as_ref().and_then(InboxWatch::failure) {
            Some(failure) => Health::Degraded(failure.to_owned()),
            None => Health::Good,
        }
    }
}

/// What lies where an event has pointed.
enum Look {
    Sight(FileIdentity, Arrival),
    Gone,
    AccountFolder,
}

fn look_at(folders: &Folders, paths: BTreeMap<PathBuf, Arrival>) -> Vec<(InboxPath, Look)> {
    let mut looks = Vec::with_capacity(paths.len());
    for (full, arrival) in paths {
        let Some(path) = InboxPath::of(&folders.inbox, &full) else { continue };
        if folders.ignored.covers(&path.name) {
            continue;
        }
        if path.folder.is_none() && scan::is_account_folder(folders, &path.name) {
            looks.push((path, Look::AccountFolder));
            continue;
        }
        match scan::look(&folders.inbox, &path) {
            Ok(Some(identity)) => looks.push((path, Look::Sight(identity, arrival))),
            Ok(None) => looks.push((path, Look::Gone)),
            // The next scan will say why.
            Err(_) => {}
        }
    }
    looks
}
