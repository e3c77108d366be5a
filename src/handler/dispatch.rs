//! Serves handlers: takes what is due, keeps the bounds, writes down what came of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::retry::LONGEST;
use super::{Attempt, Receiver};
use crate::clock::{Clock, Timestamp};
use crate::config::HandlerEntry;
use crate::db::{Database, DbError};
use crate::model::AdminTrouble;
use crate::pace::{Audience, Bell, Listener, next_change};
use crate::signal::{FailPoint, Injection, Signals};
use crate::store::deliveries::{self, DueDelivery};
use crate::store::handlers::{self, Fence, HandlerRow, HandlerState};
use crate::store::jobs::OwnerId;
use crate::store::mails::NewMail;
use crate::store::notifications::NewNotification;

/// How often handlers are looked at when nothing reports anything.
const POLL: Duration = Duration::from_secs(1);

/// How often a process shows that it serves a handler.
const BEAT: Duration = Duration::from_secs(10);

/// How long the process that serves a handler may give no sign of life before another takes over.
const LEASE: Duration = Duration::from_secs(45);

/// How long before the end of its lease a process stops sending that could not renew it.
const MARGIN: Duration = Duration::from_secs(15);

/// How long messages under way are waited for at a soft stop. A reload does not end them.
const GRACE: Duration = Duration::from_secs(10);

/// How long what came of messages is collected before it is written down.
const COLLECT: Duration = Duration::from_millis(50);

/// Messages whose outcome is written down at once, however short the time.
const MANY: usize = 64;

/// Messages that are taken ahead, for each that may be under way.
const AHEAD: usize = 16;

/// Messages of which one transaction forgets those that are old.
const FORGET_AT_ONCE: i64 = 1_000;

/// Makes the rows with which the admin is told.
pub type Tell = Arc<dyn Fn(&AdminTrouble) -> (NewMail, NewNotification) + Send + Sync>;

/// Serves the handlers of the configuration.
#[derive(Clone)]
pub struct Dispatcher {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Fail points.
    pub signals: Signals,
    /// Whom imports wake, and who wakes them.
    pub audience: Audience,
    /// Tells the admin.
    pub tell: Tell,
    /// Rings when there is a mail to send.
    pub mail_wake: Arc<tokio::sync::Notify>,
    /// As whom it serves them: the queue of this process gives back what a dead one has served.
    pub owner: OwnerId,
    /// Whether no other process can serve the same database: whoever did has died.
    pub is_alone: bool,
}

/// Asks after a dispatcher. Clones are the same one's.
#[derive(Clone, Debug)]
pub struct Dispatching {
    looks: Arc<Looks>,
    written: Bell,
}

/// How often somebody has asked, and what each server has seen since.
#[derive(Debug, Default)]
struct Looks {
    asked: AtomicU64,
    seen: watch::Sender<HashMap<String, Look>>,
}

/// What a server saw in its last look.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// How often somebody had asked when it began.
    number: u64,
    /// Whether nothing was under way, and nothing could be sent.
    rests: bool,
}

impl Dispatching {
    /// Waits until every handler was looked at after this call, and has no message that is due and can be sent now.
    pub async fn idle(&self) {
        let number = self.looks.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut seen = self.looks.seen.subscribe();
        self.written.ring();
        let is_idle = |look: &Look| look.number >= number && look.rests;
        // The sender lives in `looks`, which this future borrows: it cannot be closed.
        let _ = seen.wait_for(|seen| seen.values().all(is_idle)).await;
    }
}

impl Dispatcher {
    /// Serves the handlers that `entries` holds, whatever changes, until `stop` is set; then waits for messages under way.
    /// Trouble with the database never ends it. What it returns at once tells how it does.
    pub fn run(
        self,
        entries: watch::Receiver<Arc<[HandlerEntry]>>,
        stop: CancellationToken,
    ) -> (Dispatching, impl Future<Output = ()> + Send) {
        let looks = Arc::new(Looks::default());
        looks.serve(&entries.borrow());
        let dispatching = Dispatching { looks: Arc::clone(&looks), written: self.audience.written.clone() };
        (dispatching, self.serve_all(entries, looks, stop))
    }

