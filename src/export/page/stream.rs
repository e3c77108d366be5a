//! Carries records into a running template and its page out of it.
//!
//! Values of a template outlive every borrow, a source is only borrowed. So the template runs in a thread of its own and
//! asks for records in small portions; the thread that has the source answers, and writes the page.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use minijinja::{Error, ErrorKind, Value};

use crate::export::program::RenderError;

/// Records per portion, and portions of the page that may wait.
const PORTION: usize = 32;
const WAITING: usize = 4;

/// Bytes of the page per portion.
const BUFFER: usize = 32 * 1024;

/// A list that a template can loop over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum List {
    /// Sessions of a day, by its index.
    Day(usize),
    /// Sessions without a time.
    Unscheduled,
    /// Speakers.
    Speakers,
}

/// What the records of a list are, one by one, as the template sees them.
pub(super) type Records<'a> = Box<dyn Iterator<Item = Result<Value, RenderError>> + 'a>;

enum Request {
    /// The next portion of the loop with this number, an empty one at its end.
    Next { number: u64, list: List, answer: SyncSender<Vec<Value>> },
    /// The loop is over.
    Drop { number: u64 },
    /// A portion of the page.
    Write(Vec<u8>),
}

/// Makes lists for a template.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    requests: SyncSender<Request>,
    numbers: Arc<AtomicU64>,
}

/// The other end of [`Lists`].
pub(super) struct Asked(Receiver<Request>);

/// Lists for one run of a template.
pub(super) fn lists() -> (Lists, Asked) {
    let (requests, asked) = sync_channel(WAITING);
    (Lists { requests, numbers: Arc::default() }, Asked(asked))
}

/// Runs a template that loops over `lists` and writes its page.
///
/// # Errors
/// The first of: a record that cannot be read, a page that cannot be written, the template's own error.
pub(super) fn run<'a>(
    (lists, asked): (Lists, Asked),
    out: &mut dyn Write,
    open: impl FnMut(List) -> Records<'a>,
    template: impl FnOnce(&mut dyn Write) -> Result<(), RenderError> + Send,
) -> Result<(), RenderError> {
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut page = io::BufWriter::with_capacity(BUFFER, Page(lists.requests));
            template(&mut page)?;
            page.flush()?;
            Ok(())
        });
        // Where this ends early, the template's next request fails, and so it ends too.
        let answered = answer(asked.0, out, open);
        let rendered = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answered.and(rendered)
    })
}

fn answer<'a>(
    asked: Receiver<Request>,
    out: &mut dyn Write,
    mut open: impl FnMut(List) -> Records<'a>,
) -> Result<(), RenderError> {
    let mut loops: HashMap<u64, Records<'a>> = HashMap::new();
    for request in asked {
        match request {
            Request::Write(bytes) => out.write_all(&bytes)?,
            Request::Drop { number } => drop(loops.remove(&number)),
            Request::Next { number, list, answer } => {
                let records = loops.entry(number).or_insert_with(|| open(list));
                let portion = records.take(PORTION).collect::<Result<Vec<_>, _>>()?;
                // A template that does not wait for its answer has ended.
                let _ = answer.send(portion);
            }
        }
    }
    Ok(())
}

impl Lists {
    /// A list as a value. Each loop over it reads it anew.
    pub(super) fn value(&self, list: List) -> Value {
        let lists = self.clone();
        Value::make_iterable(move || Loop {
            requests: lists.requests.clone(),
            number: lists.numbers.fetch_add(1, Ordering::Relaxed),
            list,
            portion: VecDeque::new(),
            is_over: false,
        })
    }
}

struct Loop {
    requests: SyncSender<Request>,
    number: u64,
    list: List,
    portion: VecDeque<Value>,
    is_over: bool,
}

impl Iterator for Loop {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        if self.portion.is_empty() && !self.is_over {
            let (answer, answered) = sync_channel(1);
            let request = Request::Next { number: self.number, list: self.list, answer };
            let portion = self.requests.send(request).ok().and_then(|()| answered.recv().ok());
            let Some(portion) = portion else {
                self.is_over = true;
                return Some(Error::new(ErrorKind::InvalidOperation, "the event cannot be read on").into());
            };
            self.is_over = portion.is_empty();
            self.portion = portion.into();
        }
        self.portion.pop_front()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Nobody listens where the page has already failed.
        let _ = self.requests.send(Request::Drop { number: self.number });
    }
}

struct Page(SyncSender<Request>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Request::Write(bytes.to_vec())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
