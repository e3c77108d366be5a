//! Stands between the daemon and PostgreSQL: cuts every connection, swallows the answer to a COMMIT, refuses one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is made, and answered.
    Pass,
    /// It is made; the connection breaks before the answer.
    AnswerLost,
    /// It is not made: the server says that it cannot serialize access.
    Refused,
}

/// A simple query with the one word, as `protocol-message-formats` describes it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const ROLLBACK: &[u8] = b"Q\0\0\0\x0dROLLBACK\0";

/// What a server says that has rolled back and is ready for the next query.
const IDLE: &[u8] = b"Z\0\0\0\x05I";

type Plan = Box<dyn FnMut(u32) -> Fate + Send>;

/// A server that forwards to another one. Its threads end with the connections.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    is_down: AtomicBool,
    is_over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    plan: Mutex<Plan>,
    commits: AtomicU32,
    disturbed: AtomicU32,
}

impl Proxy {
    /// In front of the server of a URL.
    pub(crate) fn before(url: &str) -> Self {
        let (_, rest) = url.rsplit_once('@').unwrap();
        let (server, _) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            is_down: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            connections: Mutex::default(),
            plan: Mutex::new(Box::new(|_| Fate::Pass)),
            commits: AtomicU32::new(0),
            disturbed: AtomicU32::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || serving.serve(&listener));
        Self { port, shared }
    }

    /// The same URL by way of this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(&self.shared.server, &format!("127.0.0.1:{}", self.port))
    }

    /// Cuts every connection; new ones are closed at once.
    pub(crate) fn down(&self) {
        self.shared.is_down.store(true, Ordering::SeqCst);
        self.shared.cut();
    }

    /// Lets connections through again.
    pub(crate) fn up(&self) {
        self.shared.is_down.store(false, Ordering::SeqCst);
    }

    /// Decides over each COMMIT by its number, 1 for the first one after this call.
    pub(crate) fn judge(&self, plan: impl FnMut(u32) -> Fate + Send + 'static) {
        *self.shared.plan.lock().unwrap() = Box::new(plan);
        self.shared.commits.store(0, Ordering::SeqCst);
        self.shared.disturbed.store(0, Ordering::SeqCst);
    }

    /// COMMITs seen since [`Proxy::judge`].
    pub(crate) fn commits(&self) -> u32 {
        self.shared.commits.load(Ordering::SeqCst)
    }

    /// COMMITs that were not let pass since [`Proxy::judge`].
    pub(crate) fn disturbed(&self) -> u32 {
        self.shared.disturbed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.down();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(client), false) = (client, self.is_down.load(Ordering::SeqCst)) else { continue };
            let Ok(server) = TcpStream::connect(&self.server) else { continue };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let fate = Arc::new(Mutex::new(Fate::Pass));
            let pipes = [(client.try_clone(), server.try_clone()), (server.try_clone(), client.try_clone())];
            self.connections.lock().unwrap().extend([client, server]);
            let [(Ok(asking), Ok(asked)), (Ok(answering), Ok(answered))] = pipes else { continue };
            let (there, back) = (Arc::clone(self), Arc::clone(self));
            let told = Arc::clone(&fate);
            thread::spawn(move || there.forward_questions(asking, asked, &told));
            thread::spawn(move || back.forward_answers(answering, answered, &fate));
            // It may have gone down in between.
            if self.is_down.load(Ordering::SeqCst) {
                self.cut();
            }
        }
    }

    fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn forward_questions(&self, mut from: TcpStream, mut to: TcpStream, fate: &Mutex<Fate>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(length) = read(&mut from, &mut buffer) {
            let bytes = &buffer[..length];
            let mut decided = Fate::Pass;
            if bytes.ends_with(COMMIT) {
                let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
                decided = (self.plan.lock().unwrap())(number);
            }
            if decided != Fate::Pass {
                *fate.lock().unwrap() = decided;
            }
            let sent = if decided == Fate::Refused {
                to.write_all(&bytes[..length - COMMIT.len()]).and_then(|()| to.write_all(ROLLBACK))
            } else {
                to.write_all(bytes)
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn forward_answers(&self, mut from: TcpStream, mut to: TcpStream, fate: &Mutex<Fate>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(length) = read(&mut from, &mut buffer) {
            let bytes = &buffer[..length];
            let decided = *fate.lock().unwrap();
            let sent = match decided {
                Fate::Pass => to.write_all(bytes),
                _ if !bytes.ends_with(IDLE) => continue,
                Fate::AnswerLost => {
                    self.disturbed.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Fate::Refused => {
                    self.disturbed.fetch_add(1, Ordering::SeqCst);
                    *fate.lock().unwrap() = Fate::Pass;
                    to.write_all(&cannot_serialize())
                }
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    }
}

fn read(from: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match from.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The error of a transaction that others have overtaken, and that the server is ready for the next query.
fn cannot_serialize() -> Vec<u8> {
    let fields = b"SERROR\0VERROR\0C40001\0Mcould not serialize access due to concurrent update\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E", &length[..], fields, IDLE].concat()
}
