#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::model::handler::{Action, WhenDown};
use crate::model::{OnError, OnExisting};

/// What only a secret contains.
const SECRET: &str = "hunter2";

/// Sources under a root that need not exist.
fn sources(variables: &[(&str, &str)], set: &[(&str, &str)]) -> Sources {
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Sources {
        file: None,
        environment: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        overrides: Overrides { root: Some("/srv/ferry".into()), set, log_level: None },
    }
}

fn with_file(folder: &TempDir, text: &str) -> Sources {
    with_file_and(folder, text, sources(&[], &[]))
}

fn with_file_and(folder: &TempDir, text: &str, sources: Sources) -> Sources {
    write(&path(folder), text.as_bytes());
    Sources { file: Some(path(folder)), ..sources }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("ferry.toml")
}

fn line(folder: &TempDir, line: usize) -> String {
    format!("`{}:{line}`", path(folder).display())
}

/// Key, value and origin of every fault.
fn faults(sources: &Sources) -> Vec<Fault> {
    Settings::load(sources).unwrap_err().iter().cloned().collect()
}

fn only_fault(sources: &Sources) -> Fault {
    let faults = faults(sources);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().unwrap()
}

fn explained(settings: &Settings, key: &str) -> Explained {
    settings.explain().iter().find(|explained| explained.key == key).unwrap().clone()
}

/// `config/default.toml` with everything switched on that stands there commented out.
fn everything_switched_on() -> String {
    let is_setting = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
    let switched_on =
        DEFAULTS.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line));
    switched_on.collect::<Vec<_>>().join("\n")
}

/// A handler in which nothing is wrong.
const HANDLER: &str = r#"[{name = "tickets", kind = "webhook", url = "https://tickets.example.org/hook",
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]"#;

#[test]
fn the_defaults_are_without_fault() {
    let settings = Settings::load(&sources(&[], &[])).unwrap();
    assert_eq!(settings.queue.lease, Duration::from_secs(45));
    assert_eq!(settings.inbox.settle, Duration::from_secs(2));
    assert_eq!(settings.inbox.incomplete_reject, Duration::from_secs(86_400));
    assert_eq!(settings.limits.archive_bytes, 10_737_418_240);
    assert_eq!(settings.limits.record_bytes, 4_194_304);
    assert_eq!(settings.import.chunk_pause, Duration::from_millis(100));
    assert_eq!(settings.retention.results_days, Some(400));
    assert_eq!(settings.retention.done_bytes, None);
    assert_eq!(settings.mail.transport, MailTransport::File);
    assert_eq!(settings.smtp.port, 587);
    assert!(settings.inbox.ignores("upload.zip.filepart".as_ref()));
    assert!(!settings.inbox.ignores("upload.zip".as_ref()));
}

#[test]
fn every_key_of_the_documented_defaults_is_read_and_every_key_that_is_read_is_documented() {
    let (layer, faults) = sources::of_defaults(&everything_switched_on());
    assert_eq!(faults, []);
    let mut documented = BTreeSet::new();
    for (key, value) in &layer.values {
        match &value.kind {
            ::config::ValueKind::Array(items) if unknown::BLOCKS.iter().any(|(list, _)| list == key) => {
                let blocks = items.iter().filter_map(|item| item.clone().into_table().ok());
                documented.extend(blocks.flat_map(|block| block.into_keys().map(|name| format!("{key}[0].{name}"))));
            }
            _ => {
                documented.insert(key.clone());
            }
        }
    }
    let mut reader = Reader::new(layer.values.into_iter().collect());
    Settings::read(&mut reader);
    let (read, ..) = reader.finish();
    let read: BTreeSet<String> =
        read.into_iter().filter(|key| unknown::BLOCKS.iter().all(|(list, _)| list != key)).collect();
    assert_eq!(documented, read);
    for (list, fields) in unknown::BLOCKS {
        let fields: BTreeSet<String> = fields.iter().map(|field| format!("{list}[0].{field}")).collect();
        assert_eq!(fields, read.iter().filter(|key| key.starts_with(list)).cloned().collect());
    }
}

