//! What is wired to what: settings become services, services become a daemon.

mod chores;
mod news;
mod readiness;
mod space;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::Limits;
use crate::clock::Clock;
use crate::config::{DatabaseAddress, Encryption, HandlerEntry, MailTransport, NamePattern, Settings};
use crate::db::{Database, DatabaseOptions, DbError};
use crate::export;
use crate::fsx;
use crate::handler::{Dispatcher, Dispatching};
use crate::import::{self, Services};
use crate::inbox::{
    self, Claimed, Folders, Health, Hooks, Ignored, InboxDeps, InboxOptions, InboxView, Patience, Verdict,
};
use crate::mail::{self, Mailer, MailerSettings, Smtp, TemplateFault, Templates, Transport};
use crate::model::handler::Interest;
use crate::model::throttle::Throttle;
use crate::pace::{Audience, Pacer};
use crate::queue::lock::{InstanceLock, InstanceLockError};
use crate::queue::{Queue, QueueHandle, QueueSettings};
use crate::schedule::{self, Schedules};
use crate::signal::Signals;
use crate::storage::MediaStore;
use crate::store::jobs::{self, JobKind, NewJob, OwnerId};
use crate::work::{self, Watcher, WorkFolder, Worker};

pub use readiness::Readiness;

/// Everything that commands and the daemon work with.
#[derive(Clone)]
pub struct App {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What serves every import; the database, the time, the media store.
    pub services: Services,
    /// What serves every export.
    pub exports: export::Services,
    /// The templates of mails.
    pub templates: Arc<Templates>,
    live: Arc<Live>,
}

/// What may change while the daemon runs.
#[derive(Debug)]
struct Live {
    throttle: watch::Sender<Throttle>,
    interests: watch::Sender<Arc<[Interest]>>,
    handlers: watch::Sender<Arc<[HandlerEntry]>>,
}

impl Live {
    fn of(settings: &Settings) -> Self {
        Self {
            throttle: watch::channel(settings.import.throttle()).0,
            interests: watch::channel(interests_of(settings)).0,
            handlers: watch::channel(settings.handlers.clone().into()).0,
        }
    }

    fn take(&self, settings: &Settings) {
        self.throttle.send_replace(settings.import.throttle());
        self.interests.send_replace(interests_of(settings));
        self.handlers.send_replace(settings.handlers.clone().into());
    }
}

fn interests_of(settings: &Settings) -> Arc<[Interest]> {
    settings.handlers.iter().map(|entry| entry.interest.clone()).collect()
}

/// Keys that take effect while the daemon runs.
const LIVE_KEYS: [&str; 6] = [
    "import.chunk_records",
    "import.chunk_bytes",
    "import.chunk_time",
    "import.chunk_pause",
    "import.records_per_second",
    "import.window",
];

/// The list of blocks that takes effect while the daemon runs.
const LIVE_BLOCKS: &str = "handlers[";

