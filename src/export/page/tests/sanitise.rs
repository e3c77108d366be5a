//! What becomes of texts and colours.

use crate::export::page::colours::rules;
use crate::export::page::sanitise::{Sanitiser, link};

#[test]
fn rich_text_keeps_its_form_and_loses_what_runs_or_loads() {
    let sanitiser = Sanitiser::new();
    for (given, html, removed) in [
        ("<p>One <b>two</b></p>", Some("<p>One <b>two</b></p>"), None),
        ("one\r\ntwo & three", Some("one<br>two &amp; three"), None),
        ("<h1>Head</h1>text", Some("<h4>Head</h4>text"), None),
        ("<span style=\"color:red\">red</span>", Some("red"), None),
        ("<p onclick=\"x()\">a</p>", Some("<p>a</p>"), Some("`onclick=x()`")),
        ("a<script>x()</script>", Some("a"), Some("`script`")),
        ("<img src=x>", None, Some("`img`")),
        (
            "<a href=\"https://example.org/?a=1&b\">a</a>",
            Some("<a href=\"https://example.org/?a=1&amp;b\">a</a>"),
            None,
        ),
        ("<a href=\"javascript:x()\">a</a>", Some("<a>a</a>"), Some("`href=javascript:x()`")),
        ("<p> &nbsp;<br></p>", None, None),
    ] {
        let (found, taken) = sanitiser.clean(given);
        assert_eq!((found.as_deref(), taken.as_deref()), (html, removed), "{given}");
    }
}

#[test]
fn only_web_addresses_become_links() {
    for (given, expected) in [
        (" https://example.org/a b ", Some("https://example.org/a%20b")),
        ("www.example.org", Some("https://www.example.org/")),
        ("example.org/talk", Some("https://example.org/talk")),
        ("https://example.org/\"'<>", Some("https://example.org/%22'%3C%3E")),
        ("javascript:alert(1)", None),
        ("JAVASCRIPT://example.org/%0aalert(1)", None),
        ("data:text/html,x", None),
        ("mailto:a@example.org", None),
        ("/slides/1.pdf", None),
        ("//example.org/x", None),
        ("", None),
    ] {
        assert_eq!(link(given).as_deref(), expected, "{given}");
    }
}

#[test]
fn colours_of_tracks_can_be_read_by_day_and_by_night() {
    let colours = ["#ffff00", "#000000", "#ffffff", "#0a0a40", "#777777", "#abc", "red", "#12345g"];
    let css = rules(colours.iter().enumerate().map(|(id, colour)| (i64::try_from(id).unwrap(), Some(*colour))));
    let (light, dark) = css.split_once("@media").unwrap();
    for (rules, surface) in [(light, "ffffff"), (dark, "1b1f25")] {
        let found: Vec<&str> = rules.split("--track:#").skip(1).map(|rule| &rule[..6]).collect();
        assert_eq!(found.len(), colours.len());
        for colour in found {
            let (one, two) = (luminance(colour) + 0.05, luminance(surface) + 0.05);
            assert!(one.max(two) / one.min(two) >= 4.5, "#{colour} on #{surface}");
        }
    }
}

/// Relative luminance as WCAG 2.2 defines it.
fn luminance(hex: &str) -> f64 {
    let part = |at: usize| {
        let c = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { f64::powf((c + 0.055) / 1.055, 2.4) }
    };
    part(0) * 0.2126 + part(2) * 0.7152 + part(4) * 0.0722
}
