//! What is wired to what: settings become services, services become a daemon.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::archive::Limits;
use crate::clock::Clock;
use crate::config::{DatabaseAddress, Encryption, MailTransport, NamePattern, Settings};
use crate::db::{Database, DatabaseOptions, DbError};
use crate::export;
use crate::fsx;
use crate::import::{self, Services};
use crate::inbox::{
    self, Claimed, Folders, Health, Hooks, Ignored, InboxDeps, InboxNews, InboxOptions, InboxView, Patience, Verdict,
};
use crate::mail::{self, IncompleteUpload, Mailer, MailerSettings, Smtp, TemplateFault, Templates, Transport};
use crate::queue::lock::{InstanceLock, InstanceLockError};
use crate::queue::{Queue, QueueHandle, QueueSettings};
use crate::schedule::{self, Schedules};
use crate::signal::Signals;
use crate::storage::MediaStore;
use crate::store::jobs::{self, JobKind, NewJob};
use crate::work::{self, AdminTrouble, Watcher, WorkFolder, Worker};

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
}

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

/// How often old files and unused media are looked for.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// How often the free space is looked at.
const SPACE_EVERY: Duration = Duration::from_secs(10);

/// Longest time until the mails are looked at again.
const MAIL_EVERY: Duration = Duration::from_secs(60);

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
        let services = services_of(&settings, database, clock, signals);
        let exports = export::Services {
            database: services.database.clone(),
            clock: services.clock.clone(),
            signals: services.signals.clone(),
            media: services.media.clone(),
            limits: services.limits.clone(),
            outbox: settings.folders().outbox.clone(),
            templates: folders.templates.clone(),
        };
        Ok(Self { settings: Arc::new(settings), services, exports, templates: Arc::new(templates) })
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
        let handle = queue.handle();
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
        if self.is_space_low() {
            // Before the first claim; whoever looks at the space from now on says so.
            handle.hold_claims();
        }
        tasks.spawn(queue.run(stop.clone()));
        tasks.spawn(self.clone().send_mails(Arc::new(self.mailer()?), Arc::clone(&mail_wake), stop.clone()));
        tasks.spawn(self.clone().move_sources_again(stop.clone()));
        tasks.spawn(self.clone().sweep_now_and_then(stop.clone()));
        tasks.spawn(self.clone().look_at_space(handle.clone(), Arc::clone(&mail_wake), stop.clone()));
        tasks.close();
        Ok(Daemon { app: self.clone(), queue: handle, inbox: view, schedule_looks, parts, stop, tasks })
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
            owners: self.settings.folders().work.join(".owners"),
        }
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

    async fn tell(&self, news: InboxNews) -> Result<(), DbError> {
        match news {
            InboxNews::Incomplete(told) => {
                let display_name = self.settings.account(&told.account).map(|account| account.display_name.clone());
                let is_default = told.account == self.settings.inbox.default_account;
                let inbox = &self.settings.folders().inbox;
                let folder = if is_default { inbox.clone() } else { inbox.join(&told.account) };
                let path = folder.join(&told.name).display().to_string();
                let upload = IncompleteUpload {
                    public_name: &self.settings.mail.public_name,
                    display_name: display_name.as_deref(),
                    file: &told.name,
                    path: &path,
                    bytes: told.bytes,
                    reason: Some(&told.reason),
                    since: told.first_seen,
                    rejected_at: told.rejected_at,
                };
                let (settings, services) = (&self.settings, &self.services);
                work::tell_incomplete(settings, services, &self.templates, &told.account, &told.subject_key, &upload)
                    .await
            }
            InboxNews::Refused(refusals) => {
                for refusal in refusals {
                    let trouble = AdminTrouble {
                        subject_key: refusal.subject_key,
                        job: None,
                        title: format!("Not taken: {}", refusal.path),
                        what: format!("`{}` lies in the inbox and is not taken.", refusal.path),
                        why: refusal.reason,
                        what_now: "It stays where it is; this is told only once.".to_owned(),
                    };
                    work::tell_admin(&self.settings, &self.services, &self.templates, &trouble).await?;
                }
                Ok(())
            }
        }
    }

    async fn send_mails(self, mailer: Arc<Mailer>, wake: Arc<Notify>, stop: CancellationToken) {
        let clock = &self.services.clock;
        let _ = fsx::sweep_temporaries(&self.settings.folders().mail);
        while !stop.is_cancelled() {
            if let Err(error) = mailer.deliver_due().await {
                tracing::warn!(%error, "mails cannot be sent now");
            }
            let due = mailer.next_wake().await.ok().flatten();
            let pause = due
                .and_then(|due| (due - clock.now()).to_std().ok())
                .map_or(MAIL_EVERY, |until| until.clamp(Duration::from_millis(100), MAIL_EVERY));
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified() => {}
                () = clock.sleep(pause) => {}
            }
        }
    }

    /// Moves the archives that the end of their job could not move.
    async fn move_sources_again(self, stop: CancellationToken) {
        let mut is_said = false;
        while !stop.is_cancelled() {
            match work::move_sources(&self.settings, &self.services).await {
                Ok(_) => is_said = false,
                Err(error) if !is_said => {
                    tracing::warn!(%error, "archives of ended jobs cannot be moved now; it is tried again until they can");
                    is_said = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.services.clock.sleep(self.settings.inbox.scan_every) => {}
            }
        }
    }

    async fn sweep_now_and_then(self, stop: CancellationToken) {
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

    /// No job begins while the disk is nearly full, so that those that are open can end.
    async fn look_at_space(self, queue: QueueHandle, mail_wake: Arc<Notify>, stop: CancellationToken) {
        let floor = self.settings.queue.free_space_floor;
        let mut is_low = false;
        while !stop.is_cancelled() {
            let free = fsx::free_space(&self.settings.folders().work).unwrap_or(u64::MAX);
            match (is_low, free < floor) {
                (false, true) => {
                    queue.hold_claims();
                    tracing::warn!(free_bytes = free, floor_bytes = floor, "the disk is low; no job begins");
                    is_low = self.tell_of_space(free, floor).await;
                    mail_wake.notify_one();
                }
                (true, false) => {
                    queue.allow_claims();
                    tracing::info!(free_bytes = free, "there is space again");
                    is_low = false;
                }
                (true, true) | (false, false) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.services.clock.sleep(SPACE_EVERY) => {}
            }
        }
    }

    fn is_space_low(&self) -> bool {
        fsx::free_space(&self.settings.folders().work).is_ok_and(|free| free < self.settings.queue.free_space_floor)
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
        match work::tell_admin(&self.settings, &self.services, &self.templates, &trouble).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the admin cannot be told now");
                false
            }
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
    schedule_looks: watch::Receiver<u64>,
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
        if let Err(error) = work::move_sources(&self.app.settings, &self.app.services).await {
            tracing::warn!(%error, "archives of ended jobs cannot be moved now");
        }
        Ok(())
    }

    /// Sends what is due before the daemon ends.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub async fn deliver_mails(&self) -> Result<(), DbError> {
        let Ok(mailer) = self.app.mailer() else { return Ok(()) };
        loop {
            let delivered = mailer.deliver_due().await?;
            if delivered.sent + delivered.folded + delivered.failed == 0 {
                return Ok(());
            }
        }
    }

    /// Lets every part end at its next rest, and waits for that.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.app.services.database.close().await;
    }
}

/// What serves every import, over a database that is open.
pub fn services_of(settings: &Settings, database: Database, clock: Clock, signals: Signals) -> Services {
    Services {
        database,
        clock,
        signals,
        media: MediaStore::new(settings.folders().media.clone()),
        limits: limits_of(settings),
        chunk_records: settings.import.chunk_records,
        chunk_bytes: usize::try_from(settings.import.chunk_bytes).unwrap_or(usize::MAX),
        chunk_pause: settings.import.chunk_pause,
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
