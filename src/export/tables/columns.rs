//! The columns of sessions and speakers.

use chrono::TimeDelta;

use super::{Cell, Column, Shown, Table};
use crate::export::program::{Link, Programme, Session, Speaker};

/// Every session that is not gone.
pub(super) const SESSIONS: Table<Session> =
    Table { columns: &SESSION_COLUMNS, who: |session| (&session.source_id, &session.title) };

/// Every speaker that is not gone.
pub(super) const SPEAKERS: Table<Speaker> =
    Table { columns: &SPEAKER_COLUMNS, who: |speaker| (&speaker.source_id, &speaker.who.name) };

const SESSION_COLUMNS: [Column<Session>; 20] = [
    always("id", "Id", 10.0, |session, _| session.source_id.as_str().into()),
    always("title", "Title", 48.0, |session, _| session.title.as_str().into()),
    always("subtitle", "Subtitle", 28.0, |session, _| (&session.subtitle).into()),
    always("state", "State", 11.0, |session, _| (&session.state).into()),
    always("starts_at", "Starts", 17.0, |session, _| Cell::Instant(session.starts_at)),
    always("ends_at", "Ends", 17.0, |session, _| Cell::Instant(session.ends_at)),
    always("minutes", "Minutes", 9.0, |session, _| minutes(session)),
    always("room", "Room", 20.0, |session, programme| name_of(session.room, &programme.rooms, |room| &room.name)),
    always("track", "Track", 20.0, |session, programme| name_of(session.track, &programme.tracks, |track| &track.name)),
    always("type", "Type", 16.0, |session, programme| name_of(session.kind, &programme.kinds, |kind| &kind.name)),
    always("speakers", "Speakers", 36.0, |session, _| {
        joined(session.speakers.iter().map(|speaker| speaker.name.as_str())).into()
    }),
    always("language", "Language", 11.0, |session, _| (&session.language).into()),
    always("level", "Level", 13.0, |session, _| (&session.level).into()),
    always("slides_url", "Slides", 30.0, |session, _| (&session.slides_url).into()),
    always("audio_url", "Audio", 30.0, |session, _| (&session.audio_url).into()),
    always("video_url", "Video", 30.0, |session, _| (&session.video_url).into()),
    always("signup_url", "Sign-up", 30.0, |session, _| (&session.signup_url).into()),
    privately("comments", "Comments", 40.0, |session, _| (&session.comments).into()),
    always("updated_at", "Changed", 17.0, |session, _| Cell::Instant(Some(session.updated_at))),
    always("uuid", "UUID", 38.0, |session, _| session.uuid.to_string().into()),
];

const SPEAKER_COLUMNS: [Column<Speaker>; 14] = [
    always("id", "Id", 10.0, |speaker, _| speaker.source_id.as_str().into()),
    always("name", "Name", 30.0, |speaker, _| speaker.who.name.as_str().into()),
    always("organisation", "Organisation", 28.0, |speaker, _| (&speaker.who.organisation).into()),
    always("position", "Position", 24.0, |speaker, _| (&speaker.position).into()),
    always("city", "City", 18.0, |speaker, _| (&speaker.city).into()),
    always("country", "Country", 18.0, |speaker, _| (&speaker.country).into()),
    always("featured", "Featured", 10.0, |speaker, _| if speaker.is_featured { "yes" } else { "no" }.into()),
    privately("email", "E-mail", 30.0, |speaker, _| (&speaker.email).into()),
    privately("mobile", "Mobile", 18.0, |speaker, _| (&speaker.mobile).into()),
    privately("address", "Address", 36.0, |speaker, _| (&speaker.address).into()),
    always("photo_url", "Photo", 30.0, |speaker, _| (&speaker.photo_url).into()),
    always("links", "Links", 48.0, |speaker, _| links(&speaker.links).into()),
    always("updated_at", "Changed", 17.0, |speaker, _| Cell::Instant(Some(speaker.updated_at))),
    always("uuid", "UUID", 38.0, |speaker, _| speaker.who.uuid.to_string().into()),
];

type Fill<R> = for<'a> fn(&'a R, &'a Programme) -> Cell<'a>;

const fn always<R>(name: &'static str, heading: &'static str, width: f64, cell: Fill<R>) -> Column<R> {
    Column { name, heading, width, shown: Shown::Always, cell }
}

const fn privately<R>(name: &'static str, heading: &'static str, width: f64, cell: Fill<R>) -> Column<R> {
    Column { name, heading, width, shown: Shown::Privately, cell }
}

fn name_of<'a, T>(index: Option<usize>, all: &'a [T], name: fn(&T) -> &String) -> Cell<'a> {
    index.and_then(|index| all.get(index)).map_or("", |one| name(one).as_str()).into()
}

/// How long a session takes, where both of its ends are given and in their order.
fn minutes<'a>(session: &Session) -> Cell<'a> {
    let length = session.starts_at.zip(session.ends_at).map(|(start, end)| end - start);
    length
        .filter(|length| *length >= TimeDelta::zero())
        .map_or_else(|| "".into(), |length| Cell::Number(length.num_minutes()))
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.filter(|name| !name.trim().is_empty()).collect::<Vec<_>>().join("; ")
}

fn links(links: &[Link]) -> String {
    let named: Vec<String> = links
        .iter()
        .map(|link| if link.name.is_empty() { link.url.clone() } else { format!("{}: {}", link.name, link.url) })
        .collect();
    joined(named.iter().map(String::as_str))
}
