//! `schedule.html`: the programme as one page that needs nothing else, with a list, a calendar and a search.

mod check;
mod colours;
mod context;
mod markup;
mod sanitise;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
mod trial;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use sha2::{Digest as _, Sha256};

pub use self::check::check;
use self::context::Words;
use self::stream::{List, Records};
use self::survey::Survey;
use super::program::{RenderError, Rendered, Selection, Source, Which};

/// The file in the admin's folder that takes the place of the built-in template.
const FILE: &str = "schedule.html";

/// The name by which an admin's template extends the built-in one.
const BUILT_IN: &str = "builtin/schedule.html";

const STYLE: &str = include_str!("schedule.css");
const SCRIPT: &str = include_str!("schedule.js");

/// The template of the page that is in force.
#[derive(Debug)]
pub struct PageTemplate {
    environment: Environment<'static>,
    /// The admin's file, where it is the one in force.
    file: Option<PathBuf>,
}

impl PageTemplate {
    /// The one that is built in.
    pub fn builtin() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.unwrap_or_default());
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("csp_hash", csp_hash);
        if let Err(error) = environment.add_template(BUILT_IN, include_str!("schedule.html")) {
            debug_assert!(false, "the built-in template cannot be read: {error}");
        }
        Self { environment, file: None }
    }

    /// `schedule.html` of `folder`, or the one that is built in where there is none. The admin's template is filled in
    /// once with a made-up event and the page checked, so that a mistake in it is found now.
    ///
    /// # Errors
    /// [`RenderError::Template`] with file and line where the file cannot be read or used.
    pub fn load(folder: &Path) -> Result<Self, RenderError> {
        let mut template = Self::builtin();
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(template),
            Err(error) => {
                let text = format!("the template `{}` cannot be read: {error}", file.display());
                return Err(RenderError::Template(text));
            }
        };
        template.file = Some(file);
        template.environment.add_template_owned(FILE, text).map_err(|error| template.fault(&error))?;
        template.try_out()?;
        Ok(template)
    }

    fn try_out(&self) -> Result<(), RenderError> {
        let mut page = Vec::new();
        let trial = trial::Trial::new();
        render(&trial, self, &mut page)?;
        let name = self.file.as_deref().unwrap_or(Path::new(BUILT_IN)).display();
        let sessions = check(&mut page.as_slice())
            .map_err(|error| RenderError::Template(format!("the template `{name}` does not make a page: {error}")))?;
        if sessions == trial::SESSIONS {
            return Ok(());
        }
        Err(RenderError::Template(format!(
            "the template `{name}` shows {sessions} of {} sessions: each needs one element with `id=\"session-<uuid>\"`",
            trial::SESSIONS
        )))
    }

    fn fault(&self, error: &minijinja::Error) -> RenderError {
        let place = match (error.name(), &self.file) {
            (Some(FILE) | None, Some(file)) => file.display().to_string(),
            (name, _) => name.unwrap_or(BUILT_IN).to_owned(),
        };
        let line = error.line().map(|line| format!(" line {line}")).unwrap_or_default();
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        RenderError::Template(format!("the template `{place}`{line}: {}{detail}", error.kind()))
    }
}

/// Writes the page of an event. Sessions and speakers are read while it is written.
///
/// # Errors
/// Where the event cannot be read, the page cannot be written, or the template is wrong.
pub fn render(source: &dyn Source, template: &PageTemplate, out: &mut dyn Write) -> Result<Rendered, RenderError> {
    let survey = Survey::of(source)?;
    let words = RefCell::new(Words::new(source.programme()));
    // A list that is looped over again is not noted again.
    let again = RefCell::new(Words::new(source.programme()));
    let speakers = Cell::new(0);
    let mut opened = HashSet::new();

    let (lists, asked) = stream::lists();
    let page = words.borrow_mut().page(&survey, &lists);
    let open = |list| {
        let is_first = opened.insert(list);
        let words = if is_first { &words } else { &again };
        let counter = (is_first && list == List::Speakers).then_some(&speakers);
        records(source, &survey, words, counter, list)
    };
    stream::run((lists, asked), out, open, |out| write_page(template, page, out))?;

    let mut notes = survey.notes.clone();
    notes.merge(words.into_inner().into_notes());
    Ok(Rendered { sessions: survey.sessions(), speakers: speakers.get(), notes })
}

fn write_page(template: &PageTemplate, page: Value, out: &mut dyn Write) -> Result<(), RenderError> {
    let name = if template.file.is_some() { FILE } else { BUILT_IN };
    let found = template.environment.get_template(name);
    let written = found.and_then(|found| found.render_captured_to(page, out).map(drop));
    written.map_err(|error| template.fault(&error))
}

fn records<'a>(
    source: &'a dyn Source,
    survey: &'a Survey,
    words: &'a RefCell<Words<'_>>,
    speakers: Option<&'a Cell<u64>>,
    list: List,
) -> Records<'a> {
    let (selection, day) = match list {
        List::Day(day) => {
            let selection = Selection { starts_in: survey.range(day), ..Selection::SCHEDULED };
            (selection, survey.days.get(day).map(|day| day.date))
        }
        List::Unscheduled => (Selection { which: Which::Unscheduled, ..Selection::SCHEDULED }, None),
        List::Speakers => {
            let shown = source.speakers().filter(|speaker| match speaker {
                Ok(speaker) => survey.speakers.contains(speaker.who.id),
                Err(_) => true,
            });
            return Box::new(shown.map(move |speaker| {
                if let Some(count) = speakers {
                    count.set(count.get() + 1);
                }
                Ok(words.borrow_mut().speaker(&speaker?))
            }));
        }
    };
    Box::new(source.sessions(&selection).map(move |session| Ok(words.borrow_mut().session(&session?, day))))
}

/// The source by which a Content-Security-Policy allows this style or script: `sha256-…`.
fn csp_hash(text: &str) -> Value {
    Value::from_safe_string(format!("sha256-{}", STANDARD.encode(Sha256::digest(text))))
}
