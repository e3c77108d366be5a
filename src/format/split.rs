//! Finds the records of a JSON file without building them: the memory used is that of one record.
//!
//! Only what delimits records is looked at here (strings, brackets, commas); whether a record is JSON inside is for
//! whoever reads it to say. Finding first and parsing each slice is faster than one streaming parser.

use std::io::{self, Read};

use super::BYTE_ORDER_MARK;

/// What the file holds at its top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// A list of records.
    Array,
    /// One record.
    Object,
}

/// What was found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole element.
    Element {
        /// Counted from 1.
        position: u64,
        /// Where it begins.
        place: Place,
        /// Its bytes, without surrounding blanks.
        bytes: &'a [u8],
    },
    /// An element with more bytes than allowed; it was skipped.
    TooLarge {
        /// Counted from 1.
        position: u64,
    },
    /// An element nested deeper than allowed; it was skipped.
    TooDeep {
        /// Counted from 1.
        position: u64,
    },
}

/// A place in the file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Byte within the line.
    pub column: u64,
}

/// Where and why a file is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Where reading cannot go on.
    pub place: Place,
    /// What is wrong there.
    pub message: String,
    /// The text around the place.
    pub quote: String,
}

/// Why the records of a file cannot be had.
#[derive(Debug)]
pub enum SplitError {
    /// The file is no JSON; it counts as a whole as not there.
    Syntax(Syntax),
    /// The file is JSON of another shape.
    WrongTop {
        /// What was found instead.
        found: &'static str,
    },
    /// The bytes could not be read.
    Io(io::Error),
}

/// How much one element may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of an element.
    pub bytes: usize,
    /// Levels of nesting of an element, itself included.
    pub depth: usize,
}

/// Bytes read at once.
const READ: usize = 256 * 1024;

/// Bytes of the text around a place that are shown.
const QUOTE: usize = 40;

/// Reads elements one after the other.
#[derive(Debug)]
pub struct Splitter<R> {
    reader: R,
    top: Top,
    bounds: Bounds,
    buffer: Vec<u8>,
    filled: usize,
    at: usize,
    ended: bool,
    /// Place of `buffer[counted]`.
    counted: usize,
    line: u64,
    column: u64,
    position: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstElement,
    AfterElement,
    Done,
}

enum Scanned {
    Element { start: usize, end: usize },
    TooLarge,
    TooDeep,
}

impl<R: Read> Splitter<R> {
    /// Begins at the first byte of `reader`.
    pub fn new(reader: R, top: Top, bounds: Bounds) -> Self {
        Self {
            reader,
            top,
            bounds,
            buffer: vec![0; READ],
            filled: 0,
            at: 0,
            ended: false,
            counted: 0,
            line: 1,
            column: 1,
            position: 0,
            state: State::Start,
        }
    }