/// Why nothing can be run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A folder cannot be made.
    #[error("could not make the folder `{path}`: {source}; create it, or let eventferry write to its parent")]
    Folder {
        /// Which one.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A template of the admin cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateFault),
    /// Another daemon works here.
    #[error(transparent)]
    Locked(#[from] InstanceLockError),
    /// The sender's address cannot be used.
    #[error("could not use the sender's address: {0}; correct `mail.from`")]
    Sender(String),
}

/// How long a file that cannot be read or moved is left alone at first.
const INBOX_RETRY: Duration = Duration::from_secs(60);

impl App {
    /// Makes the folders, opens the database, reads the templates.
    ///
    /// # Errors
    /// See [`AppError`].
    pub async fn open(settings: Settings, clock: Clock, signals: Signals) -> Result<Self, AppError> {
        let folders = settings.folders();
        let made = [
            &folders.root,
            &folders.inbox,
            &folders.work,
            &folders.outbox,
            &folders.done,
            &folders.rejected,
            &folders.media,
        ];
        for path in made {
            fsx::create_folders(path)
                .map_err(|source| AppError::Folder { path: path.display().to_string(), source })?;
        }
        let templates = Templates::load(Some(folders.templates.as_path()).filter(|path| path.exists()))?;
        let database = Database::open(&DatabaseOptions {
            url: settings.database.address.url().expose_secret().to_owned(),
            connections: settings.database.connections,
            busy_timeout: settings.database.busy_timeout,
        })
        .await?;
        let live = Live::of(&settings);
        let services = Services {
            pacer: Pacer::new(clock.clone(), live.throttle.subscribe()),
            audience: Audience::new(live.interests.subscribe()),
            ..services_of(&settings, database, clock, signals)
        };
        let exports = export::Services {
            database: services.database.clone(),
            clock: services.clock.clone(),
            signals: services.signals.clone(),
            media: services.media.clone(),
            limits: services.limits.clone(),
            outbox: settings.folders().outbox.clone(),
            templates: folders.templates.clone(),
        };
        Ok(Self {
            settings: Arc::new(settings),
            services,
            exports,
            templates: Arc::new(templates),
            live: Arc::new(live),
        })
    }

    /// Takes over what may change while the daemon runs: the bounds of imports, and the handlers. Names the other keys
    /// that are set otherwise than at the start; they take effect with the next one.
    pub fn reload(&self, settings: &Settings) -> Vec<String> {
        self.live.take(settings);
        // Whoever waits looks anew.
        self.services.audience.delivered.ring();
        let is_live = |key: &str| LIVE_KEYS.contains(&key) || key.starts_with(LIVE_BLOCKS);
        let (old, new) = (self.settings.explain(), settings.explain());
        let differs = |one: &crate::config::Explained, others: &[crate::config::Explained]| {
            !others.iter().any(|other| other.key == one.key && other.value == one.value)
        };
        let mut changed: Vec<String> = (new.iter().filter(|one| differs(one, old)))
            .chain(old.iter().filter(|one| differs(one, new)))
            .map(|one| one.key.clone())
            .filter(|key| !is_live(key))
            .collect();
        changed.sort();
        changed.dedup();
        changed
    }

    /// Keeps other daemons away from the root, where the database is a file in it.
    ///
    /// # Errors
    /// Where another daemon works there.
    pub fn lock(&self) -> Result<Option<InstanceLock>, AppError> {
        match &self.settings.database.address {
            DatabaseAddress::Sqlite(_) => Ok(Some(InstanceLock::take(&self.settings.folders().root)?)),
            DatabaseAddress::Postgres(_) => Ok(None),
        }
    }

    /// Starts the parts of the daemon.
    ///
    /// # Errors
    /// Where the sender's address cannot be used.
    pub fn start(&self, parts: Parts, watcher: Option<Watcher>) -> Result<Daemon, AppError> {
        let mail_wake = Arc::new(Notify::new());
        let worker = Worker {
            settings: Arc::clone(&self.settings),
            services: self.services.clone(),
            exports: self.exports.clone(),
            templates: Arc::clone(&self.templates),
            watcher,
            mail_wake: Arc::clone(&mail_wake),
        };
        let queue = Queue::new(
            self.services.database.clone(),
            self.services.clock.clone(),
            self.queue_settings(),
            Arc::new(worker),
        );
        let (handle, owner) = (queue.handle(), queue.owner());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (view_sender, view) = watch::channel(InboxView::default());
        if parts == Parts::All {
            let inbox =
                inbox::run(self.inbox_options(), self.inbox_deps(&handle, &mail_wake), view_sender, stop.clone());
            tasks.spawn(async move {
                // The error is one that a test has injected: the inbox stops as if the process had died.
                let _ = inbox.await;
            });
        }
        let (looks, schedule_looks) = watch::channel(0);
        if parts == Parts::All {
            let (schedules, queue) = (self.schedules(), handle.clone());
            tasks.spawn(schedule::run(schedules, move || queue.wake(), looks, stop.clone()));
        }
        // Whoever looks at the space lets them begin.
        handle.hold_claims();
        let (disk_sender, disk) = watch::channel(None);
        let (dispatching, dispatch) =
            self.dispatcher(owner, &mail_wake).run(self.live.handlers.subscribe(), stop.clone());
        let dispatched = CancellationToken::new();
        tasks.spawn(queue.run(stop.clone(), dispatched.clone().cancelled_owned()));
        tasks.spawn(async move {
            // However it ends.
            let _ended = dispatched.drop_guard();
            dispatch.await;
        });
        let mailer = Arc::new(self.mailer()?);
        tasks.spawn(self.clone().send_mails(Arc::clone(&mailer), Arc::clone(&mail_wake), stop.clone()));
        tasks.spawn(self.clone().move_sources_again(stop.clone()));
        tasks.spawn(self.clone().sweep_now_and_then(stop.clone()));
        tasks.spawn(self.clone().look_at_space(handle.clone(), Arc::clone(&mail_wake), disk_sender, stop.clone()));
        let (readiness_sender, readiness) = watch::channel(Readiness::default());
        let sources = readiness::Sources { database: handle.trouble(), inbox: view.clone(), disk };
        tasks.spawn(readiness::keep(sources, parts == Parts::All, readiness_sender, stop.clone()));
        tasks.close();
        Ok(Daemon {
            app: self.clone(),
            queue: handle,
            inbox: view,
            readiness,
            schedule_looks,
            dispatching,
            mailer,
            parts,
            stop,
            tasks,
        })
    }

    fn dispatcher(&self, owner: OwnerId, mail_wake: &Arc<Notify>) -> Dispatcher {
        let app = self.clone();
        Dispatcher {
            database: self.services.database.clone(),
            clock: self.services.clock.clone(),
            signals: self.services.signals.clone(),
            audience: self.services.audience.clone(),
            tell: Arc::new(move |trouble| work::admin_rows(&app.settings, &app.services, &app.templates, trouble)),
            mail_wake: Arc::clone(mail_wake),
            owner,
            is_alone: matches!(self.settings.database.address, DatabaseAddress::Sqlite(_)),
        }
    }

    /// Sends queued mails by the settings in force.
    ///
    /// # Errors
    /// Where the sender's address cannot be used.
    pub fn mailer(&self) -> Result<Mailer, AppError> {
        let mail = &self.settings.mail;
        let from = mail.from.as_ref().map_or_else(|| "eventferry@localhost".to_owned(), ToString::to_string);
        let from =
            mail::mailbox(Some(&mail.public_name), &from).map_err(|fault| AppError::Sender(fault.to_string()))?;
        let settings = MailerSettings {
            transport: transport_of(&self.settings),
            from,
            public_name: mail.public_name.clone(),
            digest_over: mail.digest_over as usize,
            retry_for: mail.retry_for,
            attachments: self.settings.folders().outbox.clone(),
        };
        let services = &self.services;
        let mailer =
            Mailer::new(services.database.clone(), services.clock.clone(), Arc::clone(&self.templates), settings);
        Ok(mailer.with_signals(services.signals.clone()))
    }

    /// Inserts the row of a claimed archive.
    ///
    /// # Errors
    /// Where the database is out of reach; the same call may be made again.
    pub async fn record(&self, claimed: &Claimed) -> Result<(), DbError> {
        let source = WorkFolder::of(&self.settings.folders().work, claimed.job).source();
        let limits = self.services.limits.clone();
        let is_whole = claimed.verdict == Verdict::Whole;
        let peeked = tokio::task::spawn_blocking(move || {
            // A panic over a hostile file must not stop the inbox: the job meets it again and fails with it.
            let file = std::fs::File::open(&source).ok().filter(|_| is_whole)?;
            import::peek(file, &limits).ok().flatten()
        });
        let job = NewJob {
            id: claimed.job,
            kind: JobKind::Import,
            account: claimed.account.clone(),
            archive_name: claimed.archive_name.clone(),
            archive_bytes: claimed.bytes,
            source_key: peeked.await.ok().flatten(),
            again: claimed.again,
            retry_of: claimed.retry_of,
            with_handlers: claimed.with_handlers,
            created_at: claimed.claimed,
        };
        jobs::insert(&self.services.database, &job).await.map(drop)
    }

    fn schedules(&self) -> Schedules {
        Schedules {
            entries: self.settings.exports.clone(),
            database: self.services.database.clone(),
            clock: self.services.clock.clone(),
            signals: self.services.signals.clone(),
        }
    }

    fn queue_settings(&self) -> QueueSettings {
        let queue = &self.settings.queue;
        QueueSettings {
            parallel: self.settings.import.parallel,
            heartbeat: queue.heartbeat,
            lease: queue.lease,
            poll: queue.poll,
            retry_first: queue.retry_first,
            retry_max: queue.retry_max,
            attempts: u64::from(queue.attempts),
            strikes: u64::from(queue.strikes),
            longest_wait: self.longest_wait(),
            owners: self.settings.folders().work.join(".owners"),
        }
    }

    /// The longest that a job may be put off: by a retry, by what an import waits for, by the jitter of an export.
    fn longest_wait(&self) -> Duration {
        let jitter = self.settings.exports.iter().map(|entry| entry.jitter).max().unwrap_or_default();
        (self.settings.queue.retry_max * 2).max(jitter) + import::LONGEST_LOOK
    }

    fn inbox_options(&self) -> InboxOptions {
        let inbox = &self.settings.inbox;
        InboxOptions {
            folders: Folders {
                inbox: self.settings.folders().inbox.clone(),
                work: self.settings.folders().work.clone(),
                accounts: self.settings.accounts().iter().map(|account| account.name.clone()).collect::<BTreeSet<_>>(),
                default_account: inbox.default_account.clone(),
                ignored: Ignored::new(inbox.ignore.iter().map(NamePattern::as_str)),
            },
            patience: Patience {
                settle: inbox.settle,
                incomplete_after: inbox.incomplete_after,
                incomplete_reject: inbox.incomplete_reject,
                retry: INBOX_RETRY,
            },
            scan_every: inbox.scan_every,
            watch: inbox.watch,
        }
    }

    fn inbox_deps(&self, queue: &QueueHandle, mail_wake: &Arc<Notify>) -> InboxDeps {
        let (record, queue) = (self.clone(), queue.clone());
        let recorded = self.services.database.clone();
        let (tell, mail_wake) = (self.clone(), Arc::clone(mail_wake));
        InboxDeps {
            clock: self.services.clock.clone(),
            signals: self.services.signals.clone(),
            database: self.services.database.clone(),
            hooks: Hooks {
                record: Arc::new(move |claimed: Claimed| {
                    let (app, queue) = (record.clone(), queue.clone());
                    Box::pin(async move {
                        app.record(&claimed).await?;
                        queue.wake();
                        Ok(())
                    })
                }),
                is_recorded: Arc::new(move |job| {
                    let database = recorded.clone();
                    Box::pin(async move { Ok(jobs::state_of(&database, job).await?.is_some()) })
                }),
                tell: Arc::new(move |news| {
                    let (app, mail_wake) = (tell.clone(), Arc::clone(&mail_wake));
                    Box::pin(async move {
                        app.tell(news).await?;
                        mail_wake.notify_one();
                        Ok(())
                    })
                }),
            },
        }
    }
}

/// Which parts of the daemon run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// All of them.
    All,
    /// Everything but the inbox and the schedules: for a command that brings its own work.
    WithoutInbox,
}

