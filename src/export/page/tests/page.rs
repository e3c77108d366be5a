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
fn five_hundred_sessions_without_abstracts_fit_into_300_kilobytes() {
    let page = page(&summit(None));
    assert_eq!(page.matches("<article").count(), 500);
    assert!(page.len() <= 300_000, "{} bytes", page.len());
}

#[test]
fn each_abstract_and_biography_stands_there_once() {
    let about =
        "We look at how small teams keep software alive for decades, at what it costs and at who pays.".repeat(4);
    let bare = page(&summit(None)).len();
    let page = page(&summit(Some(&about)));
    assert_eq!(page.matches(&about).count(), 500 + 300);
    assert!(page.len() < bare + (500 + 300) * (about.len() + 100), "{} bytes", page.len());
}

/// 500 sessions and 300 speakers with names of the usual length.
fn summit(about: Option<&str>) -> Memory {
    let mut event = event::empty("A summit of the usual kind");
    event.speakers = (0..300).map(|id| event::speaker(id, "Marguerite Duras", "Nathalie & Co. KG")).collect();
    for speaker in &mut event.speakers {
        (speaker.position, speaker.short_biography) = (event::text("Lead developer"), about.map(str::to_owned));
    }
    let session = |id: i64| {
        let title = format!("Keeping free software alive for decades, {id}");
        let mut session = event::session(id, &title, Some("2026-05-21T07:00:00Z"), Some("2026-05-21T07:30:00Z"));
        (session.room, session.track, session.kind) = (Some(0), Some(1), Some(0));
        session.speakers = vec![event.speakers[usize::try_from(id).unwrap() % 300].who.clone()];
        session.short_abstract = about.map(str::to_owned);
        session
    };
    event.sessions = (0..500).map(session).collect();
    event
}

#[test]
fn a_bad_event_still_gives_a_whole_page_and_notes_what_was_done() {
    let mut event = event::empty("");
    event.programme.event.starts_at = None;
    let start = Some("2026-05-21T20:00:00Z");
    let mut odd = event::session(1, "\u{0}\u{1b}=cmd() ]]> \u{202e}מזרח", start, Some("2026-05-21T19:00:00Z"));
    odd.room = Some(0);
    odd.short_abstract = event::text("<script>alert(1)</script>");
    odd.slides_url = event::text("/slides/session_1.pdf");
    let mut long = event::session(2, &"x".repeat(300), start, Some("2026-05-23T20:00:00Z"));
    long.room = Some(0);
    // In Berlin it was 53 minutes past midnight.
    let outside = event::session(3, "", Some("0001-01-01T00:00:00Z"), None);
    let after = event::session(4, "after midnight", Some("2026-05-22T00:30:00Z"), None);
    event.sessions = vec![odd, long, outside, after, event::session(5, "no time", None, None)];
    let mut page = Vec::new();
    let rendered = render(&event, &PageTemplate::builtin(), &mut page).unwrap();
    assert_eq!(check(&mut page.as_slice()).unwrap(), 5);
    let counts: Vec<_> = rendered.notes.iter().map(|(code, noted)| (code, noted.count)).collect();
    assert_eq!(
        counts,
        [
            (NoteCode::EventWithoutStart, 1),
            (NoteCode::EndGuessed, 3),
            (NoteCode::Overlapping, 1),
            (NoteCode::WithoutRoom, 2),
            (NoteCode::AfterMidnight, 2),
            (NoteCode::CharactersRemoved, 1),
            (NoteCode::MarkupRemoved, 1),
            (NoteCode::LinkLeftOut, 1),
        ]
    );
    let text = String::from_utf8(page).unwrap();
    assert!(text.contains("<h3 dir=auto>=cmd() ]]&gt; \u{202e}מזרח</h3>"), "{text}");
    assert!(text.contains("<h3 dir=auto>Untitled session</h3>"));
    assert!(text.contains(&"x".repeat(300)));
}

#[test]
fn an_event_without_sessions_is_a_page_too() {
    let text = page(&event::empty("Nothing yet"));
    assert_eq!(check(&mut text.as_bytes()).unwrap(), 0);
    assert!(text.contains("There are no sessions yet."));
}

#[test]
fn an_event_that_cannot_be_read_on_fails_as_such() {
    let mut event = event::small();
    event.fails_after = Some(1);
    let error = render(&event, &PageTemplate::builtin(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the event cannot be read: the disk is gone");
}

#[test]
fn a_page_that_cannot_be_written_fails_as_such() {
    let mut space = [0_u8; 100];
    let error = render(&event::small(), &PageTemplate::builtin(), &mut space.as_mut_slice()).unwrap_err();
    assert!(matches!(error, RenderError::Write(_)), "{error}");
}
