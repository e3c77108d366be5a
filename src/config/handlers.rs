//! `[[handlers]]`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;

use super::accounts::{self, Account};
use super::reader::{DEFAULT, Reader, Rule, list_of};
use super::{secret, units};
use crate::model::Dataset;
use crate::model::handler::{Action, Interest, Order, Per, WhenDown};

/// Keys that a block may have; asked for where one is misspelt.
pub(super) const FIELDS: [&str; 34] = [
    "name",
    "accounts",
    "datasets",
    "actions",
    "per",
    "kind",
    "url",
    "secret",
    "secret_file",
    "previous_secret",
    "previous_secret_file",
    "headers",
    "headers_file",
    "timeout",
    "ca_file",
    "client_certificate_file",
    "allow_addresses",
    "path",
    "arguments",
    "environment",
    "time",
    "memory",
    "output",
    "user",
    "order",
    "concurrency",
    "source",
    "attempts",
    "give_up_after",
    "max_pending",
    "when_down",
    "down_after",
    "later_after",
    "keep_days",
];

/// Somebody who is told of what was imported.
#[derive(Clone, Debug)]
pub struct HandlerEntry {
    /// What it is told of, and how imports are bound to it.
    pub interest: Interest,
    /// How it is reached.
    pub target: HandlerTarget,
    /// Messages under way at the same time.
    pub concurrency: usize,
    /// Tries of one message before it is put aside.
    pub attempts: u32,
    /// Age at which a message that its receiver keeps putting off is put aside.
    pub give_up_after: Duration,
    /// Days that delivered messages and those put aside are kept; 0 for ever.
    pub keep_days: u32,
}

/// How a handler is reached.
#[derive(Clone, Debug)]
pub enum HandlerTarget {
    /// Over HTTP.
    Webhook(WebhookTarget),
    /// A program on this machine.
    Program(ProgramTarget),
}

/// A receiver of HTTP requests.
#[derive(Clone, Debug)]
pub struct WebhookTarget {
    /// Where it listens.
    pub url: Url,
    /// What requests are signed with; two during a rotation, the new one first.
    pub secrets: Vec<SigningSecret>,
    /// Headers of every request; their values may be secret.
    pub headers: Vec<(String, SecretString)>,
    /// How long a request may take until its answer begins. The answer is read until then as well, for a second at least.
    pub timeout: Duration,
    /// PEM file with root certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate and key that this side shows.
    pub client_certificate_file: Option<PathBuf>,
    /// Networks that are not public and may be reached all the same.
    pub allow_addresses: Vec<IpNet>,
}

/// A program on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramTarget {
    /// Its path.
    pub path: PathBuf,
    /// What it is given on its command line.
    pub arguments: Vec<String>,
    /// Names of the variables that it inherits.
    pub environment: Vec<String>,
    /// How long it may take.
    pub time: Duration,
    /// Bytes of memory it may write to; none for no bound.
    pub memory: Option<u64>,
    /// Bytes it may print.
    pub output: u64,
    /// The user it runs as; that of the daemon where there is none.
    pub user: Option<String>,
    /// How long it is left alone after it has put a message off.
    pub later_after: Duration,
}

/// A key for signatures, as Standard Webhooks writes it: `whsec_` and Base64.
#[derive(Clone)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// Reads `whsec_BASE64`; the key has 24 to 64 bytes. None where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then(|| Self(key.into()))
    }

    /// The bytes of the key.
    pub fn key(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(secret::MASK)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook,
    Program,
}

const KINDS: [(&str, Kind); 2] = [("webhook", Kind::Webhook), ("program", Kind::Program)];
const PER: [(&str, Per); 2] = [("record", Per::Record), ("chunk", Per::Chunk)];
const ORDERS: [(&str, Order); 2] = [("per_record", Order::PerRecord), ("none", Order::None)];
const WHEN_DOWN: [(&str, WhenDown); 2] = [("hold", WhenDown::Hold), ("go_on", WhenDown::GoOn)];
const OF_WEBHOOKS: [&str; 7] =
    ["url", "secret", "previous_secret", "headers", "timeout", "ca_file", "client_certificate_file"];
const OF_PROGRAMS: [&str; 8] = ["path", "arguments", "environment", "time", "memory", "output", "user", "later_after"];

