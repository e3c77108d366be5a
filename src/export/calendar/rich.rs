//! Rich text as plain text.

use std::cell::RefCell;

use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// The text as a reader sees it: tags, comments, scripts and styles are gone, blocks are paragraphs, entries of lists
/// begin with a dash, a link is followed by its address, references stand for their characters. A text without any tag
/// keeps its lines as they are.
pub(super) fn to_plain(text: &str) -> String {
    if !text.contains(['<', '&']) {
        return tidy(text);
    }
    let has_tags = has_known_tag(text);
    let text = if has_tags { text.to_owned() } else { text.replace('<', "&lt;") };
    let sink = Writer { state: RefCell::default(), breaks_are_blanks: has_tags };
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(text));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    // Nothing in the sink asks the tokenizer to stop, so one call takes everything in.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tidy(&tokenizer.sink.state.into_inner().text)
}

/// Tags that people write into descriptions. A text with none of them is no rich text, however many `<` it has.
const KNOWN_TAGS: &[&str] = &[
    "a",
    "abbr",
    "article",
    "b",
    "big",
    "blockquote",
    "br",
    "center",
    "code",
    "dd",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "iframe",
    "img",
    "li",
    "object",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "script",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
];

/// Tags that begin and end a paragraph.
const BLOCKS: &[&str] = &[
    "article",
    "blockquote",
    "center",
    "div",
    "dl",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "ul",
];

fn has_known_tag(text: &str) -> bool {
    text.split('<').skip(1).any(|after| {
        let after = after.strip_prefix('/').unwrap_or(after);
        let length = after.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (name, rest) = after.split_at(length);
        rest.starts_with(['>', '/', ' ', '\n', '\t']) && KNOWN_TAGS.iter().any(|tag| name.eq_ignore_ascii_case(tag))
    })
}

#[derive(Default)]
struct State {
    text: String,
    /// Links that are open: where their text begins, and their address.
    links: Vec<(usize, String)>,
    /// How many lists are open.
    lists: usize,
    /// The tag whose content is not shown, until it ends.
    hidden: Option<String>,
}

struct Writer {
    state: RefCell<State>,
    /// Whether line ends in the source are but blanks, as in pages.
    breaks_are_blanks: bool,
}

impl TokenSink for Writer {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.state.borrow_mut();
        match token {
            Token::CharacterTokens(text) if state.hidden.is_none() => {
                if self.breaks_are_blanks {
                    push_flowing(&mut state.text, &text);
                } else {
                    state.text.push_str(&text);
                }
                TokenSinkResult::Continue
            }
            Token::TagToken(tag) => push_tag(&mut state, &tag),
            _ => TokenSinkResult::Continue,
        }
    }
}

/// Appends a text whose blanks and line ends are one blank each.
fn push_flowing(into: &mut String, text: &str) {
    for character in text.chars() {
        if !matches!(character, ' ' | '\n' | '\t' | '\r') {
            into.push(character);
        } else if !into.is_empty() && !into.ends_with([' ', '\n']) {
            into.push(' ');
        }
    }
}

fn push_tag(state: &mut State, tag: &Tag) -> TokenSinkResult<()> {
    let name: &str = &tag.name;
    let opens = tag.kind == TagKind::StartTag;
    if let Some(hidden) = &state.hidden {
        if !opens && hidden == name {
            state.hidden = None;
        }
        return TokenSinkResult::Continue;
    }
    match name {
        "script" | "style" if opens => {
            state.hidden = Some(name.to_owned());
            let kind = if name == "script" { RawKind::ScriptData } else { RawKind::Rawtext };
            return TokenSinkResult::RawData(kind);
        }
        "br" => break_line(&mut state.text),
        "tr" | "dt" | "dd" => begin_line(&mut state.text),
        "td" | "th" if !opens => push_flowing(&mut state.text, " "),
        "ul" | "ol" => {
            state.lists = if opens { state.lists + 1 } else { state.lists.saturating_sub(1) };
            if state.lists > usize::from(opens) {
                begin_line(&mut state.text);
            } else {
                begin_paragraph(&mut state.text);
            }
        }
        "li" if opens => {
            begin_line(&mut state.text);
            state.text.push_str("- ");
        }
        "a" if opens => {
            let address = tag.attrs.iter().find(|attribute| &*attribute.name.local == "href");
            if let Some(address) = address {
                state.links.push((state.text.len(), address.value.trim().to_owned()));
            }
        }
        "a" => end_link(state),
        // A paragraph inside an entry of a list belongs to the dash before it.
        _ if BLOCKS.contains(&name) && state.text.ends_with("- ") => {}
        _ if BLOCKS.contains(&name) && state.lists > 0 => begin_line(&mut state.text),
        _ if BLOCKS.contains(&name) => begin_paragraph(&mut state.text),
        _ => {}
    }
    TokenSinkResult::Continue
}

fn end_link(state: &mut State) {
    let Some((begin, address)) = state.links.pop() else { return };
    let is_shown = ["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme));
    let written = state.text.get(begin..).unwrap_or_default().trim().to_owned();
    if !is_shown || (!written.is_empty() && bare(&written) == bare(&address)) {
        return;
    }
    let address = address.strip_prefix("mailto:").unwrap_or(&address);
    let shown = if written.is_empty() { address.to_owned() } else { format!(" ({address})") };
    push_flowing(&mut state.text, &shown);
}

/// What people write of an address.
fn bare(address: &str) -> &str {
    let schemes = ["mailto:", "https://", "http://"];
    let rest = schemes.iter().find_map(|scheme| address.strip_prefix(scheme)).unwrap_or(address);
    rest.strip_prefix("www.").unwrap_or(rest).trim_end_matches('/')
}

fn break_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

fn begin_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        break_line(text);
    }
}

fn begin_paragraph(text: &mut String) {
    begin_line(text);
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// Without blanks at the end of lines, more than one empty line in a row, and empty lines around it.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    for line in text.trim().lines() {
        let line = line.trim_end();
        if line.is_empty() && (tidied.is_empty() || tidied.ends_with("\n\n")) {
            continue;
        }
        tidied.push_str(line);
        tidied.push('\n');
    }
    tidied.truncate(tidied.trim_end().len());
    tidied
}
