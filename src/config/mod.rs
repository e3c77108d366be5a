//! Settings: compiled-in defaults, then a file, the environment and flags, each stronger than the one before.
//!
//! `config/default.toml` describes every key. Reading the sections is the only list of keys in the code; a test compares
//! the two. All faults are reported at once, each with its key, rule, value, origin and what to do.

mod accounts;
mod database;
mod export;
mod fault;
mod folders;
mod handlers;
mod import;
mod inbox;
mod limits;
mod log;
mod mail;
mod queue;
mod reader;
mod retention;
mod secret;
mod smtp;
mod sources;
#[cfg(test)]
mod tests;
mod units;
mod unknown;

use std::path::PathBuf;

use ::config::Value;

pub use accounts::{Account, Allow};
pub use database::{DatabaseAddress, DatabaseSection};
pub use export::ExportEntry;
pub use fault::{Fault, Faults};
pub use folders::Folders;
pub use handlers::{HandlerEntry, HandlerTarget, ProgramTarget, SigningSecret, WebhookTarget};
pub use import::ImportSection;
pub use inbox::{InboxSection, NamePattern};
pub use limits::LimitsSection;
pub use log::{Colour, LogFormat, LogSection};
pub use mail::{MailSection, MailSwitches, MailTransport};
pub use queue::QueueSection;
pub use retention::RetentionSection;
pub use smtp::{Encryption, SmtpSection};
pub use sources::{AssignmentError, Overrides, SYSTEM_FILE, Sources, VARIABLE_PREFIX, parse_assignment};

use reader::Reader;

/// Every setting with its default and what it is for, as TOML.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Settings in which nothing is wrong. Secrets are masked in its `Debug`.
#[derive(Clone, Debug)]
pub struct Settings {
    folders: Folders,
    /// Where the database is.
    pub database: DatabaseSection,
    /// How dropped files are found.
    pub inbox: InboxSection,
    /// How archives are imported.
    pub import: ImportSection,
    /// What one archive may contain.
    pub limits: LimitsSection,
    /// How jobs are claimed, kept alive and tried again.
    pub queue: QueueSection,
    /// How long things are kept.
    pub retention: RetentionSection,
    /// Which mails go out, and how.
    pub mail: MailSection,
    /// The mail server.
    pub smtp: SmtpSection,
    /// What is logged.
    pub log: LogSection,
    accounts: Vec<Account>,
    /// Exports at set times.
    pub exports: Vec<ExportEntry>,
    /// Who is told of what was imported.
    pub handlers: Vec<HandlerEntry>,
    explained: Vec<Explained>,
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Full key, such as `queue.lease` or `accounts[0].email`.
    pub key: String,
    /// The value, masked where it may hold a secret, paths in full; `None` where it is not set.
    pub value: Option<String>,
    /// `default`, or the file with its line, the environment variable or the flag.
    pub origin: String,
}

impl Settings {
    /// Reads all sources.
    ///
    /// # Errors
    /// Every fault of every source at once.
    pub fn load(sources: &Sources) -> Result<Self, Faults> {
        let (values, mut faults) = gather(sources);
        // Where a file is not whole, rules between values would report what the missing part may say.
        let whole_files = faults.iter().all(|fault| fault.key.is_some());
        let mut reader = Reader::new(values);
        let settings = Self::read(&mut reader);
        if whole_files {
            settings.check(&mut reader);
        }
        faults.extend(unknown::in_blocks(&reader));
        let (_, explained, found) = reader.finish();
        faults.extend(found);
        match Faults::of(faults) {
            None => Ok(Self { explained, ..settings }),
            Some(faults) => Err(faults),
        }
    }

    /// The folders, all absolute.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The account of that name with the policies in force for it; the default account is always there.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// All accounts, the default account first unless the configuration orders them otherwise.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account to which files directly in the inbox belong.
    pub fn default_account(&self) -> Option<&Account> {
        self.account(&self.inbox.default_account)
    }

    /// Where an account drops its files: the default account in the inbox itself, others in a folder of their name.
    pub fn inbox_of(&self, account: &str) -> PathBuf {
        let inbox = &self.folders.inbox;
        if account == self.inbox.default_account { inbox.clone() } else { inbox.join(account) }
    }

    /// Every setting with its value in force and its origin, in the order of `config/default.toml`; secrets are masked.
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }

    fn read(reader: &mut Reader) -> Self {
        let folders = Folders::read(reader);
        let database = DatabaseSection::read(reader, &folders);
        let inbox = InboxSection::read(reader);
        let import = ImportSection::read(reader);
        let limits = LimitsSection::read(reader);
        let queue = QueueSection::read(reader);
        let retention = RetentionSection::read(reader);
        let mail = MailSection::read(reader);
        let smtp = SmtpSection::read(reader);
        let accounts = accounts::read(reader, &inbox, &import);
        let exports = export::read(reader, &inbox, &accounts);
        let handlers = handlers::read(reader, &accounts);
        let log = LogSection::read(reader);
        Self {
            folders,
            database,
            inbox,
            import,
            limits,
            queue,
            retention,
            mail,
            smtp,
            log,
            accounts,
            exports,
            handlers,
            explained: Vec::new(),
        }
    }

    /// The rules between values.
    fn check(&self, reader: &mut Reader) {
        self.folders.check(reader, &self.database.address);
        self.inbox.check(reader);
        self.queue.check(reader);
        self.mail.check(reader);
        self.smtp.check(reader, self.mail.transport);
    }
}

/// The merged values of all sources that can be used, and what is wrong with the sources themselves.
fn gather(sources: &Sources) -> (std::collections::BTreeMap<String, Value>, Vec<Fault>) {
    let (defaults, mut faults) = sources::of_defaults(DEFAULTS);
    let known = known_keys(&defaults);
    let mut given = Vec::new();
    if let Some(file) = &sources.file {
        given.push(sources::of_file(file));
    }
    given.push(sources::of_environment(&sources.environment));
    given.push(sources::of_overrides(&sources.overrides));

    let mut layers = vec![defaults];
    for (layer, found) in given {
        let (layer, unknown) = unknown::set_aside(layer, &known);
        faults.extend(found);
        faults.extend(unknown);
        layers.push(layer);
    }
    faults.extend(unknown::variables(&sources.environment, &known));
    let values = sources::merge(layers).unwrap_or_else(|error| {
        faults.push(Fault {
            key: None,
            rule: format!("the sources of the configuration cannot be laid over each other: {error}"),
            value: None,
            origin: "all of them".to_owned(),
            remedy: "take keys away until it loads, then report this".to_owned(),
        });
        std::collections::BTreeMap::new()
    });
    (values, faults)
}

/// All keys there are, found by reading the defaults alone.
fn known_keys(defaults: &sources::Layer) -> Vec<String> {
    let mut reader = Reader::new(defaults.values.iter().cloned().collect());
    Settings::read(&mut reader);
    reader.finish().0
}
