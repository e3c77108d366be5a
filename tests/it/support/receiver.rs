//! A real receiver of webhooks for one test: Python's HTTP server, with independent readers of signatures and events.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::child::start_and_hear;

/// How long a test waits for the receiver before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secret that the receiver knows.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The secret before it.
pub(crate) const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How a receiver is started.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Options {
    /// What it checks signatures with.
    pub(crate) secrets: Vec<String>,
    /// Whether the time of a signature must be that of this machine.
    pub(crate) strict: bool,
    /// PEM files for TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// A PEM file with the root certificate of those who may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ca: Option<String>,
}

/// A request as it came.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) body: String,
    /// What the independent implementation says with each secret: `true`, or why not.
    pub(crate) signatures: Vec<Value>,
    /// The event as the independent implementation reads it.
    pub(crate) event: Option<Value>,
    /// Why it could not.
    pub(crate) fault: Option<String>,
}

impl Request {
    /// The message as it was sent, which must be well signed and read the same by the independent implementation.
    pub(crate) fn message(&self) -> Value {
        assert_eq!(self.signatures, vec![Value::Bool(true); self.signatures.len()], "{self:?}");
        assert_eq!(self.fault, None);
        let message: Value = serde_json::from_str(&self.body).unwrap();
        let event = self.event.as_ref().unwrap();
        for key in ["id", "source", "type", "subject", "specversion"] {
            assert_eq!(message[key], event[key], "{key}");
        }
        assert_eq!(message["data"], event["data"]);
        assert_eq!(self.headers["webhook-id"], message["id"].as_str().unwrap());
        message
    }
}

#[derive(Deserialize)]
struct Seen {
    requests: Vec<Request>,
    most: usize,
}

/// A running receiver. It is killed and waited for with this value.
#[derive(Debug)]
pub(crate) struct HookReceiver {
    child: Child,
    port: u16,
    /// Where scripts are written and requests are read.
    door: u16,
    is_tls: bool,
}

impl HookReceiver {
    /// Starts one on a free port of 127.0.0.1, for tests on a manual clock.
    pub(crate) fn start() -> Self {
        Self::with(&Options { secrets: vec![SECRET.to_owned()], ..Options::default() })
    }

    /// Starts one.
    ///
    /// # Panics
    /// Where `tests/run` has not made the virtual environment.
    pub(crate) fn with(options: &Options) -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
        assert!(python.exists(), "this test needs Python's standardwebhooks: start the tests with `tests/run`");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/receiver.py");
        let mut command = Command::new(python);
        let (child, line) = start_and_hear(command.arg(program).arg(serde_json::to_string(options).unwrap()));
        let (port, door) = line.trim().split_once(' ').expect("the receiver prints its ports");
        let (port, door) = (port.parse().unwrap(), door.parse().unwrap());
        Self { child, port, door, is_tls: options.certificate.is_some() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What is tested.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/hook", self.port)
    }

    /// Adds to what the next requests are answered.
    pub(crate) fn script(&self, steps: &[Value]) {
        self.ask("POST", "/script", &Value::from(steps.to_vec()).to_string());
    }

    /// Answers `count` requests with this status.
    pub(crate) fn answer(&self, status: u16, count: usize) {
        self.script(&vec![json!({ "status": status, "body": "not now" }); count]);
    }

    /// Lets go of those that hang.
    pub(crate) fn release(&self) {
        self.ask("POST", "/release", "");
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait(&self, count: usize) {
        self.ask_aside(format!("/wait/{count}")).await;
    }

    /// Waits until so many requests were answered.
    pub(crate) async fn done(&self, count: usize) {
        self.ask_aside(format!("/done/{count}")).await;
    }

    /// Every request so far, in the order in which they came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen().requests
    }

    /// Every message so far.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.requests().iter().map(Request::message).collect()
    }

    /// The most requests that were under way at the same time.
    pub(crate) fn most(&self) -> usize {
        self.seen().most
    }

    fn seen(&self) -> Seen {
        serde_json::from_str(&self.ask("GET", "/seen", "")).unwrap()
    }

    async fn ask_aside(&self, path: String) {
        let port = self.door;
        tokio::task::spawn_blocking(move || ask(port, "GET", &path, "")).await.unwrap();
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        ask(self.door, method, path, body)
    }
}

impl Drop for HookReceiver {
    fn drop(&mut self) {
        // It may have ended by itself; waiting tells in either case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request to the door of the receiver.
fn ask(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}