/// What handlers are told of where nothing else is said.
const ACTIONS: [Action; 3] = [Action::Created, Action::Updated, Action::Gone];

const DAY: Duration = Duration::from_hours(24);

/// Reads all blocks.
pub(super) fn read(reader: &mut Reader, accounts: &[Account]) -> Vec<HandlerEntry> {
    let mut entries: Vec<HandlerEntry> = Vec::new();
    for index in 0..reader.tables("handlers") {
        let block = format!("handlers[{index}]");
        let Some(entry) = read_block(reader, &block, accounts) else { continue };
        if entries.iter().any(|other| other.interest.handler == entry.interest.handler) {
            let rule = Rule::new("must be unique; another block has the same name", "give one of them another name");
            reader.fault(&format!("{block}.name"), &rule);
        }
        entries.push(entry);
    }
    entries
}

fn read_block(reader: &mut Reader, block: &str, accounts: &[Account]) -> Option<HandlerEntry> {
    let key = |field: &str| format!("{block}.{field}");
    let interest = read_interest(reader, &key, accounts);
    let kind = reader.optional_choice(&key("kind"), &KINDS);
    if kind.is_none() {
        let _: String = reader.needed(&key("kind"), None);
    }
    let concurrency = reader.optional_number(&key("concurrency"), 1..=256).unwrap_or(4);
    let attempts = reader.optional_number(&key("attempts"), 1..=100).unwrap_or(10);
    let give_up_after = reader.optional_duration(&key("give_up_after"), Duration::from_secs(1)..=DAY * 366);
    let keep_days = reader.optional_number(&key("keep_days"), 0..=100_000).unwrap_or(30);
    // Both are read, so that faults in either are told.
    let webhook = read_webhook(reader, &key, kind == Some(Kind::Webhook));
    let program = read_program(reader, &key, kind == Some(Kind::Program));
    let kind = kind?;
    let strange: &[&str] = match kind {
        Kind::Webhook => &OF_PROGRAMS,
        Kind::Program => &OF_WEBHOOKS,
    };
    for field in strange {
        if !reader.is_given(&key(field)) {
            continue;
        }
        let (own, other) = match kind {
            Kind::Webhook => ("webhook", "program"),
            Kind::Program => ("program", "webhook"),
        };
        let rule = format!("is for `kind = \"{other}\"`, and this is a {own}");
        reader.fault(&key(field), &Rule::new(rule, "take it away, or change the kind"));
    }
    let target = match kind {
        Kind::Webhook => HandlerTarget::Webhook(webhook?),
        Kind::Program => HandlerTarget::Program(program?),
    };
    let give_up_after = give_up_after.unwrap_or(DAY * 7);
    for (field, value) in [
        ("concurrency", concurrency.to_string()),
        ("attempts", attempts.to_string()),
        ("give_up_after", units::show_duration(give_up_after)),
        ("keep_days", keep_days.to_string()),
    ] {
        reader.in_force(&key(field), value, DEFAULT);
    }
    show_target(reader, &key, &target);
    Some(HandlerEntry { interest, target, concurrency, attempts, give_up_after, keep_days })
}

fn read_interest(reader: &mut Reader, key: &impl Fn(&str) -> String, known: &[Account]) -> Interest {
    let name = reader.parsed(&key("name"), &accounts::name_rule(), accounts::parse_name);
    let handler = reader.needed(&key("name"), name);
    let names = Rule::new("must be a list of accounts", "write the names of `[[accounts]]` blocks");
    let accounts = reader.list(&key("accounts"), &names, |text| {
        known.iter().find(|account| account.name == text.trim()).map(|account| account.name.clone())
    });
    let datasets = Dataset::ALL.map(|dataset| (dataset.as_str(), dataset));
    let source = Rule::new(
        "must be a URI reference without blanks",
        "write for example \"eventferry\" or \"https://import.example.org\"",
    );
    let interest = Interest {
        handler,
        accounts,
        datasets: reader.optional_choices(&key("datasets"), &datasets),
        actions: reader.optional_choices(&key("actions"), &Action::WORDS).unwrap_or_else(|| ACTIONS.to_vec()),
        per: reader.optional_choice(&key("per"), &PER).unwrap_or_default(),
        order: reader.optional_choice(&key("order"), &ORDERS).unwrap_or_default(),
        source: reader
            .parsed(&key("source"), &source, |text| is_uri_reference(text).then(|| text.to_owned()))
            .unwrap_or_else(|| "eventferry".to_owned()),
        max_pending: reader.optional_number(&key("max_pending"), 1..=1_000_000).unwrap_or(1_000),
        when_down: reader.optional_choice(&key("when_down"), &WHEN_DOWN).unwrap_or_default(),
        down_after: reader
            .optional_duration(&key("down_after"), Duration::from_secs(1)..=DAY * 30)
            .unwrap_or(Duration::from_hours(1)),
    };
    show_interest(reader, key, &interest);
    interest
}

