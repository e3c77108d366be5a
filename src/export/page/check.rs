//! Whether a page is what it should be: whole, closed to the outside, with its sessions.

use std::io::{self, Read};

use html5ever::tokenizer::Tag;
use uuid::Uuid;

use super::markup::{self, Piece};
use crate::export::program::RenderError;

/// Reads a page and counts its sessions: elements with `id="session-<uuid>"`.
///
/// # Errors
/// Where it cannot be read, is cut off, has no Content-Security-Policy that begins with `default-src 'none'`, or would
/// load something from elsewhere.
pub fn check(file: &mut dyn Read) -> Result<u64, RenderError> {
    let mut facts = Facts::default();
    match markup::walk(file, |piece, line| facts.take(&piece, line)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(RenderError::Invalid(format!("it is no UTF-8 text: {error}")));
        }
        Err(error) => return Err(RenderError::Invalid(format!("it cannot be read: {error}"))),
    }
    if let Some(load) = facts.load {
        return Err(RenderError::Invalid(load));
    }
    if !facts.is_closed {
        return Err(RenderError::Invalid("it is cut off: it does not end with `</html>`".to_owned()));
    }
    if !facts.has_policy {
        let missing = "it has no Content-Security-Policy that begins with `default-src 'none'`";
        return Err(RenderError::Invalid(missing.to_owned()));
    }
    Ok(facts.sessions)
}

#[derive(Default)]
struct Facts {
    sessions: u64,
    is_closed: bool,
    has_policy: bool,
    /// The style that is being read; it may come in parts.
    style: Option<String>,
    /// The first thing that would be loaded from elsewhere.
    load: Option<String>,
}

impl Facts {
    fn take(&mut self, piece: &Piece<'_>, line: u64) {
        match piece {
            Piece::Start(tag) => self.start(tag, line),
            Piece::End("html") => self.is_closed = true,
            Piece::End("style") => {
                let style = self.style.take();
                if let Some(what) = style.as_deref().and_then(load_of_style) {
                    self.found(line, "style", what);
                }
            }
            Piece::End(_) => self.is_closed = false,
            Piece::Text(text) => {
                self.is_closed &= text.trim().is_empty();
                if let Some(style) = &mut self.style {
                    style.push_str(text);
                }
            }
        }
    }

    fn start(&mut self, tag: &Tag, line: u64) {
        self.is_closed = false;
        let is_session = markup::attribute(tag, "id")
            .and_then(|id| id.strip_prefix("session-"))
            .is_some_and(|id| Uuid::try_parse(id).is_ok());
        self.sessions += u64::from(is_session);
        match &*tag.name {
            "style" => self.style = Some(String::new()),
            "meta" => {
                let content = markup::attribute(tag, "content").unwrap_or_default();
                let header = markup::attribute(tag, "http-equiv").unwrap_or_default();
                self.has_policy |= header.eq_ignore_ascii_case("content-security-policy")
                    && content.trim_start().starts_with("default-src 'none'");
                if header.eq_ignore_ascii_case("refresh") {
                    self.found(line, "meta", content);
                }
            }
            _ => {}
        }
        if let Some(what) = tag.attrs.iter().find_map(|at| load_of_attribute(tag, &at.name.local, &at.value)) {
            self.found(line, &tag.name, what);
        }
    }

    fn found(&mut self, line: u64, element: &str, what: &str) {
        if self.load.is_none() {
            let what: String = what.chars().take(100).collect();
            self.load = Some(format!("line {line}: `{element}` would load `{what}`"));
        }
    }
}

/// What an attribute makes a browser load from elsewhere without being asked.
fn load_of_attribute<'a>(tag: &Tag, name: &str, value: &'a str) -> Option<&'a str> {
    let loads = match name {
        "src" | "srcset" | "imagesrcset" | "poster" | "background" | "ping" | "manifest" | "srcdoc" => true,
        "data" => &*tag.name == "object",
        "href" | "xlink:href" => match &*tag.name {
            "a" | "area" => false,
            "link" => !["canonical", "alternate", "author", "license", "help", "me"]
                .contains(&markup::attribute(tag, "rel").unwrap_or_default()),
            _ => true,
        },
        "style" => return load_of_style(value),
        _ => false,
    };
    (loads && !is_inside(value)).then_some(value)
}

fn load_of_style(style: &str) -> Option<&str> {
    let lower = style.to_ascii_lowercase();
    if let Some(at) = lower.find("@import") {
        return style.get(at..);
    }
    lower.match_indices("url(").find_map(|(at, _)| {
        let inner = style.get(at + "url(".len()..)?.trim_start_matches(['"', '\'', ' ', '\n', '\t']);
        (!is_inside(inner)).then_some(inner)
    })
}

fn is_inside(address: &str) -> bool {
    let address = address.trim_start();
    address.is_empty() || address.starts_with('#') || address.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("data:"))
}
