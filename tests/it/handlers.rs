//! Handlers as an admin and a receiver see them: the real command, the real time, TLS, `eventferry handlers`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::archive::Archive;
use crate::support::binary::{Ended, Process, eventferry, run, succeed};
use crate::support::receiver::{HookReceiver, Options, SECRET};
use crate::support::smtp::make_certificates;

/// A receiver for which the time of a signature counts.
fn strict() -> HookReceiver {
    HookReceiver::with(&Options { secrets: vec![SECRET.to_owned()], strict: true, ..Options::default() })
}

/// A root with one handler in its configuration.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new(receiver: &HookReceiver, more: &str) -> Self {
        let root = Self { folder: tempfile::tempdir().unwrap() };
        root.configure(receiver, more);
        root
    }

    fn configure(&self, receiver: &HookReceiver, more: &str) {
        let text = format!(
            "[[handlers]]\nname = \"tickets\"\nkind = \"webhook\"\nurl = \"{}?token=hunter2\"\nsecret = \"{SECRET}\"\n\
             allow_addresses = [\"127.0.0.1\"]\n{more}\n",
            receiver.url()
        );
        fs::write(self.path().join("ferry.toml"), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn args<'a>(&self, config: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [&["--config", config], args].concat()
    }

    fn run(&self, args: &[&str]) -> Ended {
        let config = self.path().join("ferry.toml");
        run(self.path(), &self.args(config.to_str().unwrap(), args))
    }

    fn succeed(&self, args: &[&str]) -> Ended {
        let config = self.path().join("ferry.toml");
        succeed(self.path(), &self.args(config.to_str().unwrap(), args))
    }

    /// Runs it where it has to end well, whatever it says of its progress.
    fn end_well(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended
    }

    fn command(&self, args: &[&str]) -> Command {
        let config = self.path().join("ferry.toml");
        eventferry(self.path(), &self.args(config.to_str().unwrap(), args))
    }

    fn archive(&self) -> String {
        let path = self.path().join("harbour.zip");
        fs::write(&path, Archive::flat().zip()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn whoever_deletes_an_event_reads_which_handlers_are_not_told() {
    let receiver = strict();
    let root = Root::new(&receiver, "");
    let delete = |wanted: &str| {
        root.configure(&receiver, wanted);
        root.end_well(&["import", "--again", &root.archive()]);
        let event = root.succeed(&["events", "list", "--json"]).json()[0]["id"].to_string();
        root.succeed(&["events", "delete", &event, "--yes"]).out
    };
    let deleted = delete("");
    assert!(deleted.ends_with(" records. The handler `tickets` is not told of it.\n"), "{deleted}");
    let deleted = delete("actions = [\"created\", \"import.finished\"]");
    assert!(deleted.ends_with(" records.\n"), "{deleted}");
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn a_command_tells_everything_before_it_ends_and_only_where_it_is_asked_to() {
    let receiver = strict();
    let root = Root::new(&receiver, "");
    let archive = root.archive();
    root.end_well(&["import", &archive]);
    assert_eq!(receiver.requests().len(), 0);
    root.end_well(&["import", "--again", "--with-handlers=false", &archive]);
    assert_eq!(receiver.requests().len(), 0);
    let other = Root::new(&receiver, "actions = [\"created\", \"import.finished\", \"export.finished\"]");
    other.end_well(&["import", "--with-handlers", &archive]);
    let messages = receiver.messages();
    let kinds: Vec<&str> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"eventferry.event.created.v1") && kinds.contains(&"eventferry.session.created.v1"));
    assert_eq!(kinds.last(), Some(&"eventferry.import.finished.v1"));
    other.end_well(&["export", "--with-handlers", "all", "--format", "sessions.csv"]);
    assert_eq!(receiver.messages().last().unwrap()["type"], "eventferry.export.finished.v1");

    let listed = other.succeed(&["handlers", "list", "--json"]).json();
    let tickets = &listed[0];
    assert_eq!(
        (&tickets["name"], &tickets["state"], &tickets["undelivered"]),
        (&json!("tickets"), &json!("on"), &json!(0))
    );
    assert_eq!(tickets["delivered"], json!(messages.len() + 1));
    let shown = other.succeed(&["handlers", "list"]).out;
    assert!(shown.contains("tickets") && !shown.contains("hunter2"), "{shown}");
    let job = other.succeed(&["jobs", "list", "--json"]).json()[1]["id"].as_str().unwrap().to_owned();
    let shown = other.succeed(&["jobs", "show", &job]).out;
    assert!(shown.contains(&format!("tickets: {} delivered", messages.len())), "{shown}");
    let status = other.succeed(&["status"]).out;
    assert!(status.contains("tickets, on"), "{status}");
}

#[test]
fn what_was_put_aside_is_listed_shown_and_sent_again_singly_or_all() {
    let receiver = strict();
    let root = Root::new(&receiver, "attempts = 1\ndatasets = [\"tracks\"]");
    receiver.answer(500, 100);
    root.end_well(&["import", "--with-handlers", &root.archive()]);
    let shown = root.succeed(&["handlers", "show", "tickets", "--json"]).json();
    let letters = shown["dead_letters"].as_array().unwrap().clone();
    assert!(letters.len() > 1, "{shown:#}");
    assert!(shown["failing_since"].is_string() && shown["last_error"].as_str().unwrap().contains("500"));
    let text = root.succeed(&["handlers", "show", "tickets"]).out;
    assert!(text.contains("Dead letters") && text.contains("given up after 1 try;"), "{text}");
    let id = letters[0]["id"].as_str().unwrap();
    let message = root.succeed(&["handlers", "show", id, "--json"]).json();
    assert_eq!(message["body"]["id"], *id);
    assert_eq!(message["data"]["dataset"], "tracks");
    let several = root.run(&["handlers", "show", &id[..1]]);
    assert_eq!(several.code, 3, "{several:?}");
    assert!(letters.iter().all(|letter| several.err.contains(letter["id"].as_str().unwrap())), "{several:?}");
    assert_eq!(root.run(&["handlers", "show", "%"]).code, 3);
    let text = root.succeed(&["handlers", "show", &id[..id.len() - 1].to_uppercase()]).out;
    assert!(text.contains("dead") && text.contains("\"dataset\": \"tracks\""), "{text}");

    // They are sent again by whoever runs next, under the ids that they had.
    let receiver = strict();
    root.configure(&receiver, "attempts = 1\ndatasets = [\"tracks\"]");
    let told = root.succeed(&["handlers", "replay", &id[..id.len() - 1]]).out;
    assert!(told.starts_with("1 message is sent again"), "{told}");
    let twice = root.run(&["handlers", "replay", id]);
    assert_eq!(twice.code, 2, "it is on its way");
    assert!(twice.err.contains("is not sent again: it still waits"), "{twice:?}");
    root.end_well(&["run", "--once"]);
    assert_eq!(receiver.messages().iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), [json!(id)]);
    root.succeed(&["handlers", "replay", "--handler", "tickets", "--until", "2020-01-01"]);
    root.end_well(&["run", "--once"]);
    assert_eq!(receiver.requests().len(), 1);
    root.succeed(&["handlers", "replay", "--handler", "tickets", "--since", "2020-01-01"]);
    root.end_well(&["run", "--once"]);
    assert_eq!(receiver.requests().len(), letters.len());
    root.succeed(&["handlers", "replay", "--handler", "tickets", "--delivered"]);
    root.end_well(&["run", "--once"]);
    assert_eq!(receiver.requests().len(), 2 * letters.len());
}

#[test]
fn a_handler_that_is_paused_gets_nothing_until_it_is_resumed() {
    let receiver = strict();
    let root = Root::new(&receiver, "datasets = [\"event\"]");
    root.end_well(&["run", "--once"]);
    root.succeed(&["handlers", "pause", "tickets"]);
    root.end_well(&["import", "--with-handlers", &root.archive()]);
    assert_eq!(receiver.requests().len(), 0);
    let shown = root.succeed(&["handlers", "list"]).out;
    assert!(shown.contains("paused since") && shown.contains("by hand"), "{shown}");
    let told = root.succeed(&["handlers", "resume", "tickets"]).out;
    assert!(told.starts_with("Handler tickets is on"), "{told}");
    root.end_well(&["run", "--once"]);
    assert_eq!(receiver.messages().len(), 1);
    for args in [["handlers", "pause", "nobody"], ["handlers", "show", "nobody"], ["handlers", "test", "nobody"]] {
        let ended = root.run(&args);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.err.contains("there is no handler `nobody`"), "{ended:?}");
    }
}