    /// The next element, or none after the last; only after none is the whole file known to be JSON in its outline.
    ///
    /// # Errors
    /// Where the file is no JSON, has another shape, or cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, SplitError> {
        if self.state == State::Start {
            self.open()?;
        }
        match (self.state, self.top) {
            (State::Done, _) => return self.finish().map(|()| None),
            (State::AfterElement, Top::Object) => {
                self.state = State::Done;
                return self.finish().map(|()| None);
            }
            (State::FirstElement, Top::Array) => {
                if self.peek()? == Some(b']') {
                    return self.close();
                }
            }
            (State::AfterElement, Top::Array) => match self.peek()? {
                Some(b',') => {
                    self.at += 1;
                    if self.peek()? == Some(b']') {
                        return Err(self.syntax("a record is missing after the comma"));
                    }
                }
                Some(b']') => return self.close(),
                Some(_) => return Err(self.syntax("a comma or the closing bracket is missing")),
                None => return Err(self.syntax("the file ends within the list")),
            },
            (State::Start | State::FirstElement, _) => {}
        }
        self.element()
    }

    fn open(&mut self) -> Result<(), SplitError> {
        while self.filled < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer[..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
            self.counted = self.at;
        } else if self.buffer[..self.filled].starts_with(b"\xFF\xFE")
            || self.buffer[..self.filled].starts_with(b"\xFE\xFF")
        {
            return Err(self.syntax("the file is written in UTF-16; save it as UTF-8"));
        }
        let found = match self.peek()? {
            None => return Err(self.syntax("the file is empty")),
            Some(byte) => byte,
        };
        match (self.top, found) {
            (Top::Array, b'[') => self.at += 1,
            (Top::Object, b'{') => {}
            (_, b'[') => return Err(SplitError::WrongTop { found: "a list" }),
            (_, b'{') => return Err(SplitError::WrongTop { found: "an object" }),
            (_, b'"') => return Err(SplitError::WrongTop { found: "a text" }),
            (_, b'n' | b't' | b'f') => return Err(SplitError::WrongTop { found: "null, true or false" }),
            (_, b'-' | b'0'..=b'9') => return Err(SplitError::WrongTop { found: "a number" }),
            _ => return Err(self.syntax("this is no JSON")),
        }
        self.state = State::FirstElement;
        Ok(())
    }

    fn close(&mut self) -> Result<Option<Piece<'_>>, SplitError> {
        self.at += 1;
        self.state = State::Done;
        self.finish().map(|()| None)
    }

    /// Nothing but blanks may follow; reading to the end also has the checksum of the entry verified.
    fn finish(&mut self) -> Result<(), SplitError> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.syntax("something follows after the end of the list or object")),
        }
    }

    fn element(&mut self) -> Result<Option<Piece<'_>>, SplitError> {
        if self.peek()?.is_none() {
            return Err(self.syntax("the file ends within the list"));
        }
        self.count_to(self.at);
        let place = Place { line: self.line, column: self.column };
        self.position += 1;
        let position = self.position;
        let scanned = self.scan()?;
        self.state = State::AfterElement;
        Ok(Some(match scanned {
            Scanned::Element { start, end } => Piece::Element { position, place, bytes: &self.buffer[start..end] },
            Scanned::TooLarge => Piece::TooLarge { position },
            Scanned::TooDeep => Piece::TooDeep { position },
        }))
    }

    /// Walks over one element; what is too large or too deep is walked over as well, but not kept.
    fn scan(&mut self) -> Result<Scanned, SplitError> {
        let mut start = self.at;
        let mut depth = 0_usize;
        let mut deepest = 0_usize;
        let mut kept = true;
        let mut in_string = false;
        loop {
            let mut at = self.at;
            let bytes = &self.buffer[..self.filled];
            let mut end = None;
            while at < bytes.len() {
                if in_string {
                    match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
                        None => at = bytes.len(),
                        Some(found) if bytes[at + found] == b'"' => {
                            at += found + 1;
                            in_string = false;
                            if depth == 0 {
                                end = Some(at);
                                break;
                            }
                        }
                        // The byte after a backslash may not be here yet: then the backslash is looked at again.
                        Some(found) if at + found + 1 < bytes.len() => at += found + 2,
                        Some(found) => {
                            at += found;
                            break;
                        }
                    }
                    continue;
                }
                match bytes[at] {
                    b'"' => {
                        in_string = true;
                        at += 1;
                    }
                    b'{' | b'[' => {
                        depth += 1;
                        deepest = deepest.max(depth);
                        at += 1;
                    }
                    b'}' | b']' if depth == 0 => {
                        end = Some(at);
                        break;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        at += 1;
                        if depth == 0 {
                            end = Some(at);
                            break;
                        }
                    }
                    b',' if depth == 0 => {
                        end = Some(at);
                        break;
                    }
                    _ => at += 1,
                }
            }
            self.at = at;
            if at - start > self.bounds.bytes {
                kept = false;
            }
            if let Some(end) = end {
                return Ok(if deepest > self.bounds.depth {
                    Scanned::TooDeep
                } else if kept {
                    let trimmed = self.buffer[start..end].trim_ascii_end().len();
                    if trimmed == 0 {
                        self.at = start;
                        return Err(self.syntax("a record is missing here"));
                    }
                    Scanned::Element { start, end: start + trimmed }
                } else {
                    Scanned::TooLarge
                });
            }
            if kept && deepest <= self.bounds.depth {
                start = self.make_room(start);
            } else {
                start = self.make_room(self.at);
            }
            if !self.fill()? {
                if depth == 0 && !in_string && self.top == Top::Array {
                    return Err(self.syntax("the file ends within the list"));
                }
                return Err(self.syntax("the file ends within a record"));
            }
        }
    }

    /// The next byte that is no blank, without taking it.
    fn peek(&mut self) -> Result<Option<u8>, SplitError> {
        loop {
            while self.at < self.filled {
                match self.buffer[self.at] {
                    b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                    byte => return Ok(Some(byte)),
                }
            }
            self.make_room(self.at);
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Moves what is kept, and a little before it for quotes, to the front of the buffer and says where it lies now.
    fn make_room(&mut self, keep_from: usize) -> usize {
        self.count_to(keep_from);
        let from = keep_from.saturating_sub(QUOTE);
        self.buffer.copy_within(from..self.filled, 0);
        self.filled -= from;
        self.at -= from;
        self.counted -= from;
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        keep_from - from
    }

    fn fill(&mut self) -> Result<bool, SplitError> {
        if self.ended {
            return Ok(false);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(false);
                }
                Ok(read) => {
                    self.filled += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SplitError::Io(error)),
            }
        }
    }

    fn count_to(&mut self, to: usize) {
        if to <= self.counted {
            return;
        }
        let passed = &self.buffer[self.counted..to];
        match memchr::memrchr(b'\n', passed) {
            None => self.column += passed.len() as u64,
            Some(last) => {
                self.line += memchr::memchr_iter(b'\n', passed).count() as u64;
                self.column = (passed.len() - last) as u64;
            }
        }
        self.counted = to;
    }

    fn syntax(&mut self, message: &str) -> SplitError {
        self.count_to(self.at);
        let from = self.at.saturating_sub(QUOTE);
        // Where reading on fails, the quote is shorter.
        while self.filled < self.at + QUOTE && self.filled < self.buffer.len() && self.fill().unwrap_or(false) {}
        let to = (self.at + QUOTE).min(self.filled);
        SplitError::Syntax(Syntax {
            place: Place { line: self.line, column: self.column },
            message: message.to_owned(),
            quote: quote(&self.buffer[from..to]),
        })
    }
}

