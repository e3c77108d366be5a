//! Messages to a receiver that answers at once, and the same bodies from a bare client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::ours::{self, Run};

/// Requests at the same time, from either side.
pub const CONCURRENCY: usize = 4;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A receiver on a free port of this machine, a thread for each connection.
pub struct Receiver {
    port: u16,
    taken: Arc<AtomicU64>,
}

impl Receiver {
    /// Starts it; it ends with the process.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (port, taken) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // A connection that breaks has nothing more to say.
                thread::spawn(move || drop(serve(&stream, &counter)));
            }
        });
        Ok(Self { port, taken })
    }

    /// Requests taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, counter: &AtomicU64) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        counter.fetch_add(1, Ordering::SeqCst);
        writer.write_all(ANSWER)?;
    }
}

/// Imports with every record told to the receiver, until the last message is delivered.
pub fn import(binary: &Path, archive: &Path, root: &Path, receiver: &Receiver) -> Result<Run> {
    let handler = format!(
        "handlers=[{{name = \"bench\", kind = \"webhook\", url = \"http://127.0.0.1:{}/\", \
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", allow_addresses = [\"127.0.0.1\"], \
         concurrency = {CONCURRENCY}}}]",
        receiver.port
    );
    let mut command = Command::new(binary);
    command.arg("import").arg("--with-handlers").arg(archive).arg("--root").arg(root);
    command.args(["--set", "import.chunk_pause=0s", "--set", &handler]);
    ours::run(&mut command, &root.with_extension("log"))
}

/// Sends these bodies, over as many connections, as fast as the receiver answers.
pub fn send(bodies: &[String], receiver: &Receiver) -> Result<Duration> {
    let started = Instant::now();
    thread::scope(|scope| {
        let share = bodies.len().div_ceil(CONCURRENCY).max(1);
        let senders: Vec<_> =
            bodies.chunks(share).map(|share| scope.spawn(|| send_each(share, receiver.port))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().ok().context("a sender has panicked")?)
    })?;
    Ok(started.elapsed())
}

fn send_each(bodies: &[String], port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut answer = [0; ANSWER.len()];
    for body in bodies {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/cloudevents+json; charset=UTF-8\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        stream.read_exact(&mut answer)?;
    }
    Ok(())
}