/// A daemon that runs.
pub struct Daemon {
    app: App,
    queue: QueueHandle,
    inbox: watch::Receiver<InboxView>,
    readiness: watch::Receiver<Readiness>,
    schedule_looks: watch::Receiver<u64>,
    dispatching: Dispatching,
    mailer: Arc<Mailer>,
    parts: Parts,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Daemon {
    /// The queue.
    pub fn queue(&self) -> &QueueHandle {
        &self.queue
    }

    /// How the inbox stands.
    pub fn inbox(&self) -> watch::Receiver<InboxView> {
        self.inbox.clone()
    }

    /// Whether it can do what it is there for, now and whenever that changes.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Waits until the inbox was scanned once, and the schedules and the queue were looked at: only then is everything at
    /// work.
    pub async fn ready(&mut self) {
        if self.parts == Parts::All {
            // The sender lives as long as the inbox, which ends only after this daemon was stopped.
            let _ = self.inbox.wait_for(|view| view.scans > 0 || matches!(view.health, Health::Paused(_))).await;
        }
        // The sender is gone only where no schedules are looked at.
        let _ = self.schedule_looks.wait_for(|looks| *looks > 0).await;
        self.queue.look().await;
    }

    /// Waits until nothing is left to do: no file that could become a job, no job, no mail that is due, no file to move.
    pub async fn idle(&mut self) -> Result<(), DbError> {
        loop {
            if self.parts == Parts::All {
                let _ = self.inbox.wait_for(InboxView::is_idle).await;
            }
            self.queue.idle().await;
            let inbox_is_idle = self.parts != Parts::All || self.inbox.borrow().is_idle();
            if inbox_is_idle {
                break;
            }
        }
        if let Err(error) = work::move_sources(&self.app.settings, &self.app.services, None).await {
            tracing::warn!(%error, "archives of ended jobs cannot be moved now");
        }
        Ok(())
    }

    /// Sends what is due.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub async fn deliver_mails(&self) -> Result<(), DbError> {
        loop {
            if !self.mailer.deliver_due().await?.is_any() {
                return Ok(());
            }
        }
    }