/// Says where within the file a fault of one element lies.
pub fn syntax_within(place: Place, bytes: &[u8], error: &serde_json::Error) -> Syntax {
    let line = error.line().max(1) as u64;
    let column = error.column().max(1) as u64;
    let before: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().max(1) - 1).map(<[u8]>::len).sum();
    let at = (before + error.column().max(1) - 1).min(bytes.len());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Syntax {
        place: if line == 1 {
            Place { line: place.line, column: place.column + column - 1 }
        } else {
            Place { line: place.line + line - 1, column }
        },
        message,
        quote: quote(&bytes[at.saturating_sub(QUOTE)..(at + QUOTE).min(bytes.len())]),
    }
}

fn quote(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1000, depth: 4 };

    /// Gives one byte at a time, so that every state is met at the end of a buffer.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn elements(text: &str, top: Top) -> Result<Vec<String>, SplitError> {
        let read = |reader: &mut dyn Read| {
            let mut splitter = Splitter::new(reader, top, BOUNDS);
            let mut found = Vec::new();
            while let Some(piece) = splitter.next_piece()? {
                found.push(match piece {
                    Piece::Element { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
                    Piece::TooLarge { .. } => "too large".to_owned(),
                    Piece::TooDeep { .. } => "too deep".to_owned(),
                });
            }
            Ok(found)
        };
        let whole = read(&mut text.as_bytes());
        let dripped = read(&mut Drip(text.as_bytes()));
        assert_eq!(format!("{whole:?}"), format!("{dripped:?}"));
        whole
    }

    fn syntax(text: &str) -> Syntax {
        match elements(text, Top::Array) {
            Err(SplitError::Syntax(syntax)) => syntax,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records_are_found_whatever_their_strings_hold() {
        let text = " [ {\"a\":\"]},{\\\"\"} ,\n{\"b\":[1,{}]}, 3, \"x\\\\\", null ]\n";
        assert_eq!(
            elements(text, Top::Array).unwrap(),
            ["{\"a\":\"]},{\\\"\"}", "{\"b\":[1,{}]}", "3", "\"x\\\\\"", "null"]
        );
    }

    #[test]
    fn an_empty_list_has_no_records() {
        assert!(elements("\u{feff}[ ]", Top::Array).unwrap().is_empty());
    }

    #[test]
    fn an_object_is_one_record() {
        assert_eq!(elements("{\"a\":1}\n", Top::Object).unwrap(), ["{\"a\":1}"]);
    }

    #[test]
    fn the_wrong_top_level_is_named() {
        assert!(matches!(elements("{}", Top::Array), Err(SplitError::WrongTop { found: "an object" })));
        assert!(matches!(elements("[]", Top::Object), Err(SplitError::WrongTop { found: "a list" })));
        assert!(matches!(elements("null", Top::Array), Err(SplitError::WrongTop { .. })));
    }

    #[test]
    fn a_missing_comma_is_found_at_the_next_record() {
        let found = syntax("[\n  {\n    \"a\": 1\n  }\n    {\n  }\n]");
        assert_eq!(found.place, Place { line: 5, column: 5 });
        assert!(found.quote.contains("} {"), "{}", found.quote);
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_no_json() {
        for text in ["", "[", "[{", "[{}", "[{},", "[{},]", "[,{}]", "[{}] x", "[{\"a", "[1", "nope", "[{}}]"] {
            assert!(
                matches!(elements(text, Top::Array), Err(SplitError::Syntax(_) | SplitError::WrongTop { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_skipped_and_the_rest_is_read() {
        let text = format!("[{{\"a\":\"{}\"}},{{\"b\":[[[[1]]]]}},{{\"c\":1}}]", "x".repeat(2000));
        assert_eq!(elements(&text, Top::Array).unwrap(), ["too large", "too deep", "{\"c\":1}"]);
    }

    #[test]
    fn a_million_levels_do_not_exhaust_the_stack() {
        let text = format!("[{}{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let mut splitter = Splitter::new(text.as_bytes(), Top::Array, BOUNDS);
        assert_eq!(splitter.next_piece().unwrap(), Some(Piece::TooDeep { position: 1 }));
        assert_eq!(splitter.next_piece().unwrap(), None);
    }

    #[test]
    fn a_fault_inside_a_record_is_placed_in_the_file() {
        let bytes = b"{\n \"a\": nope }";
        let error = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_err();
        let place = syntax_within(Place { line: 7, column: 3 }, bytes, &error).place;
        assert_eq!(place.line, 8);
    }
}