#[test]
fn a_handler_that_was_switched_off_is_switched_on_again_by_hand() {
    let receiver = strict();
    let root = Root::new(&receiver, "datasets = [\"event\"]");
    receiver.answer(410, 1);
    root.end_well(&["import", "--with-handlers", &root.archive()]);
    let shown = root.succeed(&["handlers", "show", "tickets"]).out;
    assert!(shown.contains("off since") && shown.contains("410 Gone"), "{shown}");
    let told = root.succeed(&["handlers", "resume", "tickets"]).out;
    assert!(told.contains("1 dead letter stays aside") && told.contains("replay --handler tickets"), "{told}");
    root.succeed(&["handlers", "replay", "--handler", "tickets"]);
    root.end_well(&["run", "--once"]);
    let ids: Vec<String> = receiver.requests().iter().map(|request| request.headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    assert_eq!(root.succeed(&["handlers", "list", "--json"]).json()[0]["delivered"], 1);
}

#[test]
fn a_handler_can_be_tried_without_an_import() {
    let receiver = strict();
    let root = Root::new(&receiver, "");
    let told = root.succeed(&["handlers", "test", "tickets"]).out;
    assert!(told.starts_with("Handler tickets has taken message "), "{told}");
    assert_eq!(receiver.messages()[0]["type"], "eventferry.test.v1");
    receiver.script(&[json!({"status": 401, "body": "who are you?"})]);
    let ended = root.run(&["handlers", "test", "tickets"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("it answered 401 Unauthorized: who are you?"), "{ended:?}");
    receiver.script(&[json!({"status": 503, "headers": {"Retry-After": "120"}})]);
    assert!(root.run(&["handlers", "test", "tickets"]).err.contains("left alone for 120 s"));
    let port = receiver.port();
    drop(receiver);
    let ended = root.run(&["handlers", "test", "tickets"]);
    assert!(ended.err.contains("Connection refused") && !ended.err.contains("hunter2"), "{ended:?} {port}");
}

#[test]
fn a_receiver_behind_tls_is_believed_only_by_its_root_and_may_want_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let receiver = HookReceiver::with(&Options {
        secrets: vec![SECRET.to_owned()],
        strict: true,
        certificate: Some(file("server.pem")),
        key: Some(file("server.key")),
        client_ca: Some(file("ca.pem")),
    });
    let stranger = Root::new(&receiver, "").run(&["handlers", "test", "tickets"]);
    assert_eq!(stranger.code, 3);
    assert!(stranger.err.to_lowercase().contains("certificate"), "{stranger:?}");
    let ca = format!("ca_file = \"{}\"", file("ca.pem"));
    assert_eq!(Root::new(&receiver, &ca).run(&["handlers", "test", "tickets"]).code, 3, "it shows no certificate");
    let both = [fs::read(file("server.pem")).unwrap(), fs::read(file("server.key")).unwrap()].concat();
    fs::write(file("client.pem"), both).unwrap();
    let known = format!("{ca}\nclient_certificate_file = \"{}\"", file("client.pem"));
    Root::new(&receiver, &known).succeed(&["handlers", "test", "tickets"]);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_hangup_takes_over_handlers_and_bounds_and_a_faulty_configuration_changes_nothing() {
    let receiver = strict();
    let root = Root::new(&receiver, "actions = [\"import.finished\"]");
    fs::create_dir_all(root.path().join("inbox")).unwrap();
    let archive = fs::read(root.archive()).unwrap();
    let drop_in = |name: &str| {
        fs::write(root.path().join("aside"), &archive).unwrap();
        fs::rename(root.path().join("aside"), root.path().join("inbox").join(name)).unwrap();
    };
    let mut process = Process::start(root.command(&["--set", "import.with_handlers=true", "run"]));
    drop_in("one.zip");
    let wait = |receiver: &HookReceiver, count: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(receiver.done(count));
    };
    wait(&receiver, 1);

    fs::write(root.path().join("ferry.toml"), "[[handlers]]\nname = \"tickets\"\n").unwrap();
    process.hang_up();
    let second = strict();
    root.configure(&second, "datasets = [\"tracks\"]");
    process.hang_up();
    // The second configuration is in force as soon as its handler is told of something.
    let changed = Archive::flat().set("tracks", "/0/name", "Renamed").zip();
    fs::write(root.path().join("aside"), changed).unwrap();
    fs::rename(root.path().join("aside"), root.path().join("inbox/two.zip")).unwrap();
    wait(&second, 1);
    assert_eq!(second.messages()[0]["type"], "eventferry.track.updated.v1");
    assert_eq!(receiver.requests().len(), 1);
    process.assert_alive();
    process.terminate();
    let ended = process.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("has faults"), "{ended:?}");
    assert!(ended.err.contains("handlers[0].kind"), "{ended:?}");
}
