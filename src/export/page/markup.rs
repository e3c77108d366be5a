//! The tags and texts of a page, one by one, in the order of the page.

use std::cell::RefCell;
use std::io::{self, Read};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// What a page is made of.
pub(super) enum Piece<'a> {
    /// A start tag.
    Start(&'a Tag),
    /// An end tag, by its name.
    End(&'a str),
    /// Text, whole or a part of it; that of styles and scripts as well.
    Text(&'a str),
}

/// Calls `look` with each piece of the page and the number of its line, counted from one.
///
/// # Errors
/// Where the page cannot be read or is no UTF-8.
pub(super) fn walk(page: &mut dyn Read, look: impl FnMut(Piece<'_>, u64)) -> io::Result<()> {
    let tokenizer = Tokenizer::new(Sink(RefCell::new(look)), TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let read = match page.read(&mut buffer[kept..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let filled = kept + read;
        let text = match std::str::from_utf8(&buffer[..filled]) {
            Ok(text) => text,
            // A character may be cut by the end of the buffer, never by the end of the page.
            Err(error) if error.error_len().is_none() && read > 0 => {
                std::str::from_utf8(&buffer[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let used = text.len();
        queue.push_back(StrTendril::from_slice(text));
        // A script's end pauses the tokenizer; there is nothing to run.
        while !queue.is_empty() {
            let _ = tokenizer.feed(&queue);
        }
        if read == 0 {
            tokenizer.end();
            return Ok(());
        }
        buffer.copy_within(used..filled, 0);
        kept = filled - used;
    }
}

/// An attribute of a tag, by its name without a prefix.
pub(super) fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

struct Sink<L>(RefCell<L>);

impl<L: FnMut(Piece<'_>, u64)> TokenSink for Sink<L> {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut look = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::EndTag => look(Piece::End(&tag.name), line),
            Token::TagToken(tag) => {
                look(Piece::Start(&tag), line);
                return match &*tag.name {
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
                    "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => TokenSinkResult::Continue,
                };
            }
            Token::CharacterTokens(text) => look(Piece::Text(&text), line),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}