#[test]
fn settings_are_explained_in_the_order_of_the_documented_defaults() {
    let mut section = String::new();
    let mut documented = Vec::new();
    for line in everything_switched_on().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').replace("[accounts", "accounts[0]").replace("[export", "export[0]");
            section = section.replace("[handlers", "handlers[0]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            documented.push(format!("{section}.{name}"));
        }
    }
    let settings = Settings::load(&sources(
        &[],
        &[
            ("accounts", r#"[{name = "berlin"}]"#),
            ("export", r#"[{name = "n", cron = "0 3 * * *"}]"#),
            ("handlers", HANDLER),
        ],
    ))
    .unwrap();
    let explained: Vec<_> = settings.explain().iter().map(|explained| explained.key.clone()).collect();
    assert_eq!(explained, documented);
}

#[test]
fn every_documented_example_is_a_value_that_passes() {
    let folder = TempDir::new().unwrap();
    // Files that are not there, and the other kind of handler.
    let not_here = [
        "url_file",
        "password_file",
        "ca_file",
        "secret_file",
        "previous_secret_file",
        "headers_file",
        "client_certificate_file",
        "path",
        "arguments",
        "environment",
        "time ",
        "memory",
        "output",
        "user = \"tickets\"",
        "later_after",
    ];
    let is_here = |line: &&str| !not_here.iter().any(|key| line.starts_with(key));
    let text: Vec<_> = everything_switched_on().lines().filter(is_here).map(str::to_owned).collect();
    let settings = Settings::load(&with_file(&folder, &text.join("\n"))).unwrap();
    assert_eq!(settings.account("berlin").unwrap().on_existing, OnExisting::Create);
}

#[test]
fn every_key_of_the_documented_defaults_has_a_comment_above_it() {
    let mut above = "";
    for line in DEFAULTS.lines() {
        if line.trim_start_matches('#').starts_with(|first: char| first.is_ascii_lowercase()) {
            assert!(above.starts_with("# "), "no comment above `{line}`");
        }
        above = line;
    }
}

#[test]
fn faults_of_all_sources_are_told_at_once_with_value_origin_and_remedy() {
    let folder = TempDir::new().unwrap();
    let given = sources(&[("EVENTFERRY__IMPORT__PARALLEL", "many")], &[("log.format", "xml")]);
    let given = with_file_and(&folder, "[queue]\nattempts = 5\nlease = 45\n\n[inbox]\nsetle = \"2s\"\n", given);
    let faults = Settings::load(&given).unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.key.as_deref().unwrap(), fault.origin.clone())).collect();
    let expected = [
        ("inbox.setle", line(&folder, 6)),
        ("import.parallel", "environment variable `EVENTFERRY__IMPORT__PARALLEL`".to_owned()),
        ("queue.lease", line(&folder, 3)),
        ("log.format", "flag `--set`".to_owned()),
    ];
    assert_eq!(found, expected);
    let text = faults.to_string();
    assert!(text.starts_with("the configuration has 4 faults\n"), "{text}");
    for part in [
        "1. `inbox.setle` is no setting",
        "did you mean `inbox.settle`?",
        "2. `import.parallel` must be a whole number from 1 to 64",
        "given: `many`, in environment variable `EVENTFERRY__IMPORT__PARALLEL`",
        "3. `queue.lease` must be a length of time from 100ms to 1d",
        "given: `45`",
        "such as \"100ms\", \"30s\"",
        "4. `log.format` must be \"text\", \"json\" or \"journald\"",
        "given: `xml`, in flag `--set`",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = TempDir::new().unwrap();
    let file = "[queue]\nattempts = 2\nstrikes = 2\npoll = \"2s\"\n";
    let variables = [("EVENTFERRY__QUEUE__ATTEMPTS", "3"), ("EVENTFERRY__QUEUE__STRIKES", "3")];
    let given = with_file_and(&folder, file, sources(&variables, &[("queue.attempts", "4")]));
    let settings = Settings::load(&given).unwrap();
    assert_eq!(settings.queue.attempts, 4);
    assert_eq!(settings.queue.strikes, 3);
    assert_eq!(settings.queue.poll, Duration::from_secs(2));
    let origins =
        ["attempts", "strikes", "poll", "lease"].map(|name| explained(&settings, &format!("queue.{name}")).origin);
    let expected = [
        "flag `--set`".to_owned(),
        "environment variable `EVENTFERRY__QUEUE__STRIKES`".to_owned(),
        line(&folder, 4),
        "default".to_owned(),
    ];
    assert_eq!(origins, expected);
}

#[test]
fn a_wrong_value_that_a_stronger_source_replaces_is_no_fault() {
    let folder = TempDir::new().unwrap();
    let given = sources(&[("EVENTFERRY__QUEUE__ATTEMPTS", "3")], &[]);
    let given = with_file_and(&folder, "[queue]\nattempts = \"some\"\n", given);
    assert_eq!(Settings::load(&given).unwrap().queue.attempts, 3);
}