fn show_interest(reader: &mut Reader, key: &impl Fn(&str) -> String, interest: &Interest) {
    let all = || "all".to_owned();
    let actions = Action::WORDS.iter().filter(|(_, action)| interest.actions.contains(action)).map(|(word, _)| *word);
    for (field, value) in [
        ("accounts", all()),
        ("datasets", all()),
        ("actions", list_of(actions)),
        ("per", word_of(&PER, &interest.per)),
        ("order", word_of(&ORDERS, &interest.order)),
        ("source", interest.source.clone()),
        ("max_pending", interest.max_pending.to_string()),
        ("when_down", word_of(&WHEN_DOWN, &interest.when_down)),
        ("down_after", units::show_duration(interest.down_after)),
    ] {
        reader.in_force(&key(field), value, DEFAULT);
    }
}

/// What belongs to the other kind stays unset.
fn show_target(reader: &mut Reader, key: &impl Fn(&str) -> String, target: &HandlerTarget) {
    let values = match target {
        HandlerTarget::Webhook(target) => vec![("timeout", units::show_duration(target.timeout))],
        HandlerTarget::Program(target) => vec![
            ("environment", list_of(target.environment.iter().map(String::as_str))),
            ("time", units::show_duration(target.time)),
            ("memory", target.memory.map_or_else(|| "0".to_owned(), units::show_size)),
            ("output", units::show_size(target.output)),
            ("later_after", units::show_duration(target.later_after)),
        ],
    };
    for (field, value) in values {
        reader.in_force(&key(field), value, DEFAULT);
    }
}

fn word_of<T: PartialEq>(words: &[(&str, T)], meant: &T) -> String {
    words.iter().filter(|(_, meaning)| meaning == meant).map(|(word, _)| *word).collect()
}

fn read_webhook(reader: &mut Reader, key: &impl Fn(&str) -> String, is_needed: bool) -> Option<WebhookTarget> {
    let url_rule = Rule::new(
        "must be a URL with `https://` or `http://`, without log-in and fragment",
        "write it as in \"https://tickets.example.org/hooks/eventferry\"; a log-in goes into `headers_file`",
    );
    let url = reader.parsed(&key("url"), &url_rule, parse_url);
    let secret = read_signing_secret(reader, &key("secret"));
    let previous = read_signing_secret(reader, &key("previous_secret"));
    let headers = read_headers(reader, &key("headers"));
    let timeout = reader.optional_duration(&key("timeout"), Duration::from_millis(100)..=Duration::from_mins(10));
    let ca_file = reader.optional_path(&key("ca_file"));
    let client_certificate_file = reader.optional_path(&key("client_certificate_file"));
    let networks = Rule::new(
        "must be a list of addresses or networks",
        "write for example `[\"127.0.0.1\", \"10.20.0.0/16\", \"fd00::/8\"]`",
    );
    let allow_addresses = reader.list(&key("allow_addresses"), &networks, parse_network).unwrap_or_default();
    for (field, path) in [("ca_file", &ca_file), ("client_certificate_file", &client_certificate_file)] {
        if let Some(Err(error)) = path.as_ref().map(std::fs::File::open) {
            let remedy = "check its path and that the user of the service may read it";
            reader.fault(&key(field), &Rule::new(format!("must be a file that can be read: {error}"), remedy));
        }
    }
    if !is_needed {
        return None;
    }
    if url.is_none() {
        let _: String = reader.needed(&key("url"), None);
    }
    if secret.is_none() {
        let _: String = reader.needed(&key("secret"), None);
    }
    if url.as_ref().is_some_and(|url| url.scheme() == "http") && allow_addresses.is_empty() {
        let rule = "must begin with `https://`, unless it is an address in `allow_addresses`";
        let remedy = "use https, or name the network of the receiver in `allow_addresses`";
        reader.fault(&key("url"), &Rule::new(rule, remedy));
    }
    Some(WebhookTarget {
        url: url?,
        secrets: std::iter::once(secret?).chain(previous).collect(),
        headers,
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        ca_file,
        client_certificate_file,
        allow_addresses,
    })
}

