//! The page as people use it, in Chromium.

use std::path::PathBuf;

use serde_json::json;

use crate::export::program::Link;

use super::browser::Browser;
use super::event::{self, Memory, text};
use super::page::page;

/// A page in a folder of its own, and a browser.
struct Shown {
    browser: Browser,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn shown(event: &Memory) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schedule.html");
    write(&file, &page(event));
    Shown { browser: Browser::start(), file, _folder: folder }
}

#[expect(clippy::disallowed_methods, reason = "a file of a test needs no care")]
fn write(file: &std::path::Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

const TITLES: &str = "article.s h3";

#[test]
fn the_search_finds_titles_speakers_organisations_and_tracks_without_accents_and_case() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "");
    assert_eq!(browser.seen(TITLES).len(), 5);
    for (search, found) in [
        ("OPENING CAFE", vec!["Opening café"]),
        ("lukasz zolc", vec!["Opening café"]),
        ("äpfel institut", vec!["Opening café"]),
        ("LOVELACE", vec!["Engines"]),
        ("analytical", vec!["Engines"]),
        ("hardware", vec!["Engines", "Straße der Zukunft"]),
        ("strasse", vec!["Straße der Zukunft"]),
        ("mobile some", vec!["Some day"]),
        ("words of welcome", vec![]),
    ] {
        browser.search(search);
        assert_eq!(browser.seen(TITLES), found, "{search}");
    }
    assert_eq!(browser.seen("#found"), ["No sessions found."]);
    browser.search("");
    assert_eq!(browser.seen(TITLES).len(), 5);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_calendar_has_a_column_per_room_and_places_sessions_by_their_time() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "");
    browser.click("[data-view=calendar]");
    assert_eq!(browser.seen(".grid h3"), ["Main hall", "Side room"]);
    assert_eq!(browser.seen(".axis span"), ["09:00", "10:00"]);
    assert!(browser.seen(".day h3").is_empty());
    assert_eq!(browser.seen(".unplaced h3"), ["Some day"]);
    let boxes = browser.value(
        "[...document.querySelectorAll('.col li:has(a)')].map((li) => [parseFloat(li.style.top), parseFloat(li.style.height)])",
    );
    let (opening, engines) = (&boxes[0], &boxes[1]);
    let (height, tall) = (opening[1].as_f64().unwrap(), engines[1].as_f64().unwrap());
    assert!((tall / height - 2.0).abs() < 0.01, "an hour is twice as high as half an hour: {boxes}");
    assert!((engines[0].as_f64().unwrap() - height / 2.0).abs() < 0.01, "it begins in the middle of it: {boxes}");

    browser.click("[data-day='2026-05-22'][role=tab]");
    assert_eq!(browser.seen(".grid h3"), ["Main hall", "No room"]);
    assert_eq!(browser.seen("[role=tab][aria-selected=true]"), ["Fri 22 May"]);
    browser.click(".block");
    assert_eq!(browser.seen("dialog[open] h3"), ["Straße der Zukunft"]);
    browser.press("Escape");
    assert!(browser.seen("dialog[open]").is_empty());
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn view_day_and_filters_are_kept_in_the_address() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "");
    browser.click("[name=track][value='22']");
    browser.click("[name=room][value='12']");
    assert_eq!(browser.seen(TITLES), ["Engines"]);
    let hash = browser.text("location.hash");
    assert_eq!(hash, "#track=22&room=12");
    browser.open(&file, &hash);
    assert_eq!(browser.seen(TITLES), ["Engines"]);
    assert_eq!(browser.value("document.querySelector('[name=room][value=\"12\"]').checked"), true);
    browser.click("#reset");
    assert_eq!(browser.seen(TITLES).len(), 5);

    browser.open(&file, "#view=calendar&day=2026-05-22&q=stra%C3%9Fe&track=99");
    assert_eq!(browser.seen(".block strong"), ["Straße der Zukunft"]);
    browser.value("location.hash = '#day=2026-05-21'; new Promise((done) => addEventListener('hashchange', () => setTimeout(done)))");
    assert_eq!(browser.seen(TITLES), ["Opening café", "Engines"]);
}

