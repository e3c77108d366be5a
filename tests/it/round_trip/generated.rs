//! Made-up events with every odd value that an archive may hold.

use eventferry::model::Dataset;
use eventferry::model::catalogue::{Field, FieldKind, fold};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fixtures::zips::{ZipEntry, zip};

/// An archive: names and contents.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) files: Vec<(String, String)>,
}

impl Made {
    pub(crate) fn zip(&self) -> Vec<u8> {
        zip(&self.files.iter().map(|(name, content)| ZipEntry::new(name, content.as_bytes())).collect::<Vec<_>>())
    }
}

/// Media of every archive; two have the same bytes.
const MEDIA: [(&str, &str); 5] = [
    ("images/a.png", "one"),
    ("images/b c.JPG", "two"),
    ("slides/A.pdf", "three"),
    ("videos/v.mp4", "one"),
    ("images/speakers/A_1.png", "four"),
];

/// An event whose name and id are good, so that it is always found again.
pub(crate) fn archives() -> impl Strategy<Value = Made> {
    let lists = Dataset::ALL.into_iter().skip(2).filter(|dataset| *dataset != Dataset::CustomForms);
    let lists: Vec<_> =
        lists.map(|dataset| (Just(dataset), option::weighted(0.9, vec(record(dataset), 0..5)))).collect();
    (event(), links(), forms(), lists, text()).prop_map(|(event, links, forms, lists, root_url)| {
        let mut files = vec![("meta".to_owned(), format!("{{\"root_url\": {}}}", json_text(&root_url)))];
        let (event, links_file) = match links {
            Links::None => (event, None),
            Links::Nested(links) => (with_links(&event, &links), None),
            Links::File(links) => (event, Some(links)),
        };
        files.push(("event".to_owned(), event));
        files.extend(links_file.map(|links| ("social_links".to_owned(), links)));
        files.extend(forms.map(|forms| ("forms".to_owned(), forms)));
        for (dataset, records) in lists {
            let name = dataset.definition().files[0].to_owned();
            files.extend(records.map(|records| (name, format!("[{}]", records.join(",")))));
        }
        files.extend(MEDIA.map(|(name, content)| (name.to_owned(), content.to_owned())));
        Made { files }
    })
}

fn event() -> impl Strategy<Value = String> {
    let id = select(vec!["7", "\"007\"", "12345678901234567890", "\"\\u00e9/\\\"\"", "-0"]);
    (fields(Dataset::Event, "name"), unknown(), id).prop_map(|(fields, unknown, id)| {
        let mut pairs = vec![("name".to_owned(), "\"Generated\"".to_owned())];
        pairs.extend(fields);
        // What an event says must be good: without it nothing goes in.
        let is_field = |key: &str| Dataset::Event.field_of_key(&fold(key)).is_some();
        pairs.extend(unknown.into_iter().filter(|(key, _)| !is_field(key)));
        pairs.push(("id".to_owned(), id.to_owned()));
        object(&pairs)
    })
}

#[derive(Clone, Debug)]
enum Links {
    None,
    Nested(String),
    File(String),
}

fn links() -> impl Strategy<Value = Links> {
    let list = || vec(record(Dataset::SocialLinks), 0..4).prop_map(|links| format!("[{}]", links.join(",")));
    prop_oneof![Just(Links::None), list().prop_map(Links::Nested), list().prop_map(Links::File)]
}

fn with_links(event: &str, links: &str) -> String {
    format!("{},\"social-links\":{links}}}", event.strip_suffix('}').unwrap())
}

fn forms() -> impl Strategy<Value = Option<String>> {
    let whole =
        (vec((key(), select(vec!["{}", "{\"include\":1,\"require\":0}", "{\"include\":0,\"x\":[1]}"])), 0..3), id())
            .prop_map(|(fields, id)| {
                let fields: Vec<(String, String)> =
                    fields.into_iter().map(|(key, settings)| (key, settings.to_owned())).collect();
                format!("[{{\"id\":{id},\"session-form\":{},\"n\":[1]}}]", json_text(&object(&fields)))
            });
    let single = vec(record(Dataset::CustomForms), 0..4).prop_map(|fields| format!("[{}]", fields.join(",")));
    prop_oneof![Just(None), whole.prop_map(Some), single.prop_map(Some)]
}

