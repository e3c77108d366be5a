//! What the template sees of an event, its sessions and its speakers.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde_json::{Map, json};

use super::sanitise::{self, Sanitiser};
use super::stream::{List, Lists};
use super::survey::Survey;
use super::{SCRIPT, STYLE, colours};
use crate::export::program::{Link, NoteCode, Notes, Programme, Session, Span, Speaker};

/// The longest form of a day: `Thursday, 22 March 2018`.
const LONG_DAY: &str = "%A, %-d %B %Y";

/// Turns records into values of the template and notes what that changes.
pub(super) struct Words<'a> {
    programme: &'a Programme,
    sanitiser: Sanitiser,
    notes: Notes,
}

/// Whose text it is, for the notes.
struct Owner<'a> {
    source_id: Option<&'a str>,
    name: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(programme: &'a Programme) -> Self {
        Self { programme, sanitiser: Sanitiser::new(), notes: Notes::default() }
    }

    pub(super) fn into_notes(self) -> Notes {
        self.notes
    }

    /// Everything but the records of the lists.
    pub(super) fn page(&mut self, survey: &Survey, lists: &Lists) -> Value {
        let programme = self.programme;
        let tracks = programme.tracks.iter().zip(&survey.tracks).filter(|(_, count)| **count > 0);
        let style =
            format!("{STYLE}{}", colours::rules(tracks.clone().map(|(track, _)| (track.id, track.color.as_deref()))));
        let rooms = programme.rooms.iter().zip(&survey.rooms).filter(|(_, count)| **count > 0);
        let days = survey.days.iter().enumerate().map(|(index, day)| {
            context! {
                date => day.date.to_string(),
                name => day.date.format(LONG_DAY).to_string(),
                short => day.date.format("%a %-d %b").to_string(),
                count => day.sessions,
                sessions => lists.value(List::Day(index)),
            }
        });
        context! {
            event => self.event(survey),
            zone => programme.zone.name(),
            json_ld => Value::from(Serde(self.json_ld(survey))),
            tracks => tracks.map(|(track, count)| counted(track.id, &track.name, *count)).collect::<Vec<_>>(),
            rooms => rooms.map(|(room, count)| counted(room.id, &room.name, *count)).collect::<Vec<_>>(),
            days => days.collect::<Vec<_>>(),
            unscheduled => context! { count => survey.unscheduled, sessions => lists.value(List::Unscheduled) },
            speakers => context! { count => survey.speakers.len(), list => lists.value(List::Speakers) },
            style => Value::from_safe_string(style),
            script => Value::from_safe_string(SCRIPT.to_owned()),
        }
    }

    fn event(&mut self, survey: &Survey) -> Value {
        let event = &self.programme.event;
        let owner = Owner { source_id: None, name: &event.name };
        let sponsors = self.programme.sponsors.iter().map(|sponsor| {
            context! {
                name => self.line(&owner, &sponsor.name),
                url => self.link(&owner, sponsor.url.as_deref()),
                kind => self.optional_line(&owner, sponsor.kind.as_deref()),
            }
        });
        let sponsors: Vec<_> = sponsors.collect();
        context! {
            name => self.name(&owner, &event.name, "Schedule"),
            location => self.optional_line(&owner, event.location.as_deref()),
            description => self.rich(&owner, event.description.as_deref()),
            organiser => self.optional_line(&owner, event.owner_name.as_deref()),
            organiser_about => self.rich(&owner, event.owner_description.as_deref()),
            url => self.link(&owner, event.url.as_deref()),
            ticket_url => self.link(&owner, event.ticket_url.as_deref()),
            code_of_conduct => self.rich(&owner, event.code_of_conduct.as_deref()),
            links => self.links(&owner, &self.programme.links),
            sponsors,
            dates => dates(self.programme, survey),
            key => event.uuid.simple().to_string(),
        }
    }

    fn json_ld(&self, survey: &Survey) -> serde_json::Value {
        let event = &self.programme.event;
        let first = survey.days.first().and_then(|_| survey.range(0)).map(|range| range.start);
        let mut object = Map::new();
        let mut put = |key: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        put("@context", Some(json!("https://schema.org")));
        put("@type", Some(json!("Event")));
        put("name", Some(json!(sanitise::printable(&event.name))));
        put("startDate", event.starts_at.or(first).map(|start| json!(iso(self.programme, start))));
        put("endDate", event.ends_at.map(|end| json!(iso(self.programme, end))));
        put(
            "location",
            event.location.as_deref().map(|place| {
                let place = sanitise::printable(place);
                json!({"@type": "Place", "name": place, "address": place})
            }),
        );
        put("url", event.url.as_deref().and_then(sanitise::link).map(Into::into));
        put(
            "organizer",
            event.owner_name.as_deref().map(|name| json!({"@type": "Organization", "name": sanitise::printable(name)})),
        );
        put(
            "offers",
            event.ticket_url.as_deref().and_then(sanitise::link).map(|url| json!({"@type": "Offer", "url": url})),
        );
        serde_json::Value::Object(object)
    }

    /// A session; `day` is where it stands.
    pub(super) fn session(&mut self, session: &Session, day: Option<NaiveDate>) -> Value {
        let programme = self.programme;
        let owner = Owner { source_id: Some(&session.source_id), name: &session.title };
        let span = session.span(programme);
        let pages = [
            ("Slides", &session.slides_url),
            ("Audio", &session.audio_url),
            ("Video", &session.video_url),
            ("Sign up", &session.signup_url),
        ];
        let pages = pages
            .into_iter()
            .filter_map(|(name, url)| Some(context! { name, url => self.link(&owner, url.as_deref())? }));
        let pages: Vec<_> = pages.collect();
        let speakers = session.speakers.iter().map(|speaker| {
            context! {
                id => speaker.id,
                name => self.name(&owner, &speaker.name, "Unnamed speaker"),
                organisation => self.optional_line(&owner, speaker.organisation.as_deref()),
            }
        });
        let speakers: Vec<_> = speakers.collect();
        let track = session.track.and_then(|track| programme.tracks.get(track));
        let room = session.room.and_then(|room| programme.rooms.get(room));
        let kind = session.kind.and_then(|kind| programme.kinds.get(kind));
        context! {
            uuid => session.uuid.to_string(),
            title => self.name(&owner, &session.title, "Untitled session"),
            subtitle => self.optional_line(&owner, session.subtitle.as_deref()),
            about => self.about(&owner, session.short_abstract.as_deref(), session.long_abstract.as_deref()),
            start => span.map(|span| start(programme, span, day)),
            end => span.map(|span| end(programme, span)),
            end_is_given => span.is_some_and(|span| span.end_is_given),
            room => room.map(|room| context! { id => room.id, name => self.line(&owner, &room.name) }),
            track => track.map(|track| context! { id => track.id, name => self.line(&owner, &track.name) }),
            kind => kind.and_then(|kind| self.optional_line(&owner, Some(&kind.name))),
            language => self.optional_line(&owner, session.language.as_deref()),
            level => self.optional_line(&owner, session.level.as_deref()),
            links => pages,
            speakers,
        }
    }

    /// A speaker.
    pub(super) fn speaker(&mut self, speaker: &Speaker) -> Value {
        let owner = Owner { source_id: Some(&speaker.source_id), name: &speaker.who.name };
        let place = [speaker.city.as_deref(), speaker.country.as_deref()];
        let place: Vec<_> = place.into_iter().filter_map(|part| self.optional_line(&owner, part)).collect();
        context! {
            id => speaker.who.id,
            name => self.name(&owner, &speaker.who.name, "Unnamed speaker"),
            organisation => self.optional_line(&owner, speaker.who.organisation.as_deref()),
            position => self.optional_line(&owner, speaker.position.as_deref()),
            place => (!place.is_empty()).then(|| place.join(", ")),
            biography => self.about(&owner, speaker.short_biography.as_deref(), speaker.long_biography.as_deref()),
            links => self.links(&owner, &speaker.links),
        }
    }

    /// The short and the long text, the short one only where the long one does not begin with it.
    fn about(&mut self, owner: &Owner<'_>, short: Option<&str>, long: Option<&str>) -> Option<Value> {
        let short = short.map(str::trim).unwrap_or_default();
        let long = long.map(str::trim).unwrap_or_default();
        let parts = if long.starts_with(short) { [None, Some(long)] } else { [Some(short), Some(long)] };
        let parts: Vec<_> = parts.into_iter().filter_map(|part| self.clean(owner, part)).collect();
        let html = match parts.as_slice() {
            [] => return None,
            [one] => one.clone(),
            several => several.iter().map(|part| format!("<div>{part}</div>")).collect(),
        };
        Some(Value::from_safe_string(html))
    }

    fn rich(&mut self, owner: &Owner<'_>, text: Option<&str>) -> Option<Value> {
        self.clean(owner, text).map(Value::from_safe_string)
    }

    fn clean(&mut self, owner: &Owner<'_>, text: Option<&str>) -> Option<String> {
        let text = text.filter(|text| !text.trim().is_empty())?;
        let text = self.printable(owner, text);
        let (html, removed) = self.sanitiser.clean(&text);
        if let Some(removed) = removed {
            self.notes.add(NoteCode::MarkupRemoved, owner.source_id, owner.name, removed);
        }
        html
    }

    fn link(&mut self, owner: &Owner<'_>, address: Option<&str>) -> Option<Value> {
        let address = address.filter(|address| !address.trim().is_empty())?;
        let link = sanitise::link(address);
        if link.is_none() {
            self.notes.add(NoteCode::LinkLeftOut, owner.source_id, owner.name, address);
        }
        // A parsed address holds no quotation marks and no angle brackets but for the apostrophe.
        link.map(|link| Value::from_safe_string(link.replace('&', "&amp;").replace('\'', "&#39;")))
    }

    fn links(&mut self, owner: &Owner<'_>, links: &[Link]) -> Vec<Value> {
        let links = links.iter().filter_map(|link| {
            let url = self.link(owner, Some(&link.url))?;
            Some(context! { name => self.name(owner, &link.name, "Link"), url })
        });
        links.collect()
    }

    fn name(&mut self, owner: &Owner<'_>, text: &str, or: &str) -> String {
        self.optional_line(owner, Some(text)).unwrap_or_else(|| or.to_owned())
    }

    fn optional_line(&mut self, owner: &Owner<'_>, text: Option<&str>) -> Option<String> {
        text.map(|text| self.line(owner, text)).filter(|line| !line.is_empty())
    }

    fn line(&mut self, owner: &Owner<'_>, text: &str) -> String {
        self.printable(owner, text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn printable(&mut self, owner: &Owner<'_>, text: &str) -> String {
        let printable = sanitise::printable(text);
        if printable.len() < text.len() {
            self.notes.add(NoteCode::CharactersRemoved, owner.source_id, owner.name, "control characters");
        }
        printable.into_owned()
    }
}

fn counted(id: i64, name: &str, count: u64) -> Value {
    let name = sanitise::printable(name);
    context! { id, name => if name.trim().is_empty() { "Unnamed" } else { name.trim() }, count }
}

fn start(programme: &Programme, span: Span, day: Option<NaiveDate>) -> Value {
    let local = span.start.with_timezone(&programme.zone);
    let other_day = day.filter(|day| *day != local.date_naive());
    context! {
        iso => iso(programme, span.start),
        text => local.format("%H:%M").to_string(),
        date => other_day.map(|_| local.format("%a %-d %b").to_string()),
    }
}

fn end(programme: &Programme, span: Span) -> Value {
    let local = span.end.with_timezone(&programme.zone);
    let is_long = span.end - span.start >= TimeDelta::days(1);
    context! {
        iso => iso(programme, span.end),
        text => local.format(if is_long { "%a %-d %b, %H:%M" } else { "%H:%M" }).to_string(),
    }
}

/// An instant by the event's clock, as HTML and JSON-LD read it.
fn iso(programme: &Programme, instant: DateTime<Utc>) -> String {
    let local = instant.with_timezone(&programme.zone);
    let seconds = if local.second() == 0 { "" } else { ":%S" };
    // Old local times are off by seconds, which the notation cannot say.
    if chrono::Offset::fix(local.offset()).local_minus_utc() % 60 == 0 {
        local.format(&format!("%Y-%m-%dT%H:%M{seconds}%:z")).to_string()
    } else {
        instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// From when to when the event is: `22–25 March 2018`.
fn dates(programme: &Programme, survey: &Survey) -> Option<String> {
    let local = |instant: DateTime<Utc>| instant.with_timezone(&programme.zone).date_naive();
    let first = programme.event.starts_at.map(local).or_else(|| survey.days.first().map(|day| day.date))?;
    // An end at midnight is the end of the day before.
    let end = programme.event.ends_at.map(|end| local(end - TimeDelta::seconds(1)));
    let last = end.or_else(|| survey.days.last().map(|day| day.date)).map_or(first, |last| last.max(first));
    Some(if first == last {
        first.format(LONG_DAY).to_string()
    } else if (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{}–{}", first.format("%-d"), last.format("%-d %B %Y"))
    } else if first.year() == last.year() {
        format!("{} – {}", first.format("%-d %B"), last.format("%-d %B %Y"))
    } else {
        format!("{} – {}", first.format("%-d %B %Y"), last.format("%-d %B %Y"))
    })
}