    /// Sends what is due, and what waits for others that will not come, before the daemon ends.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub async fn deliver_last_mails(&self) -> Result<(), DbError> {
        self.mailer.hold_no_more().await;
        self.deliver_mails().await
    }

    /// Waits until every message to handlers that can be delivered now is delivered.
    pub async fn deliver_messages(&self) {
        self.dispatching.idle().await;
    }

    /// Lets every part end at its next rest, and waits for that.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.app.services.database.close().await;
    }

    /// Stops after the SQLite file was replaced, and puts aside what SQLite has left beside the new file and belongs to the
    /// old one. Says what the person who has replaced it must know.
    pub async fn stop_after_replacement(self) -> String {
        let app = self.app.clone();
        self.stop().await;
        let database = &app.services.database;
        let mut told = "another file was put in the place of the database, or it was removed, while eventferry ran; it has \
                        stopped and has written nothing into the new one. What had not ended goes on with the next start, as \
                        far as the file that lies there then knows of it"
            .to_owned();
        for companion in database.stale_companions() {
            let aside = fsx::beside(&companion, "of-the-replaced-database");
            match fsx::rename_no_replace(&companion, &aside) {
                Ok(()) if companion.to_string_lossy().ends_with("-wal") => {
                    let _ = write!(told, "; the last changes of the old file are in `{}`", aside.display());
                }
                Ok(()) => {}
                Err(error) => {
                    let path = companion.display();
                    let _ = write!(told, "; move `{path}` away before that, it belongs to the old file ({error})");
                }
            }
        }
        told
    }
}