fn record(dataset: Dataset) -> BoxedStrategy<String> {
    let required = dataset.fields().iter().find(|field| field.required).map_or("", |field| field.name);
    let name =
        prop_oneof![3 => select(vec!["\"A\"", "\"B\"", "\" \\u0000C\""]).prop_map(str::to_owned), 1 => raw_text()];
    (fields(dataset, required), unknown(), id(), name)
        .prop_flat_map(move |(mut pairs, unknown, id, name)| {
            pairs.extend(unknown);
            pairs.push(("id".to_owned(), id));
            if !required.is_empty() {
                pairs.push((required.to_owned(), name));
            }
            Just(pairs).prop_shuffle()
        })
        .prop_map(|pairs| object(&pairs))
        .boxed()
}

/// Some of the fields of a dataset, each under one of its names.
fn fields(dataset: Dataset, without: &'static str) -> impl Strategy<Value = Vec<(String, String)>> {
    let one = |field: &'static Field| option::of((spelling(field), value(field.kind)));
    let fields: Vec<_> = dataset.fields().iter().filter(|field| field.name != without).map(one).collect();
    fields.prop_map(|fields| fields.into_iter().flatten().collect())
}

fn spelling(field: &'static Field) -> impl Strategy<Value = String> {
    let mut names = vec![field.name.to_owned(); 6];
    names.extend([field.name.replace('_', "-"), field.name.to_uppercase(), format!(" {}", field.name)]);
    names.extend(field.aliases.iter().map(|alias| (*alias).to_owned()));
    select(names)
}

/// Keys that the catalogue does not know, or that another key of the record has taken.
fn unknown() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((key(), json()), 0..4)
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec![
            "a", "zz", "Name", "TITLE", " title", "title ", "Id", " id", "ID", "slides", "slides-url", "start-time", "", "\u{1}",
            "\u{e9}\u{1f600}", "microlocation", "sessions", "speakers", "Speaker-Ids", "track", "lemon", "state_of", "x.y",
            "Email", "comments", "type", "url", "length ", "position", "Starts_At",
        ])
        .prop_map(str::to_owned),
        1 => text(),
    ]
}

fn id() -> impl Strategy<Value = String> {
    let odd = vec![
        "\"007\"",
        "\"7\"",
        "1e3",
        "-0",
        "\"-0\"",
        "12345678901234567890",
        "\"1~2\"",
        "\"\\u00fc/\\u00f6\"",
        "\" 3 \"",
        "\"a\\\"b\\u0001\"",
        "null",
        "1.0",
        "\"x@y.example\"",
    ];
    prop_oneof![4 => (1..6_u32).prop_map(|id| id.to_string()), 1 => select(odd).prop_map(str::to_owned)]
}

