//! The page as text.

use crate::export::page::{PageTemplate, check, render};
use crate::export::program::{NoteCode, RenderError};

use super::event::{self, Memory};

pub(super) fn page(event: &Memory) -> String {
    let mut page = Vec::new();
    render(event, &PageTemplate::builtin(), &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn the_page_shows_what_takes_place_and_counts_the_rest() {
    let event = event::small();
    let mut page = Vec::new();
    let rendered = render(&event, &PageTemplate::builtin(), &mut page).unwrap();
    let text = String::from_utf8(page).unwrap();
    assert_eq!((rendered.sessions, rendered.speakers), (5, 2));
    assert_eq!(check(&mut text.as_bytes()).unwrap(), 5);
    assert_eq!(rendered.notes.count(NoteCode::NotAccepted), 1);
    assert!(!text.contains("Rejected"), "{text}");
}

#[test]
fn the_same_event_gives_the_same_bytes() {
    assert_eq!(page(&event::small()), page(&event::small()));
}

#[test]
fn five_hundred_sessions_fit_into_300_kilobytes_beside_their_long_texts() {
    let mut event = event::empty("A summit of the usual kind");
    let about = "We look at how small teams keep software alive for decades, at what it costs and at who pays for it. "
        .repeat(4);
    event.speakers = (0..300).map(|id| event::speaker(id, "Marguerite Duras", "Nathalie & Co. KG")).collect();
    for speaker in &mut event.speakers {
        (speaker.position, speaker.short_biography) = (event::text("Lead developer"), Some(format!("<p>{about}</p>")));
    }
    event.sessions = (0..500)
        .map(|id| {
            let title = format!("Keeping free software alive for decades, {id}");
            let mut session = event::session(id, &title, Some("2026-05-21T07:00:00Z"), Some("2026-05-21T07:30:00Z"));
            (session.room, session.track, session.kind) = (Some(0), Some(1), Some(0));
            session.speakers = vec![event.speakers[usize::try_from(id).unwrap() % 300].who.clone()];
            session.short_abstract = Some(format!("<p>{about}Session {id}.</p>"));
            session
        })
        .collect();
    let page = page(&event);
    assert_eq!(page.matches(&about).count(), 500 + 300, "each text stands there once");
    let rest = page.len() - (500 + 300) * about.len();
    assert!(rest <= 300_000, "{rest} bytes without the abstracts and biographies, {} with them", page.len());
}