/// What serves every import, over a database that is open: nothing of it changes, and nobody is told.
pub fn services_of(settings: &Settings, database: Database, clock: Clock, signals: Signals) -> Services {
    Services {
        database,
        pacer: Pacer::fixed(clock.clone(), settings.import.throttle()),
        clock,
        signals,
        media: MediaStore::new(settings.folders().media.clone()),
        limits: limits_of(settings),
        audience: Audience::nobody(),
    }
}

fn limits_of(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    Limits {
        archive_bytes: limits.archive_bytes,
        entries: limits.entries,
        entry_bytes: limits.entry_bytes,
        total_bytes: limits.total_bytes,
        ratio: limits.ratio,
        path_length: limits.path_length,
        json_depth: limits.json_depth,
        records: limits.records,
        record_bytes: limits.record_bytes,
        problems_kept: limits.problems_kept,
    }
}

/// Where mails go by the settings.
pub fn transport_of(settings: &Settings) -> Transport {
    let smtp = &settings.smtp;
    match settings.mail.transport {
        MailTransport::File => Transport::File { folder: settings.folders().mail.clone() },
        MailTransport::None => Transport::None,
        MailTransport::Smtp => Transport::Smtp(Smtp {
            host: smtp.host.clone().unwrap_or_default(),
            port: smtp.port,
            encryption: match smtp.encryption {
                Encryption::None => mail::Encryption::None,
                Encryption::StarttlsOptional => mail::Encryption::StarttlsOptional,
                Encryption::Starttls => mail::Encryption::Starttls,
                Encryption::Tls => mail::Encryption::Tls,
            },
            user: smtp.user.clone(),
            password: smtp.password.clone(),
            timeout: smtp.timeout,
            ca_file: smtp.ca_file.clone(),
            hello_name: smtp.hello.clone(),
        }),
    }
}