#[test]
fn an_address_of_a_session_leads_to_it() {
    let event = event::small();
    let Shown { mut browser, file, _folder } = shown(&event);
    browser.set_time("2026-05-22T08:30:00Z");
    browser.open(&file, &format!("#session-{}", event.sessions[0].uuid));
    assert_eq!(browser.seen(".aim h3"), ["Opening café"]);
    assert_eq!(browser.seen(".aim details p"), ["Coffee and words of welcome."]);
}

#[test]
fn times_are_shown_in_the_events_zone_and_on_request_in_the_local_one() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.call("Emulation.setTimezoneOverride", &json!({"timezoneId": "Pacific/Auckland"}));
    browser.open(&file, "");
    let when = "article .when";
    // Berlin is two hours ahead of UTC in May, Auckland twelve.
    assert_eq!(browser.seen(when)[0].replace('\n', " "), "09:00 09:30");
    assert_eq!(browser.seen(when)[3].replace('\n', " "), "00:30 Sat 23 May");
    assert!(browser.seen("#zone")[0].contains("Europe/Berlin"));
    browser.click("#local");
    assert_eq!(browser.seen(when)[0].replace('\n', " "), "19:00 19:30");
    assert_eq!(browser.seen(when)[3].replace('\n', " "), "10:30 Sat 23 May");
    assert!(browser.seen("#zone")[0].contains("Pacific/Auckland"));
    browser.click("[data-view=calendar]");
    assert_eq!(browser.seen(".axis span"), ["19:00", "20:00"]);
    browser.click("#local");
    assert_eq!(browser.seen(".axis span"), ["09:00", "10:00"]);
}

#[test]
fn starred_sessions_are_kept_by_the_browser() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "");
    browser.value("document.querySelectorAll('article .star')[1].click()");
    browser.open(&file, "#starred=1");
    assert_eq!(browser.seen(TITLES), ["Engines"]);
    assert_eq!(browser.value("document.querySelectorAll('.star[aria-pressed=true]').length"), 1);
    browser.open(&file, "#view=calendar");
    assert_eq!(browser.seen(".block time"), ["09:00–09:30", "09:15–10:15 ★"]);
}

#[test]
fn what_runs_now_is_marked() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.set_time("2026-05-21T07:10:00Z");
    browser.open(&file, "");
    assert_eq!(browser.seen("[role=tab][aria-selected=true]"), ["Thu 21 May"]);
    assert_eq!(browser.seen("article:has(.badge) h3"), ["Opening café"]);
    assert_eq!(browser.seen(".nowline + article h3"), ["Engines"]);
    browser.click("[data-view=calendar]");
    assert_eq!(browser.value("document.querySelectorAll('.col .line').length"), 2);
}

#[test]
fn without_scripts_the_page_is_a_full_list() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.open(&file, "");
    assert_eq!(browser.seen(TITLES), ["Opening café", "Engines", "Straße der Zukunft", "Night walk", "Some day"]);
    assert!(browser.seen(".tools, .star, #local, #calendar").is_empty());
    assert_eq!(browser.seen(".days a"), ["Thu 21 May", "Fri 22 May"]);
    assert_eq!(browser.seen(".people h3"), ["Łukasz Żółć", "Ada Lovelace"]);
}

#[test]
fn the_page_is_used_with_the_keyboard_alone() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "");
    browser.press("Tab");
    assert_eq!(browser.text("document.activeElement.textContent"), "Skip to the programme");
    browser.press("Tab");
    assert_eq!(browser.text("document.activeElement.id"), "q");
    browser.value("document.querySelector('[role=tab][aria-selected=true]').focus()");
    browser.press("ArrowRight");
    assert_eq!(browser.text("document.activeElement.textContent"), "Thu 21 May ");
    assert_eq!(browser.seen(TITLES), ["Opening café", "Engines"]);
    browser.press("End");
    assert_eq!(browser.seen(TITLES), ["Straße der Zukunft", "Night walk"]);
    let outline = browser.text("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid");
}

#[test]
fn a_printed_page_is_the_list_of_what_was_chosen_without_controls() {
    let Shown { mut browser, file, _folder } = shown(&event::small());
    browser.open(&file, "#view=calendar");
    browser.call("Emulation.setEmulatedMedia", &json!({"media": "print"}));
    assert!(browser.seen(".tools, .star, .cal, .days").is_empty());
    assert_eq!(browser.seen(TITLES), ["Opening café", "Engines", "Some day"]);
}