#[test]
fn lists_numbers_switches_and_accounts_can_come_from_the_environment() {
    let settings = Settings::load(&sources(
        &[
            ("EVENTFERRY__INBOX__IGNORE", ".*, *.part"),
            ("EVENTFERRY__INBOX__WATCH", "false"),
            ("EVENTFERRY__MAIL__SEND__IMPORTED", "false"),
            ("EVENTFERRY__SMTP__PORT", "2525"),
            ("EVENTFERRY__LIMITS__ENTRY_BYTES", "1048576"),
            ("EVENTFERRY__ACCOUNTS", r#"[{name = "berlin", allow = []}, {name = "oslo"}]"#),
            ("EVENTFERRY_CONFIG", "/etc/x.toml"),
            ("PATH", "/bin"),
        ],
        &[],
    ))
    .unwrap();
    let patterns: Vec<_> = settings.inbox.ignore.iter().map(NamePattern::as_str).collect();
    assert_eq!(patterns, [".*", "*.part"]);
    assert!(!settings.inbox.watch);
    assert!(!settings.mail.send.imported);
    assert_eq!(settings.smtp.port, 2525);
    assert_eq!(settings.limits.entry_bytes, 1_048_576);
    assert_eq!(settings.accounts().len(), 3);
    assert!(!settings.account("berlin").unwrap().allows(Allow::Event));
    let list = Settings::load(&sources(&[("EVENTFERRY__INBOX__IGNORE", r#"["a,b"]"#)], &[])).unwrap();
    assert_eq!(list.inbox.ignore.iter().map(NamePattern::as_str).collect::<Vec<_>>(), ["a,b"]);
}

#[test]
fn a_variable_with_single_underscores_is_not_passed_over_in_silence() {
    let fault = only_fault(&sources(&[("EVENTFERRY_SMTP_PASSWORD", SECRET)], &[]));
    assert!(fault.rule.contains("EVENTFERRY_SMTP_PASSWORD"));
    assert!(fault.remedy.contains("`EVENTFERRY__SMTP__PASSWORD`"));
}

#[test]
fn unknown_keys_are_told_with_the_key_that_was_meant() {
    let folder = TempDir::new().unwrap();
    let file = "quue = 1\nimport = 2\n[import]\n";
    assert!(faults(&with_file(&folder, file)).iter().any(|fault| fault.rule.contains("duplicate key")));
    for (text, remedy) in [
        ("[inbox]\nsetlle = 1", "did you mean `inbox.settle`?"),
        ("[import]\nattempts = 1", "did you mean `queue.attempts`?"),
        ("[smpt]\nhost = \"a\"", "did you mean `smtp.host`?"),
        ("queue = 1", "set one of its keys, such as `queue.heartbeat`"),
        ("[accounts.berlin]\nemail = \"a@example.org\"", "write each account as a block `[[accounts]]` with a `name`"),
        ("[[accounts]]\nname = \"berlin\"\nmail = \"a@example.org\"", "did you mean `accounts[0].email`?"),
        ("[unheard_of_things]", "take it away; `eventferry config show` lists every key"),
    ] {
        assert_eq!(only_fault(&with_file(&folder, text)).remedy, remedy, "{text}");
    }
    assert!(Settings::load(&with_file(&folder, "[queue]\n[mail.send]\n")).is_ok());
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_told_with_the_faults_of_other_sources() {
    let folder = TempDir::new().unwrap();
    let missing = Sources { file: Some(path(&folder)), ..sources(&[("EVENTFERRY__QUEUE__ATTEMPTS", "0")], &[]) };
    let found = faults(&missing);
    assert_eq!(found.len(), 2);
    assert!(found[0].rule.contains("cannot be read: No such file"));
    assert_eq!(found[1].key.as_deref(), Some("queue.attempts"));

    let broken =
        with_file(&folder, &format!("[smtp]\nhost = mail.example.org\npassword = {SECRET}\n[queue]\nattempts = 0\n"));
    let found = Settings::load(&broken).unwrap_err();
    let origins: BTreeSet<_> = found.iter().map(|fault| fault.origin.clone()).collect();
    assert_eq!(origins, BTreeSet::from([line(&folder, 2), line(&folder, 3), line(&folder, 5)]), "{found}");
    assert!(!found.to_string().contains(SECRET), "{found}");
}

#[test]
fn a_file_in_another_encoding_is_told_with_its_line() {
    let folder = TempDir::new().unwrap();
    let given = with_file(&folder, "");
    write(&path(&folder), b"[mail]\npublic_name = \"M\xfcnchen\"\n");
    let fault = only_fault(&given);
    assert_eq!((fault.rule.as_str(), fault.origin), ("the configuration file is not UTF-8", line(&folder, 2)));
}

#[test]
fn rules_between_values_name_both() {
    for (set, key, part) in [
        (vec![("queue.heartbeat", "30s")], "queue.heartbeat", "`queue.lease` is `45s` in default"),
        (vec![("queue.lease", "20s")], "queue.lease", "more than twice `queue.heartbeat`"),
        (vec![("queue.retry_max", "1s")], "queue.retry_max", "shorter than `queue.retry_first`"),
        (vec![("inbox.settle", "1h")], "inbox.settle", "`inbox.incomplete_after` must be longer"),
        (vec![("inbox.incomplete_after", "1d")], "inbox.incomplete_after", "`inbox.incomplete_reject` must be longer"),
        (vec![("inbox.default_account", "a.tmp")], "inbox.default_account", "must not match a pattern"),
        (vec![("mail.from", "")], "mail.from", "mails need a sender"),
        (vec![("mail.transport", "smtp"), ("mail.from", "a@example.org")], "mail.transport", "`smtp.host` must be set"),
        (vec![("mail.transport", "smtp"), ("smtp.host", "mx")], "mail.transport", "`mail.from` must be set"),
        (vec![("smtp.user", "ferry")], "smtp.user", "together with its password"),
        (vec![("smtp.password", SECRET)], "smtp.password", "together with its password"),
        (
            vec![("smtp.user", "f"), ("smtp.password", SECRET), ("smtp.host", "mx"), ("smtp.encryption", "none")],
            "smtp.encryption",
            "must not go over an open line",
        ),
        (vec![("smtp.ca_file", "/nowhere/ca.pem")], "smtp.ca_file", "No such file"),
    ] {
        let fault = only_fault(&sources(&[], &set));
        assert_eq!(fault.key.as_deref(), Some(key), "{fault}");
        assert!(fault.rule.contains(part), "{fault}");
        assert!(!fault.to_string().contains(SECRET), "{fault}");
    }
    let both_missing = faults(&sources(&[], &[("mail.transport", "smtp")]));
    assert_eq!(both_missing.len(), 2, "{both_missing:#?}");
    let local =
        [("smtp.user", "f"), ("smtp.password", SECRET), ("smtp.host", "127.0.0.1"), ("smtp.encryption", "none")];
    assert!(Settings::load(&sources(&[], &local)).is_ok());
}

#[test]
fn values_out_of_their_range_are_refused() {
    for (key, value) in [
        ("import.parallel", "0"),
        ("import.chunk_records", "0"),
        ("import.chunk_records", "100001"),
        ("import.on_error", "Skip"),
        ("limits.json_depth", "500"),
        ("limits.entries", "-1"),
        ("limits.archive_bytes", "10 GigaBytes"),
        ("queue.poll", "0"),
        ("retention.done_days", "400d"),
        ("mail.from", "Ferry <ferry@example.org>"),
        ("mail.admin", "admin"),
        ("mail.send.partial", "maybe"),
        ("mail.public_name", ""),
        ("smtp.port", "65536"),
        ("smtp.host", "smtp://mail.example.org"),
        ("smtp.host", "mail.example.org:25"),
        ("inbox.ignore", "*"),
        ("inbox.default_account", "../x"),
        ("log.level", "ino"),
        ("log.level", "eventferry=loud"),
        ("database.url", "mysql://db/x"),
        ("database.url", "sqlite::memory:"),
        ("database.url", "sqlite:"),
        ("database.url", "postgres://u:p@h:99999/x"),
        ("database.url", "postgres://u:p@h/x?port=many"),
        ("database.url", "postgres://u:p@h/x?sslmode=sometimes"),
        ("accounts", "berlin"),
        ("accounts", r#"["berlin"]"#),
    ] {
        let fault = only_fault(&sources(&[], &[(key, value)]));
        assert_eq!(fault.key.as_deref(), Some(key), "{value}: {fault}");
    }
}

#[test]
fn everything_lies_under_the_root_unless_it_is_absolute() {
    let folder = TempDir::new().unwrap();
    let settings =
        Settings::load(&with_file(&folder, "[folders]\nroot = \"/elsewhere\"\ndone = \"/archive/done\"\n")).unwrap();
    assert_eq!(settings.folders().root, Path::new("/srv/ferry"));
    assert_eq!(settings.folders().inbox, Path::new("/srv/ferry/inbox"));
    assert_eq!(settings.folders().done, Path::new("/archive/done"));
    assert_eq!(settings.database.address.url().expose_secret(), "sqlite:/srv/ferry/eventferry.db");
    assert_eq!(explained(&settings, "folders.inbox").value.as_deref(), Some("/srv/ferry/inbox"));
    assert_eq!(explained(&settings, "folders.root").origin, "flag `--root`");
    let here = Settings::load(&Sources::default()).unwrap();
    assert_eq!(here.folders().work, std::env::current_dir().unwrap().join("work"));
    let file = Settings::load(&sources(&[], &[("database.url", "sqlite:db/events.db")])).unwrap();
    assert_eq!(file.database.address.url().expose_secret(), "sqlite:/srv/ferry/db/events.db");
}

#[test]
fn folders_must_be_apart_and_the_database_outside_of_them() {
    for (set, key) in [
        (("folders.work", "inbox"), "folders.work"),
        (("folders.work", "inbox/work"), "folders.work"),
        (("folders.done", "x/../inbox/./done"), "folders.done"),
        (("folders.rejected", "/srv/ferry/inbox/rejected"), "folders.rejected"),
        (("database.url", "sqlite:inbox/events.db"), "database.url"),
    ] {
        let fault = only_fault(&sources(&[], &[set]));
        assert_eq!(fault.key.as_deref(), Some(key));
        assert!(fault.rule.contains("`folders.inbox`"), "{fault}");
    }
    // A folder whose name only begins like that of another is not inside it.
    assert!(Settings::load(&sources(&[], &[("folders.work", "inbox-work")])).is_ok());
}

#[test]
fn accounts_get_the_policies_of_the_import_where_they_have_none() {
    let folder = TempDir::new().unwrap();
    let settings = Settings::load(&with_file(
        &folder,
        "[import]\non_error = \"reject\"\n[[accounts]]\nname = \"berlin\"\nemail = \"team@example.org\"\non_existing = \"create\"\nallow = [\"with_handlers\"]\n[[accounts]]\nname = \"oslo\"\non_error = \"skip\"\ndisplay_name = \"Oslo team\"\n",
    ))
    .unwrap();
    let berlin = settings.account("berlin").unwrap();
    assert_eq!((berlin.on_error, berlin.on_existing), (OnError::Reject, OnExisting::Create));
    assert_eq!(berlin.email.as_ref().unwrap().to_string(), "team@example.org");
    assert_eq!((berlin.display_name.as_str(), berlin.allow.as_slice()), ("berlin", &[Allow::WithHandlers][..]));
    let oslo = settings.account("oslo").unwrap();
    assert_eq!((oslo.on_error, oslo.on_existing), (OnError::Skip, OnExisting::Update));
    assert_eq!((oslo.display_name.as_str(), &oslo.email), ("Oslo team", &None));
    assert!(oslo.allows(Allow::Event) && oslo.allows(Allow::Again) && !oslo.allows(Allow::OnExisting));
    let default = settings.default_account().unwrap();
    assert_eq!((default.name.as_str(), default.on_error), ("default", OnError::Reject));
    assert!(settings.account("nobody").is_none());
    assert_eq!(explained(&settings, "accounts[1].name").origin, line(&folder, 9));
}

#[test]
fn faults_of_accounts_name_the_block_and_its_line() {
    let folder = TempDir::new().unwrap();
    let text = "[[accounts]]\nname = \"berlin\"\nemail = \"team\"\n\n[[accounts]]\nname = \"berlin\"\n\n[[accounts]]\nemail = \"a@example.org\"\n\n[[accounts]]\nname = \".Oslo\"\nallow = [\"everything\"]\n[[accounts]]\nname = \"x.part\"\n";
    let found = faults(&with_file(&folder, text));
    let found: Vec<_> = found.iter().map(|fault| (fault.key.as_deref().unwrap(), fault.origin.clone())).collect();
    let expected = [
        ("accounts[0].email", line(&folder, 3)),
        ("accounts[1].name", line(&folder, 6)),
        ("accounts[2].name", line(&folder, 8)),
        ("accounts[3].name", line(&folder, 12)),
        ("accounts[3].allow", line(&folder, 13)),
        ("accounts[4].name", line(&folder, 15)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_secret_may_come_from_a_file_of_its_own() {
    let folder = TempDir::new().unwrap();
    let secret_file = folder.path().join("secret");
    write(&secret_file, format!("postgres://ferry:{SECRET}@db/events\n").as_bytes());
    let secret_file = secret_file.to_str().unwrap();
    let settings = Settings::load(&sources(&[], &[("database.url_file", secret_file)])).unwrap();
    assert_eq!(settings.database.address.url().expose_secret(), "postgres://ferry:hunter2@db/events");
    let shown = explained(&settings, "database.url");
    assert_eq!(shown.value.as_deref(), Some("postgres://ferry:***@db/events"));
    assert_eq!(shown.origin, format!("file `{secret_file}`"));

    let both = [("smtp.user", "f"), ("smtp.password", SECRET), ("smtp.password_file", secret_file)];
    let fault = only_fault(&sources(&[], &both));
    assert_eq!(fault.key.as_deref(), Some("smtp.password_file"));
    assert!(fault.rule.contains("must not be set beside `smtp.password`"));
    let missing = only_fault(&sources(&[], &[("smtp.user", "f"), ("smtp.password_file", "nowhere")]));
    assert!(missing.rule.contains("`/srv/ferry/nowhere`: No such file"), "{missing}");
}

#[test]
fn a_secret_whose_file_is_at_fault_is_not_said_to_be_missing_as_well() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for secret in ["", &format!("secret = \"{key}\", ")] {
        let handler = format!(
            r#"[{{name = "tickets", kind = "webhook", url = "https://tickets.example.org/hook", {secret}secret_file = "nowhere"}}]"#
        );
        let fault = only_fault(&sources(&[], &[("handlers", &handler)]));
        assert_eq!(fault.key.as_deref(), Some("handlers[0].secret_file"), "{fault}");
    }
}

#[test]
fn what_nobody_has_set_in_a_block_is_shown_with_the_value_in_force() {
    let given = sources(
        &[],
        &[
            ("import.on_error", "reject"),
            ("accounts", r#"[{name = "berlin"}]"#),
            ("export", r#"[{name = "n", cron = "0 3 * * *", keep = 3}]"#),
            ("handlers", HANDLER),
        ],
    );
    let settings = Settings::load(&given).unwrap();
    for (key, value, origin) in [
        ("accounts[0].on_error", "reject", "`import.on_error`"),
        ("accounts[0].with_handlers", "false", "`import.with_handlers`"),
        ("accounts[0].allow", "[on_error, event, again]", "default"),
        ("export[0].account", "default", "`inbox.default_account`"),
        ("export[0].events", "[all]", "default"),
        ("export[0].zone", "UTC", "default"),
        ("export[0].missed", "one", "default"),
        ("export[0].missed_within", "1w", "default"),
        ("export[0].keep", "3", "flag `--set`"),
        ("export[0].keep_days", "0", "default"),
        ("handlers[0].actions", "[created, updated, gone]", "default"),
        ("handlers[0].when_down", "hold", "default"),
        ("handlers[0].timeout", "30s", "default"),
    ] {
        let shown = explained(&settings, key);
        assert_eq!((shown.value.as_deref(), shown.origin.as_str()), (Some(value), origin), "{key}");
    }
    for key in ["accounts[0].email", "export[0].state", "handlers[0].memory"] {
        assert_eq!(explained(&settings, key).value, None, "{key}");
    }
}

#[test]
fn a_wrong_level_is_told_of_the_flag_that_gave_it() {
    let given = sources(&[], &[("log.level", "info")]);
    let overrides = Overrides { log_level: Some("foo".to_owned()), ..given.overrides.clone() };
    let fault = only_fault(&Sources { overrides, ..given });
    assert_eq!((fault.key.as_deref(), fault.origin.as_str()), (Some("log.level"), "flag `--log-level`"));
}

#[test]
fn an_address_of_a_server_that_the_driver_would_refuse_is_told_with_the_reason_and_without_its_password() {
    let fault = only_fault(&sources(&[], &[("database.url", &format!("postgres://u:{SECRET}@h:99999/x"))]));
    assert!(fault.rule.contains("invalid port number"), "{fault}");
    assert!(!fault.to_string().contains(SECRET), "{fault}");
}

#[test]
fn no_secret_is_ever_shown() {
    let folder = TempDir::new().unwrap();
    let url = format!("postgres://ferry:{SECRET}@db/events");
    let text = format!("[database]\nurl = \"{url}\"\n[smtp]\nuser = \"f\"\npassword = \"{SECRET}\"\n");
    let given = with_file(&folder, &text);
    assert!(!format!("{given:?}").contains(SECRET));
    let settings = Settings::load(&given).unwrap();
    assert_eq!(settings.smtp.password.as_ref().unwrap().expose_secret(), SECRET);
    assert_eq!(explained(&settings, "smtp.password").value.as_deref(), Some("***"));
    assert_eq!(explained(&settings, "database.url").value.as_deref(), Some("postgres://ferry:***@db/events"));
    assert!(!format!("{settings:?}").contains(SECRET));

    let wrong_database = format!("mysql://ferry:{SECRET}@db/events");
    let pasted_host = format!("smtp://ferry:{SECRET}@mail");
    for (key, value) in [
        ("database.url", wrong_database.as_str()),
        ("database.url", SECRET),
        ("database.urll", &url),
        ("smtp.pasword", SECRET),
        ("smtp.host", &pasted_host),
        ("smtp.password.text", SECRET),
        ("smtp", SECRET),
    ] {
        let given = sources(&[], &[(key, value)]);
        let variable = sources(&[(sources::variable_of(key).as_str(), value)], &[]);
        for given in [given, variable] {
            let found = Settings::load(&given).unwrap_err();
            assert!(!found.to_string().contains(SECRET) && !format!("{found:?}").contains(SECRET), "{found}");
            assert!(!format!("{given:?}").contains(SECRET));
        }
    }
}

#[test]
fn an_assignment_on_the_command_line_needs_a_key() {
    assert_eq!(parse_assignment("a.b = c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
    assert_eq!(parse_assignment("smtp.host="), Ok(("smtp.host".to_owned(), String::new())));
    assert_eq!(parse_assignment("queue.lease"), Err(AssignmentError));
    assert_eq!(parse_assignment("=5"), Err(AssignmentError));
}

#[test]
fn what_is_not_utf8_is_told_and_not_guessed() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let odd = || OsString::from_vec(b"hunter2\xff".to_vec());
    let environment = BTreeMap::from([("EVENTFERRY__SMTP__PASSWORD".into(), odd()), (odd(), odd())]);
    let overrides = Overrides { root: Some(odd().into()), ..Overrides::default() };
    let found = faults(&Sources { file: None, environment, overrides });
    let keys: Vec<_> = found.iter().filter_map(|fault| fault.key.as_deref()).collect();
    assert_eq!(keys, ["smtp.password", "folders.root"]);
    assert!(found.iter().all(|fault| fault.rule == "must be UTF-8" && fault.value.is_none()));
}

#[test]
fn faults_of_exports_name_the_block_and_what_would_be_right() {
    for (text, key, part) in [
        (r#"name = "n""#, "export[0].cron", "must be set"),
        (r#"name = "n", cron = "0 3 30 2 *""#, "export[0].cron", "never fires"),
        (r#"name = "n", cron = "0 3 * *""#, "export[0].cron", "not the five of a crontab"),
        (r#"name = "n", cron = "0 3 * * *", zone = "Berlin""#, "export[0].zone", "IANA name"),
        (r#"name = "n", cron = "0 3 * * *", account = "nobody""#, "export[0].account", "name of an account"),
        (r#"name = "n", cron = "0 3 * * *", formats = ["pdf"]"#, "export[0].formats", "schedule.ics"),
        (r#"name = "n", cron = "0 3 * * *", media = ["smell"]"#, "export[0].media", "image"),
        (r#"name = "n", cron = "0 3 * * *", kept = 3"#, "export[0].kept", "no setting"),
    ] {
        let fault = only_fault(&sources(&[], &[("export", &format!("[{{{text}}}]"))]));
        assert_eq!(fault.key.as_deref(), Some(key), "{text}");
        assert!(format!("{} {}", fault.rule, fault.remedy).contains(part), "{text}: {fault:?}");
    }
    let twice = r#"[{name = "n", cron = "0 3 * * *"}, {name = "n", cron = "0 4 * * *"}]"#;
    assert_eq!(only_fault(&sources(&[], &[("export", twice)])).key.as_deref(), Some("export[1].name"));
}

#[test]
fn a_handler_has_what_is_documented_where_nothing_else_is_said() {
    let settings = Settings::load(&sources(&[], &[("handlers", HANDLER)])).unwrap();
    let [handler] = settings.handlers.as_slice() else { panic!("{:?}", settings.handlers) };
    let HandlerTarget::Webhook(target) = &handler.target else { panic!("{handler:?}") };
    assert_eq!((target.timeout, target.secrets.len()), (Duration::from_secs(30), 1));
    assert_eq!((handler.concurrency, handler.attempts, handler.keep_days), (4, 10, 30));
    assert_eq!((handler.interest.max_pending, handler.interest.when_down), (1_000, WhenDown::Hold));
    assert_eq!(handler.interest.actions, [Action::Created, Action::Updated, Action::Gone]);
    assert_eq!(handler.interest.down_after, Duration::from_hours(1));
    assert!(!settings.import.with_handlers);

    let program = r#"[{name = "told", kind = "program", path = "/usr/bin/told"}]"#;
    let settings = Settings::load(&sources(&[], &[("handlers", program)])).unwrap();
    let HandlerTarget::Program(program) = &settings.handlers[0].target else { panic!("{:?}", settings.handlers) };
    assert_eq!(program.environment, ["PATH", "LANG"]);
    assert_eq!((program.time, program.memory, program.output), (Duration::from_mins(1), Some(512 << 20), 1 << 20));
}

#[test]
fn faults_of_handlers_name_the_block_and_what_would_be_right() {
    const URL: &str = r#"url = "https://tickets.example.org/hook""#;
    const SECRET: &str = r#"secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw""#;
    let webhook = |more: &str| format!("name = \"n\", kind = \"webhook\", {more}");
    for (text, key, part) in [
        (r#"name = "n""#.to_owned(), "handlers[0].kind", "must be set"),
        (webhook(SECRET), "handlers[0].url", "must be set"),
        (webhook(URL), "handlers[0].secret", "must be set"),
        (webhook(&format!("{URL}, secret = \"hunter2\"")), "handlers[0].secret", "whsec_"),
        (
            webhook(&format!("{URL}, {SECRET}, previous_secret = \"whsec_c2hvcnQ=\"")),
            "handlers[0].previous_secret",
            "24",
        ),
        (webhook(&format!("url = \"ftp://x/\", {SECRET}")), "handlers[0].url", "https://"),
        (webhook(&format!("url = \"https://me:hunter2@x/\", {SECRET}")), "handlers[0].url", "headers_file"),
        (webhook(&format!("url = \"http://x/\", {SECRET}")), "handlers[0].url", "allow_addresses"),
        (webhook(&format!("{URL}, {SECRET}, allow_addresses = [\"inside\"]")), "handlers[0].allow_addresses", "10.20"),
        (webhook(&format!("{URL}, {SECRET}, headers = \"no header\"")), "handlers[0].headers", "Name: value"),
        (webhook(&format!("{URL}, {SECRET}, headers = \"Webhook-Id: x\"")), "handlers[0].headers", "already"),
        (webhook(&format!("{URL}, {SECRET}, datasets = [\"lunch\"]")), "handlers[0].datasets", "sessions"),
        (webhook(&format!("{URL}, {SECRET}, actions = [\"made\"]")), "handlers[0].actions", "import.finished"),
        (webhook(&format!("{URL}, {SECRET}, accounts = [\"nobody\"]")), "handlers[0].accounts", "accounts"),
        (webhook(&format!("{URL}, {SECRET}, source = \"two words\"")), "handlers[0].source", "URI"),
        (webhook(&format!("{URL}, {SECRET}, path = \"/bin/true\"")), "handlers[0].path", "program"),
        (webhook(&format!("{URL}, {SECRET}, retries = 3")), "handlers[0].retries", "no setting"),
        (r#"name = "n", kind = "program""#.to_owned(), "handlers[0].path", "must be set"),
        (r#"name = "n", kind = "program", path = "told""#.to_owned(), "handlers[0].path", "whole path"),
        (
            r#"name = "n", kind = "program", path = "/x", user = "no such user""#.to_owned(),
            "handlers[0].user",
            "user of this",
        ),
        (r#"name = "n", kind = "program", path = "/x", timeout = "1s""#.to_owned(), "handlers[0].timeout", "webhook"),
    ] {
        let fault = only_fault(&sources(&[], &[("handlers", &format!("[{{{text}}}]"))]));
        assert_eq!(fault.key.as_deref(), Some(key), "{text}: {fault:?}");
        assert!(format!("{} {}", fault.rule, fault.remedy).contains(part), "{text}: {fault:?}");
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
    for (window, part) in [("always", "form"), ("22:00-22:00 UTC", "same"), ("22:00-06:00 Berlin", "IANA")] {
        let fault = only_fault(&sources(&[], &[("import.window", window)]));
        assert_eq!(fault.key.as_deref(), Some("import.window"));
        assert!(fault.rule.contains(part), "{fault:?}");
    }
}
