//! The lists that the database gives, value by value, each as the JSON that it is.

use crate::export::program::ReadError;

/// A JSON list of lists of texts, numbers, `true`, `false` and `null`.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rows<'a> {
    /// The rows in the text of a list.
    pub(super) fn new(text: &'a str) -> Result<Self, ReadError> {
        let mut rows = Self { text, at: 0 };
        if rows.next_byte() == Some(b'[') { Ok(rows) } else { Err(malformed()) }
    }

    /// Puts the values of the next row into `values`; says whether there was one.
    pub(super) fn next(&mut self, values: &mut Vec<&'a str>) -> Result<bool, ReadError> {
        values.clear();
        match self.next_byte() {
            Some(b'[') => {}
            Some(b']') => return Ok(false),
            _ => return Err(malformed()),
        }
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(true);
                }
                Some(b'"') => values.push(self.string()?),
                Some(_) => values.push(self.word()?),
                None => return Err(malformed()),
            }
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is neither blank nor comma.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn string(&mut self) -> Result<&'a str, ReadError> {
        let start = self.at;
        let mut at = start + 1;
        loop {
            let rest = self.text.as_bytes().get(at..).ok_or_else(malformed)?;
            let found = memchr::memchr2(b'"', b'\\', rest).ok_or_else(malformed)?;
            if rest[found] == b'"' {
                self.at = at + found + 1;
                return self.text.get(start..self.at).ok_or_else(malformed);
            }
            at += found + 2;
        }
    }

    fn word(&mut self) -> Result<&'a str, ReadError> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|byte| matches!(byte, b',' | b']' | b' ' | b'\n')).ok_or_else(malformed)?;
        self.at += length;
        Ok(&rest[..length])
    }
}

fn malformed() -> ReadError {
    ReadError("the database gave a list that is none".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn values_come_as_they_are_written() {
        let mut rows = Rows::new("[[1,\"a\\\"]\\\\\",null],\n [-2.5, \"\" , true],[]]").unwrap();
        let mut values = Vec::new();
        assert!(rows.next(&mut values).unwrap());
        assert_eq!(values, ["1", "\"a\\\"]\\\\\"", "null"]);
        assert!(rows.next(&mut values).unwrap());
        assert_eq!(values, ["-2.5", "\"\"", "true"]);
        assert!(rows.next(&mut values).unwrap());
        assert_eq!(values, [""; 0]);
        assert!(!rows.next(&mut values).unwrap());
    }

    #[test]
    fn what_ends_early_is_an_error() {
        for text in ["", "{}", "[", "[[1", "[[\"a", "[[\"a\\", "[1]"] {
            let read = |mut rows: Rows<'_>| {
                while rows.next(&mut Vec::new())? {}
                Ok(())
            };
            assert!(Rows::new(text).and_then(read).is_err(), "{text}");
        }
    }
}