#[test]
fn nothing_of_a_hostile_archive_runs_and_no_request_goes_out() {
    let Shown { mut browser, file, _folder } = shown(&hostile());
    for hash in ["", "#view=calendar", "#q=<script>ran=1</script>", "#track=<img src=x onerror=ran=1>&room='"] {
        browser.open(&file, hash);
        browser.value("for (const d of document.querySelectorAll('details')) d.open = true; document.querySelector('.block')?.click()");
        browser.value("for (const a of document.querySelectorAll('a[href^=javascript]')) a.click()");
        assert_eq!(browser.requests(), [""; 0]);
        assert_eq!(browser.value("typeof ran"), "undefined");
        assert_eq!(browser.complaints(), [""; 0]);
    }
    assert_eq!(browser.value("document.querySelectorAll('img,iframe,object,embed,form:not(.tools),svg').length"), 0);
    assert_eq!(
        browser.value("document.querySelectorAll('[onclick],[onerror],[onload],[onmouseover],[style*=url]').length"),
        0
    );
    assert_eq!(
        browser.value("document.querySelectorAll('[href^=\"javascript:\" i],[href^=\"data:\" i]:not(link)').length"),
        0
    );
    assert_eq!(browser.value("document.querySelectorAll('script').length"), 2);
    let event = browser.value("JSON.parse(document.querySelector('script[type=\"application/ld+json\"]').textContent)");
    assert_eq!((event["@type"].as_str(), event["name"].as_str()), (Some("Event"), Some(HOSTILE)));
}

const HOSTILE: &str = "</script></style></title><script>ran=1</script><img src=\"http://evil.example/x\" onerror=ran=1>\
    <a href=\"javascript:ran=1\" onclick=\"ran=1\">x</a><svg onload=ran=1></svg>\"'><iframe srcdoc=\"<script>top.ran=1</script>\">\
    </iframe><style>@import 'http://evil.example/y';</style><p style=\"background:url(http://evil.example/z)\">{{ 7*7 }}{% endblock %}]]>\
    <form action=\"http://evil.example/\"><button>x</button></form><base href=\"http://evil.example/\"><!--";

/// Every text of the event is a script.
fn hostile() -> Memory {
    let mut event = event::small();
    let bad = || text(HOSTILE);
    let address = || text("javascript:ran=1");
    let programme = &mut event.programme;
    programme.event.name = HOSTILE.to_owned();
    let about = &mut programme.event;
    (about.location, about.description, about.owner_name) = (bad(), bad(), bad());
    (about.owner_description, about.code_of_conduct) = (bad(), bad());
    (about.url, about.ticket_url) = (address(), text("data:text/html,<script>ran=1</script>"));
    (about.image_url, about.logo_url) = (text("http://evil.example/i.png"), bad());
    programme.links = vec![
        Link { name: HOSTILE.to_owned(), url: "https://example.org/'\"><script>ran=1</script>".to_owned() },
        Link { name: HOSTILE.to_owned(), url: " javascript:ran=1".to_owned() },
    ];
    for room in &mut programme.rooms {
        room.name = HOSTILE.to_owned();
    }
    for track in &mut programme.tracks {
        (track.name, track.color) = (HOSTILE.to_owned(), text("red}body{background:url(http://evil.example/c)}"));
    }
    programme.kinds[0].name = HOSTILE.to_owned();
    for session in &mut event.sessions {
        session.title = HOSTILE.to_owned();
        (session.subtitle, session.short_abstract, session.long_abstract) = (bad(), bad(), text("<i>other</i>"));
        (session.language, session.level) = (bad(), bad());
        (session.slides_url, session.audio_url, session.video_url, session.signup_url) =
            (address(), bad(), address(), text("JaVaScRiPt:ran=1"));
        for speaker in &mut session.speakers {
            (speaker.name, speaker.organisation) = (HOSTILE.to_owned(), bad());
        }
    }
    for speaker in &mut event.speakers {
        (speaker.who.name, speaker.who.organisation) = (HOSTILE.to_owned(), bad());
        (speaker.position, speaker.country, speaker.city) = (bad(), bad(), bad());
        (speaker.short_biography, speaker.long_biography, speaker.photo_url) =
            (bad(), bad(), text("http://evil.example/p"));
        speaker.links = vec![Link { name: HOSTILE.to_owned(), url: "javascript:ran=1".to_owned() }];
    }
    event
}