    async fn serve_all(
        self,
        mut entries: watch::Receiver<Arc<[HandlerEntry]>>,
        looks: Arc<Looks>,
        stop: CancellationToken,
    ) {
        let owner = self.owner.to_string();
        let (mut servers, mut at_work) = (JoinSet::new(), HashSet::new());
        while !stop.is_cancelled() {
            let served = entries.borrow_and_update().clone();
            looks.serve(&served);
            for entry in served.iter() {
                if at_work.insert(entry.interest.handler.clone()) {
                    let server = Server::new(self.clone(), entry.clone(), owner.clone(), Arc::clone(&looks));
                    servers.spawn(server.serve(entries.clone(), stop.clone()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = next_change(&mut entries) => {}
                Some(left) = servers.join_next(), if !servers.is_empty() => {
                    // By now its handler may be back in the configuration.
                    if let Ok(Some(handler)) = left {
                        at_work.remove(&handler);
                    }
                }
            }
        }
        while servers.join_next().await.is_some() {}
    }
}

impl Looks {
    /// These handlers are served, and no others.
    fn serve(&self, entries: &[HandlerEntry]) {
        self.seen.send_modify(|seen| {
            seen.retain(|name, _| entries.iter().any(|entry| entry.interest.handler == *name));
            for entry in entries {
                seen.entry(entry.interest.handler.clone()).or_default();
            }
        });
    }
}

/// What a process has seen of another one that serves the handler.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: i64,
    beat: i64,
    at: Duration,
}

/// Serves one handler.
pub(super) struct Server {
    pub(super) shared: Dispatcher,
    pub(super) entry: HandlerEntry,
    receiver: Arc<Result<Receiver, String>>,
    owner: String,
    looks: Arc<Looks>,
    fence: Option<Fence>,
    seen: Option<Seen>,
    beaten: Duration,
    /// Taken, and not yet under way.
    ready: VecDeque<DueDelivery>,
    under_way: JoinSet<(DueDelivery, Result<Attempt, Injection>)>,
    pub(super) done: Vec<(DueDelivery, Attempt)>,
    /// When the first of `done` came.
    done_since: Option<Duration>,
    /// Messages that are ready, under way or done: their rows say nothing of it.
    busy: HashSet<i64>,
    /// Whether nothing may be sent now.
    is_held: bool,
    /// Whether the handler is no longer in the configuration.
    is_retired: bool,
    forgotten: Duration,
    /// Since when it takes nothing, as the admin knows.
    pub(super) told_down: Option<Timestamp>,
    said_trouble: bool,
    is_dead: bool,
}

impl Server {
    fn new(shared: Dispatcher, entry: HandlerEntry, owner: String, looks: Arc<Looks>) -> Self {
        let receiver = receiver_of(&entry, &shared.clock);
        Self {
            shared,
            entry,
            receiver,
            owner,
            looks,
            fence: None,
            seen: None,
            beaten: Duration::ZERO,
            ready: VecDeque::new(),
            under_way: JoinSet::new(),
            done: Vec::new(),
            done_since: None,
            busy: HashSet::new(),
            is_held: true,
            is_retired: false,
            forgotten: Duration::ZERO,
            told_down: None,
            said_trouble: false,
            is_dead: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.entry.interest.handler
    }

    /// Messages whose end is still to be written down: what comes of them decides, whatever becomes of the others.
    pub(super) fn busy(&self) -> Vec<i64> {
        self.busy.iter().copied().collect()
    }

    /// Serves the handler as `entries` have it, until they no longer do and nothing is under way, or until `stop` is set.
    /// Returns its name where it may be served again.
    async fn serve(
        mut self,
        mut entries: watch::Receiver<Arc<[HandlerEntry]>>,
        stop: CancellationToken,
    ) -> Option<String> {
        let mut written = self.shared.audience.written.listen();
        while !stop.is_cancelled() && !self.is_dead && !self.has_retired() {
            let wait = self.look().await;
            self.send();
            self.wait(wait, &mut written, &mut entries, &stop).await;
        }
        if self.is_dead {
            return None;
        }
        self.end().await;
        Some(self.entry.interest.handler)
    }

    /// Whether the handler is no longer in the configuration, and nothing is under way to it.
    fn has_retired(&self) -> bool {
        self.is_retired && self.busy.is_empty()
    }

    /// Takes over what the configuration says by now. What is under way goes on as it was begun.
    fn adopt(&mut self, entries: &[HandlerEntry]) {
        let entry = entries.iter().find(|entry| entry.interest.handler == self.name());
        self.is_retired = entry.is_none();
        self.is_held |= self.is_retired;
        if let Some(entry) = entry {
            self.receiver = receiver_of(entry, &self.shared.clock);
            self.entry = entry.clone();
        }
    }

    /// One look at everything; says how long until the next one, where nothing happens.
    async fn look(&mut self) -> Duration {
        match self.round().await {
            Ok(wait) => {
                if std::mem::take(&mut self.said_trouble) {
                    tracing::info!(handler = self.name(), "the database answers the handler again");
                }
                wait
            }
            Err(error) => {
                if !std::mem::replace(&mut self.said_trouble, true) {
                    tracing::error!(%error, handler = self.name(), "messages cannot be read or noted; it is tried again");
                }
                // Whatever is under way goes on, and what came of it is kept until it can be written.
                POLL * 2
            }
        }
    }

    async fn round(&mut self) -> Result<Duration, DbError> {
        let asked = self.looks.asked.load(Ordering::Relaxed);
        let database = self.shared.database.clone();
        if self.fence.is_none() && !self.take().await? {
            self.tell_look(asked, true);
            return Ok(POLL);
        }
        let Some(row) = handlers::get(&database, self.name()).await? else {
            // Somebody has removed it: it is begun anew.
            self.fence = None;
            return Ok(Duration::ZERO);
        };
        let now = self.shared.clock.now();
        let resting = row.rest_until.filter(|until| *until > now && *until <= now + longest());
        // What the receiver has just asked for is in the row only after the next writing.
        let wants_rest = self.done.iter().any(|(_, attempt)| asks_for_rest(attempt));
        self.is_held = row.state != HandlerState::On || resting.is_some() || wants_rest || self.is_retired;
        let due =
            if self.is_held || self.ready.len() >= self.entry.concurrency { Vec::new() } else { self.due(now).await? };
        let writes = !self.done.is_empty() || !due.is_empty() || self.shared.clock.monotonic() >= self.beaten + BEAT;
        let has_work = !due.is_empty() || !self.done.is_empty();
        if writes && !self.write(&row, due, now).await? {
            return Ok(Duration::ZERO);
        }
        if row.state == HandlerState::Off {
            self.put_aside(&row, now).await?;
        }
        self.tell_if_down(&row, now).await?;
        self.forget(now).await?;
        let next = deliveries::next_due(&database, self.name()).await?;
        self.tell_look(asked, self.busy.is_empty() && !has_work);
        if has_work && self.busy.is_empty() {
            // What was delivered may have kept others waiting.
            return Ok(Duration::ZERO);
        }
        Ok(self.wait_after(next.into_iter().chain(resting).min(), now))
    }

    /// How long until something is due, at most until the next look.
    fn wait_after(&self, next: Option<Timestamp>, now: Timestamp) -> Duration {
        let until = next.and_then(|next| (next - now).to_std().ok()).filter(|until| !until.is_zero());
        until.map_or(POLL, |until| until.min(POLL))
    }

    fn tell_look(&self, number: u64, rests: bool) {
        self.looks.seen.send_modify(|seen| {
            // Nobody waits for one that is no longer in the configuration.
            if let Some(look) = seen.get_mut(self.name()) {
                *look = Look { number, rests };
            }
        });
    }

    /// Becomes the one that serves the handler, unless another process does and lives.
    async fn take(&mut self) -> Result<bool, DbError> {
        let (database, clock) = (&self.shared.database, &self.shared.clock);
        handlers::begin(database, self.name(), clock.now()).await?;
        let Some(row) = handlers::get(database, self.name()).await? else { return Ok(false) };
        let at = clock.monotonic();
        let is_same = |seen: &Seen| seen.epoch == row.epoch && seen.beat == row.beat;
        let seen = self.seen.filter(is_same).unwrap_or(Seen { epoch: row.epoch, beat: row.beat, at });
        self.seen = Some(seen);
        let is_free = row.owner.is_none() || self.shared.is_alone || at.saturating_sub(seen.at) >= LEASE;
        if !is_free {
            return Ok(false);
        }
        let Some(epoch) = handlers::take(database, self.name(), &self.owner, row.epoch).await? else {
            return Ok(false);
        };
        self.beaten = at;
        self.fence = Some(Fence { handler: self.name().to_owned(), owner: self.owner.clone(), epoch });
        Ok(true)
    }

    /// What may be sent next.
    async fn due(&self, now: Timestamp) -> Result<Vec<DueDelivery>, DbError> {
        let wanted = self.entry.concurrency * AHEAD;
        // Those that are busy still look due.
        let limit = i64::try_from(wanted + self.busy.len()).unwrap_or(i64::MAX);
        let database = &self.shared.database;
        let due = deliveries::due(database, self.name(), now, now + longest(), limit).await?;
        Ok(due.into_iter().filter(|message| !self.busy.contains(&message.id)).take(wanted).collect())
    }

    /// Notes what came of messages and which are taken, in one transaction; false where the handler is another's by now.
    async fn write(&mut self, row: &HandlerRow, due: Vec<DueDelivery>, now: Timestamp) -> Result<bool, DbError> {
        let Some(fence) = self.fence.clone() else { return Ok(false) };
        let mut tx = self.shared.database.begin().await?;
        if !handlers::beat(&mut tx, &fence).await? {
            tracing::warn!(handler = self.name(), "another daemon serves the handler by now");
            tx.rollback().await?;
            self.lose();
            return Ok(false);
        }
        let told = self.settle(&mut tx, row, now).await?;
        let ids: Vec<i64> = due.iter().map(|message| message.id).collect();
        let taken = if ids.is_empty() { HashSet::new() } else { deliveries::mark_taken(&mut tx, &ids).await? };
        tx.commit().await?;
        self.beaten = self.shared.clock.monotonic();
        self.done_since = None;
        let settled = std::mem::take(&mut self.done);
        for (message, _) in &settled {
            self.busy.remove(&message.id);
        }
        self.ready.extend(due.into_iter().filter(|message| taken.contains(&message.id)));
        self.busy.extend(taken);
        if !settled.is_empty() {
            self.shared.audience.delivered.ring();
        }
        if told {
            self.shared.mail_wake.notify_one();
        }
        Ok(true)
    }

    /// Messages that were written while the handler was switched off.
    async fn put_aside(&self, row: &HandlerRow, now: Timestamp) -> Result<(), DbError> {
        if deliveries::next_due(&self.shared.database, self.name()).await?.is_none() {
            return Ok(());
        }
        let why = format!("switched off: {}", row.state_reason.as_deref().unwrap_or("by hand"));
        let mut tx = self.shared.database.begin().await?;
        let aside = deliveries::put_all_aside(&mut tx, self.name(), &self.busy(), now, &why).await?;
        tx.commit().await?;
        if aside > 0 {
            self.shared.audience.delivered.ring();
        }
        Ok(())
    }

    /// Starts what is ready, as far as there is room.
    fn send(&mut self) {
        // By then another daemon may have begun to serve the handler, whatever this one still believes.
        let is_late = !self.shared.is_alone && self.shared.clock.monotonic() >= self.beaten + LEASE - MARGIN;
        if self.is_held || self.fence.is_none() || is_late {
            // Taken, and not sent: they are taken again when the handler may be told again.
            for message in self.ready.drain(..) {
                self.busy.remove(&message.id);
            }
            return;
        }
        while self.under_way.len() < self.entry.concurrency {
            let Some(message) = self.ready.pop_front() else { return };
            let (receiver, signals) = (Arc::clone(&self.receiver), self.shared.signals.clone());
            self.under_way.spawn(async move {
                let attempt = attempt(&receiver, &signals, &message).await;
                (message, attempt)
            });
        }
    }

    /// Waits until something is to be done: a message has come to its end, or was written, or the time is up.
    async fn wait(
        &mut self,
        most: Duration,
        written: &mut Listener,
        entries: &mut watch::Receiver<Arc<[HandlerEntry]>>,
        stop: &CancellationToken,
    ) {
        let clock = self.shared.clock.clone();
        let until = clock.monotonic() + most;
        loop {
            let now = clock.monotonic();
            // Where nothing can be written, it is tried again when the time is up.
            let can_write = self.fence.is_some() && !self.said_trouble;
            let collected = self.done_since.filter(|_| can_write).map(|since| since + COLLECT);
            let is_full = self.done.len() >= MANY || collected.is_some_and(|collected| collected <= now);
            // What there is is written now, where more can be taken only then.
            let is_dry = !self.done.is_empty() && self.ready.is_empty();
            if self.is_dead || (can_write && (is_full || is_dry)) || until <= now {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = next_change(entries) => {
                    let entries = entries.borrow_and_update().clone();
                    return self.adopt(&entries);
                }
                Some(ended) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    self.note(ended);
                    while let Some(ended) = self.under_way.try_join_next() {
                        self.note(ended);
                    }
                    self.send();
                }
                () = written.heard() => return,
                () = clock.sleep_until(collected.map_or(until, |collected| collected.min(until))) => return,
            }
        }
    }

    fn note(&mut self, ended: Result<(DueDelivery, Result<Attempt, Injection>), tokio::task::JoinError>) {
        match ended {
            Ok((message, Ok(attempt))) => {
                // Nothing more is sent until that is written down, and then as the row says.
                self.is_held |= asks_for_rest(&attempt);
                self.done.push((message, attempt));
                self.done_since.get_or_insert(self.shared.clock.monotonic());
            }
            Ok((_, Err(_))) => self.is_dead = true,
            Err(error) => {
                tracing::error!(%error, handler = self.name(), "telling a handler has panicked");
                // Which one it was is not known: all that are not done are taken anew.
                self.busy = self.done.iter().map(|(message, _)| message.id).collect();
                self.busy.extend(self.ready.iter().map(|message| message.id));
            }
        }
    }

    /// Lets messages under way come to their end, for a while, and gives the handler back.
    async fn end(&mut self) {
        let clock = self.shared.clock.clone();
        let grace = clock.sleep(GRACE);
        tokio::pin!(grace);
        while !self.under_way.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.under_way.join_next() => self.note(ended),
                () = &mut grace => break,
            }
        }
        // What is still under way is cut off, and sent again after the next start.
        self.under_way.shutdown().await;
        let Some(fence) = self.fence.clone() else { return };
        let database = &self.shared.database.clone();
        let written = match handlers::get(database, self.name()).await {
            Ok(Some(row)) => self.write(&row, Vec::new(), clock.now()).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let left = match written {
            Ok(()) => handlers::leave(database, &fence).await,
            Err(error) => Err(error),
        };
        if let Err(error) = left {
            tracing::warn!(%error, handler = self.name(), "what came of the last messages is not noted; they are sent again");
        }
    }

    /// Another process serves the handler: what came of messages here counts no more.
    fn lose(&mut self) {
        self.fence = None;
        self.seen = None;
        self.ready.clear();
        self.done.clear();
        self.done_since = None;
        // What had come to its end already is dropped as well.
        self.under_way = JoinSet::new();
        self.busy.clear();
    }

    async fn forget(&mut self, now: Timestamp) -> Result<(), DbError> {
        const EVERY: Duration = Duration::from_hours(1);
        let at = self.shared.clock.monotonic();
        if self.entry.keep_days == 0 || (at < self.forgotten + EVERY && !self.forgotten.is_zero()) {
            return Ok(());
        }
        let before = now - TimeDelta::days(i64::from(self.entry.keep_days));
        while deliveries::forget(&self.shared.database, self.name(), before, FORGET_AT_ONCE).await? > 0 {}
        self.forgotten = at.max(Duration::from_millis(1));
        Ok(())
    }
}

fn receiver_of(entry: &HandlerEntry, clock: &Clock) -> Arc<Result<Receiver, String>> {
    let receiver = Receiver::of(entry, clock);
    if let Err(reason) = &receiver {
        tracing::error!(handler = entry.interest.handler, reason, "a handler cannot be told anything");
    }
    Arc::new(receiver)
}

/// One try. Where a test lets the process die, there is no outcome.
async fn attempt(
    receiver: &Result<Receiver, String>,
    signals: &Signals,
    message: &DueDelivery,
) -> Result<Attempt, Injection> {
    let injected = |injected: crate::signal::Injected| match injected.injection {
        Injection::Fail => Ok(Attempt::Failed(injected.to_string())),
        Injection::Die => Err(Injection::Die),
    };
    if let Err(at) = signals.reach(FailPoint::MessageBeforeSend) {
        return injected(at);
    }
    let attempt = match receiver {
        Ok(receiver) => receiver.deliver(message).await,
        Err(reason) => Attempt::Failed(reason.clone()),
    };
    match signals.reach(FailPoint::MessageAfterSend) {
        Ok(()) => Ok(attempt),
        Err(at) => injected(at),
    }
}

/// Whether a receiver that has said so is to be told nothing for now.
fn asks_for_rest(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Later(..) | Attempt::Gone(_) => true,
        Attempt::Delivered | Attempt::Failed(_) => false,
    }
}

/// Nothing is ever put off for longer.
pub(super) fn longest() -> TimeDelta {
    TimeDelta::from_std(LONGEST).unwrap_or(TimeDelta::MAX)
}