fn value(kind: FieldKind) -> BoxedStrategy<String> {
    let words = |words: &[&'static str]| select(words.to_vec()).prop_map(str::to_owned);
    match kind {
        FieldKind::Text => {
            prop_oneof![4 => raw_text(), 1 => words(&["null", "12", "1.50", "true", "-0", "1e3"])].boxed()
        }
        FieldKind::Instant => instant().boxed(),
        FieldKind::Integer => {
            words(&["0", "-7", "3.0", "\" 12 \"", "9223372036854775807", "-9223372036854775808", "null", "\"\""])
                .boxed()
        }
        FieldKind::Decimal => prop_oneof![
            3 => any::<f64>().prop_filter("a number of JSON", |number| number.is_finite()).prop_map(|number| {
                serde_json::Number::from_f64(number).unwrap().to_string()
            }),
            1 => words(&["52.51", "\" -13.4 \"", "1e-320", "0.1", "1e22", "-0.0", "123456789012345678", "null"]),
        ]
        .boxed(),
        FieldKind::Boolean => words(&["true", "false", "1", "0", "\"yes\"", "\"\"", "null"]).boxed(),
        FieldKind::Json => json().boxed(),
        FieldKind::Zone => words(&[
            "\"Europe/Berlin\"",
            "\"US / Pacific\"",
            "\"Australia/Lord_Howe\"",
            "\"Nowhere/Land\"",
            "\"\"",
            "null",
        ])
        .boxed(),
        FieldKind::Length => words(&[
            "\"00:30\"",
            "\"01.30\"",
            "1.30",
            "3.3",
            "0.45",
            "30",
            "12.30",
            "\"00.2 Hour\"",
            "\"20 minutes\"",
            "\"\"",
            "true",
            "null",
        ])
        .boxed(),
        FieldKind::Media => words(&[
            "\"/images/a.png\"",
            "\"images/a.png\"",
            "\"images/b%20c.JPG\"",
            "\"/images/missing.png\"",
            "\"slides/A.pdf\"",
            "\"slides/%41.pdf\"",
            "\"videos/v.mp4\"",
            "\"images/speakers/A_1.png\"",
            "\"/images/speakers/A_2.png\"",
            "\"https://x.example/y.png\"",
            "\"//x.example/y\"",
            "\"\"",
            "null",
        ])
        .boxed(),
        FieldKind::Reference(_) => reference().boxed(),
        FieldKind::References(_) => {
            let list = vec(reference(), 0..4).prop_map(|list| format!("[{}]", list.join(", ")));
            prop_oneof![8 => list, 1 => Just("null".to_owned())].boxed()
        }
    }
}

fn reference() -> impl Strategy<Value = String> {
    let nested = (id(), select(vec!["\"A\"", "\"B\"", "\"D\"", "null", "\"\""]))
        .prop_map(|(id, name)| format!("{{\"id\": {id}, \"name\": {name}, \"length\": \"00:10\", \"x\": 1}}"));
    prop_oneof![4 => id(), 2 => nested, 1 => Just("{}".to_owned()), 1 => Just("null".to_owned())]
}

fn instant() -> impl Strategy<Value = String> {
    let dates =
        select(vec!["2018-03-22", "2018-10-28", "2018-03-25", "1969-12-31", "0001-01-02", "9999-12-30", "2024-02-29"]);
    let times = select(vec![
        "T00:00:00",
        " 02:30:00",
        "T02:30:59",
        "T23:59",
        "T01:02:03.5",
        "T01:02:03.123456",
        "T12:00:00.9994",
    ]);
    let offsets = select(vec!["", "Z", "+00:00", "-00:00", "+08:00", "-09:30", "+0545", "+14:00", "-23:59", " "]);
    let moments = (dates, times, offsets).prop_map(|(date, time, offset)| format!("\"{date}{time}{offset}\""));
    let others = select(vec!["null", "\"\"", "\" \"", "\"2018-03-22\"", "\"2016-12-31T23:59:60Z\"", "\"soon\""]);
    prop_oneof![8 => moments, 1 => others.prop_map(str::to_owned)]
}

fn text() -> impl Strategy<Value = String> {
    let odd = vec![
        "",
        " ",
        "\0",
        "a\0b",
        "\u{1}\u{1f}\u{7f}",
        "\"\\/\u{8}\u{c}\n\r\t",
        "\u{1f600}\u{2028}\u{feff}",
        "=cmd()",
        "]]>",
        "<script>'",
        "null",
        "e\u{301}",
        "\u{202e}rtl",
        "[1]",
        "{}",
        "\u{ffff}\u{10ffff}",
    ];
    prop_oneof![2 => select(odd).prop_map(str::to_owned), 1 => "\\PC{0,12}", 1 => any::<String>()]
}

/// A text as JSON, with characters as they are or as escapes.
fn raw_text() -> impl Strategy<Value = String> {
    (text(), any::<bool>()).prop_map(|(text, escaped)| if escaped { escaped_text(&text) } else { json_text(&text) })
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn escaped_text(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{units}\"")
}

fn json() -> impl Strategy<Value = String> {
    let numbers =
        vec!["0", "-0", "1e3", "1.50", "12345678901234567890", "-1.5E-7", "true", "false", "null", "\"\\ud800\""];
    let leaf = prop_oneof![2 => select(numbers).prop_map(str::to_owned), 1 => raw_text()];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|list| format!("[ {} ]", list.join(" ,\n"))),
            vec((raw_text(), inner), 0..3).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }),
        ]
    })
}

fn object(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{}: {value}", json_text(key))).collect();
    format!("{{{}}}", pairs.join(", "))
}
