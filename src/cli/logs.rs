//! Where log lines go: to people, to machines, to the journal.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use super::context::Loudness;
use super::exit::Failure;
use crate::config::{Colour, LogFormat, LogSection};

/// For whom is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// For those who keep logs: as the configuration says; quietly: warnings and errors only.
    Service(Loudness),
    /// For the person who typed a command: text beside its output, filtered by this.
    Person(String),
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// Starts logging to stderr or the journal, once per process. Where the journal is configured and not there, text goes
/// to stderr and the first line says so.
///
/// # Errors
/// Where the level is no filter.
pub(super) fn start(section: &LogSection, audience: &Audience) -> Result<(), Failure> {
    let colours = match section.colour {
        Colour::Auto => anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
        Colour::Always => true,
        Colour::Never => false,
    };
    let (layer, trouble) = match (audience, section.format) {
        (Audience::Person(_), _) => (for_person(io::stderr, colours), None),
        (Audience::Service(_), LogFormat::Text) => (as_text(io::stderr, colours), None),
        (Audience::Service(_), LogFormat::Json) => (as_json(io::stderr), None),
        (Audience::Service(_), LogFormat::Journald) => match tracing_journald::layer() {
            Ok(journal) => (journal.with_field_prefix(None).boxed(), None),
            Err(error) => (as_text(io::stderr, colours), Some(error)),
        },
    };
    let started = Registry::default().with(layer.with_filter(filter(section, audience)?)).try_init();
    started.map_err(|error| Failure::could_not_run(format!("could not start logging: {error}")))?;
    if let Some(error) = trouble {
        tracing::warn!(%error, "The journal cannot be reached, so log lines go to stderr");
    }
    Ok(())
}

fn filter(section: &LogSection, audience: &Audience) -> Result<EnvFilter, Failure> {
    let level = match audience {
        Audience::Service(Loudness::Normal) => section.level.as_str(),
        Audience::Service(Loudness::Quiet) => "warn",
        Audience::Person(level) => level.as_str(),
    };
    EnvFilter::try_new(level)
        .map_err(|error| Failure::could_not_run(format!("`{level}` is no level of the log: {error}")))
}

/// One line with time and module.
fn as_text<S, W>(writer: W, colours: bool) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().compact().with_writer(writer).with_ansi(colours).boxed()
}

/// One line without time and module: it is about the command that is just running.
fn for_person<S, W>(writer: W, colours: bool) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().compact().without_time().with_target(false).with_writer(writer).with_ansi(colours).boxed()
}

/// One object a line, the fields beside `timestamp`, `level`, `target` and `message`.
fn as_json<S, W>(writer: W) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(make: impl FnOnce(Lines) -> BoxedLayer<Registry>, filter: &str) -> String {
        let lines = Lines::default();
        let layer = make(lines.clone()).with_filter(EnvFilter::try_new(filter).unwrap());
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::warn!(job.id = "7", name = "a\u{1b}[2J", "A job waits");
            tracing::info!("A job has ended");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_in_it() {
        let lines = logged(|lines| as_json(move || lines.clone()), "info");
        assert_eq!(lines.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["message"], "A job waits");
        assert_eq!(first["job.id"], "7");
        assert_eq!(first["level"], "WARN");
    }

    #[test]
    fn a_person_gets_a_sentence_and_no_control_characters() {
        let lines = logged(|lines| for_person(move || lines.clone(), false), "warn");
        assert_eq!(lines.lines().count(), 1);
        assert!(lines.trim_start().starts_with("WARN A job waits"), "{lines}");
        assert!(!lines.contains('\u{1b}'), "{lines:?}");
    }

    #[test]
    fn text_for_logs_has_the_time_in_utc_and_the_module() {
        let lines = logged(|lines| as_text(move || lines.clone(), false), "info");
        let first = lines.lines().next().unwrap();
        assert!(first.split(' ').next().unwrap().ends_with('Z'), "{first}");
        assert!(first.contains("eventferry::cli::logs::tests: A job waits"), "{first}");
    }

    #[test]
    fn the_level_is_the_configured_one_unless_the_service_is_quiet_or_a_person_asks() {
        let section = LogSection { format: LogFormat::Text, level: "debug".to_owned(), colour: Colour::Never };
        let level = |audience| filter(&section, &audience).unwrap().to_string();
        assert_eq!(level(Audience::Service(Loudness::Normal)), "debug");
        assert_eq!(level(Audience::Service(Loudness::Quiet)), "warn");
        assert_eq!(level(Audience::Person("error".to_owned())), "error");
    }
}