fn read_program(reader: &mut Reader, key: &impl Fn(&str) -> String, is_needed: bool) -> Option<ProgramTarget> {
    let absolute = Rule::new("must be the whole path of a program", "write it as in \"/usr/local/bin/told\"");
    let path = reader.parsed(&key("path"), &absolute, |text| {
        let path = PathBuf::from(text);
        path.is_absolute().then_some(path)
    });
    let any = Rule::new("must be a list of texts", "write for example `[\"--verbose\", \"out.log\"]`");
    let arguments = reader.list(&key("arguments"), &any, |text| Some(text.to_owned())).unwrap_or_default();
    let names = Rule::new("must be a list of names of variables", "write for example `[\"PATH\", \"LANG\"]`");
    let environment = reader.list(&key("environment"), &names, |text| {
        let is_name = !text.is_empty() && !text.contains(['=', '\0']);
        is_name.then(|| text.to_owned())
    });
    let time = reader.optional_duration(&key("time"), Duration::from_millis(10)..=DAY);
    let memory = reader.optional_size(&key("memory"), 0..=1 << 50).unwrap_or(512 << 20);
    let output = reader.optional_size(&key("output"), 0..=1 << 40).unwrap_or(1 << 20);
    let user_rule = Rule::new("must be a user of this machine", "write its name, as `id -un` prints it");
    let user = reader.parsed(&key("user"), &user_rule, |text| {
        nix::unistd::User::from_name(text).ok().flatten().map(|user| user.name)
    });
    let later_after = reader.optional_duration(&key("later_after"), Duration::from_millis(10)..=DAY);
    if !is_needed {
        return None;
    }
    if path.is_none() {
        let _: String = reader.needed(&key("path"), None);
    }
    Some(ProgramTarget {
        path: path?,
        arguments,
        environment: environment.unwrap_or_else(|| vec!["PATH".to_owned(), "LANG".to_owned()]),
        time: time.unwrap_or(Duration::from_mins(1)),
        memory: (memory > 0).then_some(memory),
        output,
        user,
        later_after: later_after.unwrap_or(Duration::from_secs(30)),
    })
}

fn read_signing_secret(reader: &mut Reader, key: &str) -> Option<SigningSecret> {
    let text = reader.secret(key, secret::hide)?;
    let parsed = SigningSecret::parse(text.expose_secret());
    if parsed.is_none() {
        let rule = Rule::new(
            "must be `whsec_` and 24 to 64 bytes in Base64, as Standard Webhooks has it",
            "make one with `echo whsec_$(head -c 32 /dev/urandom | base64)` and give it to the receiver as well",
        );
        reader.fault(key, &rule);
    }
    parsed
}

/// One header a line.
fn read_headers(reader: &mut Reader, key: &str) -> Vec<(String, SecretString)> {
    let Some(text) = reader.secret(key, secret::hide) else { return Vec::new() };
    let mut headers = Vec::new();
    for line in text.expose_secret().lines().filter(|line| !line.trim().is_empty()) {
        let parsed = line.split_once(':').filter(|(name, value)| {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_text = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
            !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_text)
        });
        match parsed {
            Some((name, _)) if is_ours(name) => {
                let rule =
                    Rule::new(format!("must not set `{name}`, which every request has already"), "take that line away");
                reader.fault(key, &rule);
            }
            Some((name, value)) => headers.push((name.to_owned(), SecretString::from(value.trim()))),
            None => {
                let rule = Rule::new("must be lines of the form `Name: value`", "write one header a line");
                reader.fault(key, &rule);
            }
        }
    }
    headers
}

fn is_ours(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header.starts_with("webhook-")
        || ["content-type", "content-length", "host", "connection", "transfer-encoding", "te", "upgrade"]
            .contains(&header.as_str())
}

fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (is_http && is_plain).then_some(url)
}

fn parse_network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn is_uri_reference(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}
