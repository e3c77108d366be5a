//! What people wrote, made fit for a page.

use std::borrow::Cow;

use ammonia::UrlRelative;
use html5ever::tokenizer::Tag;
use url::Url;

use super::markup::{self, Piece};

/// Elements that rich text may have; none of them loads anything.
const ELEMENTS: [&str; 41] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "cite",
    "code",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
];

/// Elements that lay text out; where none is used, the line breaks of the text are meant.
const BLOCKS: [&str; 16] =
    ["p", "br", "div", "ul", "ol", "li", "table", "pre", "blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6"];

/// Elements whose removal people want to know of: they show or do something. Others only style their text.
const ACTIVE: [&str; 24] = [
    "applet", "audio", "base", "button", "embed", "form", "frame", "iframe", "img", "input", "link", "math", "meta",
    "object", "picture", "script", "select", "source", "style", "svg", "template", "textarea", "track", "video",
];

const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// Makes rich texts safe. Building it costs more than using it.
pub(super) struct Sanitiser(ammonia::Builder<'static>);

impl Sanitiser {
    pub(super) fn new() -> Self {
        let mut builder = ammonia::Builder::empty();
        builder
            .add_tags(ELEMENTS)
            .add_tags(["ul"])
            .add_clean_content_tags(["script", "style", "template", "noscript", "title", "textarea", "svg", "math"])
            .add_tag_attributes("a", ["href"])
            .url_schemes(SCHEMES.into())
            .url_relative(UrlRelative::Deny)
            .link_rel(None);
        Self(builder)
    }

    /// A rich text without anything that runs or loads, as HTML; none where no text is left. And the first thing that was
    /// taken out, where something was that did more than style.
    pub(super) fn clean(&self, text: &str) -> (Option<String>, Option<String>) {
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        let mut removed = None;
        let mut is_laid_out = false;
        // Reading from memory cannot fail.
        let _ = markup::walk(&mut text.as_bytes(), |piece, _| {
            if let Piece::Start(tag) = piece {
                is_laid_out |= BLOCKS.contains(&&*tag.name);
                removed = removed.take().or_else(|| danger(tag));
            }
        });
        let text = if is_laid_out { text.to_owned() } else { text.replace('\n', "<br>") };
        let html = with_low_headings(self.0.clean(&text).to_string());
        (has_text(&html).then_some(html), removed)
    }
}

/// What a tag would do that a page must not.
fn danger(tag: &Tag) -> Option<String> {
    if ACTIVE.contains(&&*tag.name) {
        return Some(format!("`{}`", &*tag.name));
    }
    tag.attrs.iter().find_map(|attribute| {
        let name = &*attribute.name.local;
        let is_bad_link =
            name == "href" && !Url::parse(attribute.value.trim()).is_ok_and(|url| SCHEMES.contains(&url.scheme()));
        (name.starts_with("on") || is_bad_link).then(|| format!("`{name}={}`", &*attribute.value))
    })
}

/// Headings inside a text stand below the title of what it is about.
fn with_low_headings(mut html: String) -> String {
    for level in [1, 2, 3, 5, 6] {
        if html.contains(&format!("<h{level}>")) {
            html = html.replace(&format!("<h{level}>"), "<h4>").replace(&format!("</h{level}>"), "</h4>");
        }
    }
    html
}

fn has_text(html: &str) -> bool {
    let mut found = false;
    let _ = markup::walk(&mut html.as_bytes(), |piece, _| {
        if let Piece::Text(text) = piece {
            found |= text.chars().any(|c| !c.is_whitespace());
        }
    });
    found
}

/// A text without the characters that HTML cannot carry.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| {
        let is_noncharacter = (c as u32) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || is_noncharacter
    };
    if text.contains(is_bad) { Cow::Owned(text.replace(is_bad, "")) } else { Cow::Borrowed(text) }
}

/// An address to which a page may link: `http` and `https` only, others are none. One without a scheme is taken as
/// `https` where it begins like a host.
pub(super) fn link(address: &str) -> Option<String> {
    let address = address.trim();
    let host = address.split('/').next().unwrap_or_default();
    let is_host = !address.starts_with('/') && host.contains('.') && !host.contains([':', '@', ' ']);
    let url = if is_host { Url::parse(&format!("https://{address}")) } else { Url::parse(address) };
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).map(Into::into)
}
