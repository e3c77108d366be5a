//! The templates of mails: built in, and overridden one by one by files in the admin's folder.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::{MailKind, render, words};

macro_rules! built_in {
    ($($name:literal)+) => {
        /// Every template: its file name and its text.
        const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("templates/", $name)))),+];
    };
}

built_in! {
    "layout.html" "job.txt" "job.html"
    "imported.subject" "imported.txt" "imported.html"
    "import_failed.subject" "import_failed.txt" "import_failed.html"
    "partial.subject" "partial.txt" "partial.html"
    "export.txt" "export.html"
    "exported.subject" "exported.txt" "exported.html"
    "export_unchanged.subject" "export_unchanged.txt" "export_unchanged.html"
    "export_failed.subject" "export_failed.txt" "export_failed.html"
    "incomplete_upload.subject" "incomplete_upload.txt" "incomplete_upload.html"
    "admin.subject" "admin.txt" "admin.html"
    "digest.subject" "digest.txt" "digest.html"
    "test.subject" "test.txt" "test.html"
}

/// The template of the schedule page lies in the same folder.
const NO_MAIL: &str = "schedule.html";

/// A mail in words, not yet addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line of at most 150 characters.
    pub subject: String,
    /// The mail for those who read plain text.
    pub text: String,
    /// The same in HTML, with inline styles.
    pub html: String,
}

/// The templates that are in force.
#[derive(Debug)]
pub struct Templates {
    built_in: Environment<'static>,
    overridden: Option<Environment<'static>>,
}

/// What is wrong with the overridden templates: all of it.
#[derive(Debug, thiserror::Error)]
#[error("mail templates in `{}` cannot be used:{}", folder.display(), bullets(faults))]
pub struct TemplateFault {
    folder: PathBuf,
    faults: Vec<FileFault>,
}

#[derive(Debug)]
struct FileFault {
    file: String,
    line: Option<usize>,
    what: String,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` line {line}: {}", self.file, self.what),
            None => write!(f, "`{}`: {}", self.file, self.what),
        }
    }
}

fn bullets(faults: &[FileFault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

impl Templates {
    /// The built-in templates, each replaced by the file of the same name in `override_folder` where there is one.
    ///
    /// Every overridden template is filled in once with made-up facts, so that a misspelt variable is found now.
    ///
    /// # Errors
    /// Where a file cannot be read, is no template, asks for a variable that is not there, or has the name of none.
    pub fn load(override_folder: Option<&Path>) -> Result<Self, TemplateFault> {
        let built_in = environment();
        let Some(folder) = override_folder else { return Ok(Self { built_in, overridden: None }) };
        let mut overridden = built_in.clone();
        let mut faults = Vec::new();
        let found = match read_folder(folder) {
            Ok(found) => found,
            Err(error) => {
                let what = format!("cannot be read: {error}");
                let file = folder.display().to_string();
                return Err(TemplateFault {
                    folder: folder.to_owned(),
                    faults: vec![FileFault { file, line: None, what }],
                });
            }
        };
        for (file, text) in found.iter().filter(|(file, _)| file != NO_MAIL) {
            let known = BUILT_IN.iter().any(|(name, _)| name == file);
            match text {
                Err(error) => faults.push(FileFault {
                    file: file.clone(),
                    line: None,
                    what: format!("cannot be read as UTF-8 text: {error}"),
                }),
                Ok(_) if !known => faults.push(FileFault { file: file.clone(), line: None, what: unknown(file) }),
                Ok(text) => {
                    if let Err(error) = overridden.add_template_owned(file.clone(), text.clone()) {
                        faults.push(file_fault(file, &error));
                    }
                }
            }
        }
        if faults.is_empty() {
            faults = trial(&overridden);
        }
        if faults.is_empty() {
            Ok(Self { built_in, overridden: (!found.is_empty()).then_some(overridden) })
        } else {
            Err(TemplateFault { folder: folder.to_owned(), faults })
        }
    }

    /// Fills in the three templates of a kind.
    ///
    /// Where an overridden one fails, the built-in one takes its place and a warning is logged: a mail that an admin's
    /// template cannot say is still sent.
    pub(super) fn fill(&self, kind: MailKind, facts: &impl Serialize) -> Rendered {
        let facts = Value::from(Serde(facts));
        let fill = |part: &str| -> String {
            let name = format!("{kind}.{part}");
            if let Some(overridden) = &self.overridden {
                match fill_one(overridden, &name, &facts) {
                    Ok(text) => return text,
                    Err(error) => tracing::warn!(
                        template = name,
                        error = %file_fault(&name, &error),
                        "an overridden mail template failed; the built-in one is used"
                    ),
                }
            }
            fill_one(&self.built_in, &name, &facts).unwrap_or_else(|error| {
                tracing::error!(template = name, error = %error, "a built-in mail template failed");
                format!("{kind}: this mail could not be put into words; `eventferry status` says the same")
            })
        };
        Rendered { subject: words::subject(&fill("subject")), text: tidy(&fill("txt")), html: fill("html") }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default());
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "html")) => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    environment.add_filter("marked", marked);
    for (name, text) in BUILT_IN {
        if let Err(error) = environment.add_template(name, text) {
            tracing::error!(template = name, error = %error, "a built-in mail template cannot be read");
        }
    }
    environment
}

/// A text as HTML in which what stands between backticks looks like code. A lone backtick stays as it is.
fn marked(text: &str) -> Value {
    const CODE: &str = "<span class=\"code\" style=\"background-color:#eef0f3;\
                        font-family:Consolas,Menlo,monospace;font-size:13px;\">";
    let parts: Vec<&str> = text.split('`').collect();
    let mut html = String::with_capacity(text.len() + 64);
    for (index, part) in parts.iter().enumerate() {
        let is_closed = index + 1 < parts.len();
        match (index % 2, is_closed) {
            (1, true) => html.push_str(&format!("{CODE}{}</span>", escaped(part))),
            (1, false) => html.push_str(&format!("`{}", escaped(part))),
            _ => html.push_str(&escaped(part)),
        }
    }
    Value::from_safe_string(html)
}

pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&#34;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

type Found = Vec<(String, Result<String, io::Error>)>;

/// The files of the folder that look like templates, by name; a folder that is not there holds none.
fn read_folder(folder: &Path) -> Result<Found, io::Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_template = [".html", ".txt", ".subject"].iter().any(|ending| name.ends_with(ending));
        if is_template && !name.starts_with('.') {
            found.push((name, std::fs::read_to_string(entry.path())));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// Fills in every template with made-up facts; each fault once, though several mails share a layout.
fn trial(environment: &Environment<'static>) -> Vec<FileFault> {
    let mut faults: Vec<FileFault> = Vec::new();
    for (kind, facts) in render::samples() {
        for part in ["subject", "txt", "html"] {
            let name = format!("{kind}.{part}");
            if let Err(error) = fill_one(environment, &name, &facts) {
                let fault = file_fault(&name, &error);
                if !faults.iter().any(|known| known.file == fault.file && known.line == fault.line) {
                    faults.push(fault);
                }
            }
        }
    }
    faults
}

fn fill_one(environment: &Environment<'static>, name: &str, facts: &Value) -> Result<String, minijinja::Error> {
    environment.get_template(name)?.render(facts)
}

/// The fault at its innermost place: an error inside an included template is that template's.
fn file_fault(name: &str, error: &minijinja::Error) -> FileFault {
    let mut innermost = error;
    while let Some(inner) = std::error::Error::source(innermost).and_then(|source| source.downcast_ref()) {
        innermost = inner;
    }
    let what = match innermost.detail() {
        Some(detail) => format!("{}: {detail}", innermost.kind()),
        None => innermost.kind().to_string(),
    };
    FileFault { file: innermost.name().unwrap_or(name).to_owned(), line: innermost.line(), what }
}

fn unknown(file: &str) -> String {
    let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    format!("no mail has a template `{file}`; rename it, or take it away; the names are {}", names.join(", "))
}

/// Takes away the blank lines and line ends that template tags leave.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut blank_before = true;
    for line in text.lines().map(str::trim_end) {
        if !(line.is_empty() && blank_before) {
            tidied.push_str(line);
            tidied.push('\n');
        }
        blank_before = line.is_empty();
    }
    format!("{}\n", tidied.trim_end())
}
