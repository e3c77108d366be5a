//! `[log]`

use tracing_subscriber::EnvFilter;

use super::reader::{Reader, Rule};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    /// For whom.
    pub format: LogFormat,
    /// A filter that [`EnvFilter`] takes.
    pub level: String,
    /// When text is coloured.
    pub colour: Colour,
}

/// For whom log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// People.
    #[default]
    Text,
    /// Machines, one object a line.
    Json,
    /// The journal, with fields.
    Journald,
}

/// When text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

const FORMATS: [(&str, LogFormat); 3] =
    [("text", LogFormat::Text), ("json", LogFormat::Json), ("journald", LogFormat::Journald)];

const COLOURS: [(&str, Colour); 3] = [("auto", Colour::Auto), ("always", Colour::Always), ("never", Colour::Never)];

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogSection {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let filter = Rule::new(
            format!("must be one of {}, or a filter per module", LEVELS.join(", ")),
            "write it as in \"info\" or \"info,eventferry::inbox=debug\"",
        );
        let format = reader.choice("log.format", &FORMATS);
        let level = reader.parsed("log.level", &filter, |text| is_filter(text).then(|| text.to_owned()));
        Self { format, level: reader.needed("log.level", level), colour: reader.choice("log.colour", &COLOURS) }
    }
}

/// The filter's own parser takes a misspelt level for the name of a module, so bare words are checked here.
fn is_filter(text: &str) -> bool {
    let is_level = |part: &str| LEVELS.iter().any(|level| part.trim().eq_ignore_ascii_case(level));
    let parts_are_good = text.split(',').all(|part| part.contains(['=', '[']) || is_level(part));
    parts_are_good && EnvFilter::try_new(text).is_ok()
}
