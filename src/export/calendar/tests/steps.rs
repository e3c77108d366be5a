//! The steps under the formats.

use chrono::NaiveDate;

use super::{at, event, json_of, session};
use crate::export::calendar::zone::{self, Kind};
use crate::export::calendar::{address, days, names, rich};

#[test]
fn rich_text_becomes_paragraphs_lists_and_addresses() {
    let cases = [
        ("plain\ntext", "plain\ntext"),
        ("a < b && c > d <3", "a < b && c > d <3"),
        ("mail <ada@open.example> &amp; more", "mail <ada@open.example> & more"),
        ("<p>One\n two</p>\n<p>three&nbsp;&eacute;</p>", "One two\n\nthree\u{a0}é"),
        ("Look:<ul><li>a</li><li><p>b</p></li></ul>end", "Look:\n\n- a\n- b\n\nend"),
        ("x<br>y<br/>\nz", "x\ny\nz"),
        ("see <a href=\"https://open.example/a?b=1&amp;c=2\">this</a>.", "see this (https://open.example/a?b=1&c=2)."),
        ("<a href='https://www.open.example/'>open.example</a>", "open.example"),
        ("<a href='javascript:x()'>click</a>", "click"),
        ("<script>alert('<p>')</script>kept<style>p{}</style>", "kept"),
        ("<p>not closed <b>bold", "not closed bold"),
        ("<!-- gone --><p>stays</p>", "stays"),
        ("&lt;b&gt; stays &unknown; R&D", "<b> stays &unknown; R&D"),
        ("<p></p><p>\u{a0}</p>", ""),
    ];
    for (rich, plain) in cases {
        assert_eq!(rich::to_plain(rich), plain, "{rich}");
    }
}

#[test]
fn web_addresses_are_encoded_or_refused() {
    let cases = [
        ("https://open.example/a b?q=ä|x#f#g", Some("https://open.example/a%20b?q=%C3%A4%7Cx#f%23g")),
        (" HTTP://open.example ", Some("http://open.example")),
        ("https://user:pw@open.example:8443/%41%zz", Some("https://user:pw@open.example:8443/%41%25zz")),
        ("http://[::1]:80/[x]", Some("http://[::1]:80/%5Bx%5D")),
        ("http://bücher.example/", Some("http://b%C3%BCcher.example/")),
        ("https://open.example\\a:b\\c", Some("https://open.example/a:b%5Cc")),
        ("http://[nonsense]/", None),
        ("http://open.example:99999/", None),
        ("https:///nothing", None),
        ("javascript:alert(1)", None),
        ("//open.example/", None),
        ("ftp://open.example/", None),
        ("http://open.example/a\nb", None),
        ("www.open.example", None),
    ];
    for (text, expected) in cases {
        assert_eq!(address::web(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn slugs_are_words_of_small_letters() {
    assert_eq!(names::session_slug("days", 3, "Größe & Maß: l'été"), "days-3-grosse-mass-lete");
    assert_eq!(names::session_slug("days", 3, "数据"), "days-3-session");
    assert_eq!(names::session_slug("days", 3, "Go"), "days-3-go-session");
    let long = names::session_slug("days", 3, &"word ".repeat(60));
    assert_eq!(long, format!("days-3-{}", ["word"; 12].join("-")));
    assert_eq!(names::track_slug("3D", 9), "track-3d");
    assert_eq!(names::track_slug("مسار", 9), "track-9");
    assert_eq!(names::room_slug("A", 4), "room-4");
}

#[test]
fn a_zone_is_explained_over_the_whole_span_and_no_further() {
    let zone = chrono_tz::Europe::Berlin;
    let found = zone::observances(zone, (at("2024-05-01T00:00:00Z"), at("2024-12-01T00:00:00Z")));
    let found: Vec<_> =
        found.iter().map(|one| (one.onset.to_string(), one.from, one.to, &*one.name, one.kind)).collect();
    assert_eq!(
        found,
        [
            ("2024-03-31 02:00:00".to_owned(), 3600, 7200, "CEST", Kind::Daylight),
            ("2024-10-27 03:00:00".to_owned(), 7200, 3600, "CET", Kind::Standard),
        ]
    );
    let india = zone::observances(chrono_tz::Asia::Kolkata, (at("2024-05-01T00:00:00Z"), at("2024-12-01T00:00:00Z")));
    assert_eq!((india.len(), india[0].onset.to_string(), india[0].to), (1, "1970-01-01 00:00:00".to_owned(), 19_800));
}

#[test]
fn a_day_is_an_hour_longer_or_shorter_when_the_clock_changes() {
    let source = event("Europe/Berlin");
    // Clocks go forward on the 31st of March at two, which belongs to the 30th.
    let date = |month, day| NaiveDate::from_ymd_opt(2024, month, day).unwrap();
    let hours = |date| {
        let day = days::day(&source.programme, date);
        (day.end - day.start).num_hours()
    };
    assert_eq!((hours(date(3, 29)), hours(date(3, 30)), hours(date(3, 31))), (24, 23, 24));
    assert_eq!((hours(date(10, 25)), hours(date(10, 26)), hours(date(10, 27))), (24, 25, 24));
}

#[test]
fn no_session_is_lost_or_doubled_between_the_days() {
    // Samoa skipped the 30th of December 2011; Casey's clock went back three hours at four in the morning.
    let cases = [
        ("Pacific/Apia", "2011-12-28T00:00:00Z"),
        ("Antarctica/Casey", "2012-02-20T00:00:00Z"),
        ("Europe/Istanbul", "2014-10-24T00:00:00Z"),
        ("America/Sao_Paulo", "2018-11-02T00:00:00Z"),
        ("Australia/Lord_Howe", "2024-04-05T00:00:00Z"),
    ];
    for (zone, begin) in cases {
        let mut source = event(zone);
        source.sessions = (0..400)
            .map(|step| session(step + 1, &(at(begin) + chrono::TimeDelta::minutes(15 * step)).to_rfc3339()))
            .collect();
        let (rendered, file) = json_of(&source);
        assert_eq!(rendered.sessions, 400, "{zone}");
        for session in &source.sessions {
            assert_eq!(file.matches(&session.uuid.to_string()).count(), 1, "{zone}");
        }
    }
}
