//! What other programs read.

use super::*;

/// Sessions with what a table can hold, on the night on which clocks go back.
fn full_event(privacy: Privacy) -> Fake {
    let named = |name: &str| SpeakerName { uuid: Uuid::nil(), id: 1, name: name.to_owned(), organisation: None };
    let speakers = vec![named("Åsa, Ö."), named(" "), named("דנה")];
    let full = Session {
        title: "=cmd|'/c calc'!A0".to_owned(),
        subtitle: Some("\"quoted\", with\r\ntwo lines".to_owned()),
        starts_at: Some(at("2026-10-25T00:30:00Z")),
        ends_at: Some(at("2026-10-25T01:30:00Z")),
        room: Some(0),
        track: Some(0),
        kind: Some(0),
        language: Some("de".to_owned()),
        level: Some("-1".to_owned()),
        state: Some("accepted".to_owned()),
        comments: Some("bring\u{0}\u{7} a beamer".to_owned()),
        video_url: Some("https://example.org/video".to_owned()),
        signup_url: Some("javascript:alert(1)".to_owned()),
        speakers,
        ..session(0)
    };
    let odd = Session {
        title: String::new(),
        starts_at: Some(at("2026-10-25T12:00:00Z")),
        ends_at: Some(at("2026-10-25T11:00:00Z")),
        room: Some(99),
        ..session(1)
    };
    let speaker = |number| Speaker {
        email: Some("asa@example.org".to_owned()),
        mobile: Some("+46 70 123".to_owned()),
        address: Some("Gatan 1\nMalmö".to_owned()),
        is_featured: true,
        links: vec![
            Link { name: "github".to_owned(), url: "https://github.com/asa".to_owned() },
            Link { name: String::new(), url: "https://asa.example".to_owned() },
        ],
        ..speaker(number)
    };
    let sessions = [full, odd, session(2)];
    Fake::new(programme(privacy))
        .with_sessions(3, move |number| Ok(sessions[usize::try_from(number).unwrap()].clone()))
        .with_speakers(1, speaker)
}

/// The row under its column names.
fn by_name(rows: &Value, row: usize) -> Vec<(&str, &str)> {
    let cells = rows[row].as_array().unwrap().iter().map(|cell| cell.as_str().unwrap());
    rows[0].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).zip(cells).collect()
}

#[test]
fn python_reads_the_sessions_from_csv() {
    let (bytes, rendered) = csv_of_sessions(&full_event(Privacy::Private));
    let rows = read_by_python("csv", &bytes);
    assert_eq!(rows.as_array().unwrap().len(), 4);
    assert_eq!(
        by_name(&rows, 1),
        [
            ("id", "4379"),
            ("title", "'=cmd|'/c calc'!A0"),
            ("subtitle", "\"quoted\", with\ntwo lines"),
            ("state", "accepted"),
            ("starts_at", "2026-10-25T02:30:00+02:00"),
            ("ends_at", "2026-10-25T02:30:00+01:00"),
            ("minutes", "60"),
            ("room", "Saal, groß"),
            ("track", "Hard\"ware"),
            ("type", "Vortrag"),
            ("speakers", "Åsa, Ö.; דנה"),
            ("language", "de"),
            ("level", "'-1"),
            ("slides_url", ""),
            ("audio_url", ""),
            ("video_url", "https://example.org/video"),
            ("signup_url", "javascript:alert(1)"),
            ("comments", "bring a beamer"),
            ("updated_at", "2026-08-02T00:30:00+02:00"),
            ("uuid", "00000000-0000-0000-0000-0000000003e8"),
        ]
    );
    let odd = by_name(&rows, 2);
    assert_eq!(
        odd[4..8],
        [
            ("starts_at", "2026-10-25T13:00:00+01:00"),
            ("ends_at", "2026-10-25T12:00:00+01:00"),
            ("minutes", ""),
            ("room", "")
        ]
    );
    assert_eq!(by_name(&rows, 3)[4..7], [("starts_at", ""), ("ends_at", ""), ("minutes", "")]);

    assert_eq!((rendered.sessions, rendered.speakers), (3, 0));
    assert_eq!(rendered.notes.count(NoteCode::FormulaNeutralised), 2);
    assert_eq!(rendered.notes.count(NoteCode::CharactersRemoved), 1);
    let (_, removed) = rendered.notes.iter().find(|(code, _)| *code == NoteCode::CharactersRemoved).unwrap();
    assert_eq!(removed.examples[0].source_id.as_deref(), Some("4379"));
    assert_eq!(removed.examples[0].detail, "comments: U+0000");
}

#[test]
fn python_reads_the_speakers_from_csv() {
    let (bytes, rendered) = csv_of_speakers(&full_event(Privacy::Private));
    let rows = read_by_python("csv", &bytes);
    assert_eq!(
        by_name(&rows, 1),
        [
            ("id", "0"),
            ("name", "Speaker 0"),
            ("organisation", ""),
            ("position", ""),
            ("city", ""),
            ("country", ""),
            ("featured", "yes"),
            ("email", "asa@example.org"),
            ("mobile", "'+46 70 123"),
            ("address", "Gatan 1\nMalmö"),
            ("photo_url", ""),
            ("links", "github: https://github.com/asa; https://asa.example"),
            ("updated_at", "2026-08-02T00:30:00+02:00"),
            ("uuid", "00000000-0000-0000-0000-0000000007d0"),
        ]
    );
    assert_eq!((rendered.sessions, rendered.speakers), (0, 1));
}

#[test]
fn csv_is_utf_8_with_a_mark_and_ends_its_lines_as_rfc_4180_has_it() {
    let (bytes, _) = csv_of_sessions(&full_event(Privacy::Public));
    assert!(bytes.starts_with(b"\xef\xbb\xbfid,title,subtitle,"));
    let text = String::from_utf8(bytes).unwrap();
    // Three rows and the names; the one line feed without a carriage return stands inside of a cell.
    assert_eq!((text.matches("\r\n").count(), text.matches('\n').count(), text.matches('\r').count()), (4, 5, 4));
    assert!(text.ends_with("\r\n"));
}

#[test]
fn public_files_have_no_columns_for_personal_data_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let source = full_event(Privacy::Public);
    let (sessions, of_sessions) = csv_of_sessions(&source);
    let (speakers, of_speakers) = csv_of_speakers(&source);
    let (book, of_book) = workbook(&source, folder.path());
    let book = read_by_python("xlsx", &book).to_string();
    for text in [String::from_utf8(sessions).unwrap(), String::from_utf8(speakers).unwrap(), book] {
        for private in
            ["beamer", "comments", "Comments", "asa@", "email", "E-mail", "+46", "mobile", "Mobile", "Malmö", "ddress"]
        {
            assert!(!text.contains(private), "{private}");
        }
    }
    let details = |rendered: &Rendered| -> Vec<String> {
        let left_out = rendered.notes.iter().filter(|(code, _)| *code == NoteCode::PrivateLeftOut);
        left_out.flat_map(|(_, noted)| noted.examples.iter().map(|example| example.detail.clone())).collect()
    };
    assert_eq!(details(&of_sessions), ["no column for comments"]);
    assert_eq!(details(&of_speakers), ["no column for email, mobile, address"]);
    assert_eq!(details(&of_book), ["no column for comments", "no column for email, mobile, address"]);
    let (_, private) = csv_of_speakers(&full_event(Privacy::Private));
    assert_eq!(details(&private), [""; 0]);
}

#[test]
fn openpyxl_reads_the_workbook_with_dates_numbers_and_texts_that_are_no_formulas() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, rendered) = workbook(&full_event(Privacy::Private), folder.path());
    let book = read_by_python("xlsx", &bytes);
    assert_eq!((rendered.sessions, rendered.speakers), (3, 1));
    assert_eq!(book["title"], "Gulaschprogrammiernacht");
    assert_eq!(book["created"], "2026-09-01T10:11:12");
    let names: Vec<&str> =
        book["sheets"].as_array().unwrap().iter().map(|sheet| sheet["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Sessions", "Speakers", "Rooms", "Tracks", "Sponsors", "About"]);

    let sessions = &book["sheets"][0];
    assert_eq!(sessions["frozen"], "A2");
    assert_eq!(sessions["filter"], "A1:T4");
    assert_eq!(sessions["links"], 0);
    assert!(sessions["widths"]["B"].as_f64().unwrap() > 40.0);
    let heading = |column: usize| sessions["rows"][0][column]["value"].as_str().unwrap();
    assert_eq!((heading(1), heading(4), heading(5)), ("Title", "Starts (Europe/Berlin)", "Ends (Europe/Berlin)"));
    let cell = |row: usize, column: usize| {
        let cell = &sessions["rows"][row][column];
        (cell["is"].as_str().unwrap_or_default().to_owned(), cell["value"].clone())
    };
    let text = |text: &str| ("s".to_owned(), Value::from(text));
    assert_eq!(cell(1, 0), text("4379"));
    assert_eq!(cell(1, 1), text("=cmd|'/c calc'!A0"));
    assert_eq!(sessions["rows"][1][1]["quoted"], true, "it stays a text when the cell is edited");
    assert_eq!(cell(1, 2), text("\"quoted\", with\ntwo lines"));
    assert_eq!(sessions["rows"][1][2]["quoted"], false);
    assert_eq!(cell(1, 4), ("date".to_owned(), Value::from("2026-10-25T02:30:00")));
    assert_eq!(cell(1, 6), ("n".to_owned(), Value::from(60)));
    assert_eq!(cell(1, 12), text("-1"));
    assert_eq!(cell(1, 15), text("https://example.org/video"));
    assert_eq!(cell(1, 16), text("javascript:alert(1)"));
    assert_eq!(cell(1, 17), text("bring a beamer"));
    assert_eq!(cell(2, 1), (String::new(), Value::Null));
    assert_eq!(cell(2, 4), ("date".to_owned(), Value::from("2026-10-25T13:00:00")));
    assert_eq!(rendered.notes.count(NoteCode::CharactersRemoved), 1);
    assert_eq!(rendered.notes.count(NoteCode::FormulaNeutralised), 0);

    let values = |sheet: usize| -> Vec<Vec<Value>> {
        let rows = book["sheets"][sheet]["rows"].as_array().unwrap().iter();
        rows.map(|row| row.as_array().unwrap().iter().map(|cell| cell["value"].clone()).collect()).collect()
    };
    let uuid = |number: u32| format!("00000000-0000-0000-0000-{number:012}");
    assert_eq!(values(1)[1][7..9], [Value::from("asa@example.org"), Value::from("+46 70 123")]);
    assert_eq!(values(2)[1], [Value::from("Saal, groß"), Value::from(1), Value::from(uuid(2))]);
    assert_eq!(values(2)[2], [Value::from("=Keller"), Value::from(0), Value::from(uuid(3))]);
    assert_eq!(values(3)[1], [Value::from("Hard\"ware"), Value::from("#ff8800"), Value::from(1), Value::from(uuid(4))]);
    assert_eq!(values(4)[1], [Value::from("ACME"), Value::from("Gold"), Value::Null]);
    let about = values(5);
    assert!(about.contains(&vec![Value::from("Time zone"), Value::from("Europe/Berlin")]));
    assert!(about.contains(&vec![Value::from("Begins"), Value::from("2026-10-24T10:00:00")]));
    assert!(about.contains(&vec![Value::from("Sessions"), Value::from(3)]));
    assert!(about.contains(&vec![Value::from("Blog"), Value::from("https://example.org/blog")]));
}

#[test]
fn an_event_with_nothing_in_it_gives_tables_with_headings_only() {
    let folder = tempfile::tempdir().unwrap();
    let source = Fake::new(Programme {
        event: Event::default(),
        zone: Tz::UTC,
        rooms: vec![],
        tracks: vec![],
        kinds: vec![],
        links: vec![],
        sponsors: vec![],
        changed_at: DateTime::<Utc>::MIN_UTC,
        privacy: Privacy::Private,
    });
    assert_eq!(read_by_python("csv", &csv_of_sessions(&source).0).as_array().unwrap().len(), 1);
    let book = read_by_python("xlsx", &workbook(&source, folder.path()).0);
    assert_eq!(book["sheets"][0]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(book["sheets"][0]["filter"], "A1:T1");
}

#[test]
fn times_outside_of_every_calendar_are_texts() {
    let times =
        [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, at("1850-06-01T12:00:00Z"), at("1900-01-15T12:00:00Z")];
    let source = Fake::new(programme(Privacy::Public)).with_sessions(4, move |number| {
        Ok(Session { starts_at: Some(times[usize::try_from(number).unwrap()]), ..session(number) })
    });
    let rows = read_by_python("csv", &csv_of_sessions(&source).0);
    let folder = tempfile::tempdir().unwrap();
    let book = read_by_python("xlsx", &workbook(&source, folder.path()).0);
    // Berlin's clock was 53 minutes and 28 seconds ahead in 1850: no offset that ISO 8601 can say.
    for (row, starts) in [(3, "1850-06-01T12:00:00+00:00"), (4, "1900-01-15T13:00:00+01:00")] {
        assert_eq!(rows[row][4], starts);
        let cell = &book["sheets"][0]["rows"][row][4];
        assert_eq!((&cell["is"], &cell["value"]), (&Value::from("s"), &Value::from(starts)));
    }
}

#[test]
fn what_is_damaged_is_not_taken_for_valid() {
    let (good, _) = csv_of_sessions(&full_event(Privacy::Public));
    let invalid = |bytes: &[u8]| match csv::check(&mut &bytes[..]) {
        Err(crate::export::program::RenderError::Invalid(why)) => why,
        other => format!("{other:?}"),
    };
    assert!(invalid(b"").contains("empty"));
    assert!(invalid(&good[3..]).contains("byte order mark"));
    assert!(invalid(b"\xef\xbb\xbfid,title\r\n1\r\n").contains("fields"));
    assert!(invalid(b"\xef\xbb\xbfid,title\r\n1,\xff\r\n").contains("UTF-8"));
    assert!(invalid(b"\xef\xbb\xbfid,title\r\n1,=1+1\r\n").contains("formula"));
    assert!(
        invalid(b"\xef\xbb\xbf\r\n").contains("names of the columns")
            || invalid(b"\xef\xbb\xbf\r\n").contains("name the columns")
    );

    let folder = tempfile::tempdir().unwrap();
    let (good, _) = workbook(&full_event(Privacy::Public), folder.path());
    let path = folder.path().join("event.xlsx");
    for bytes in [&good[..good.len() / 2], b"", b"not a zip"] {
        #[expect(clippy::disallowed_methods, reason = "a fixture")]
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(xlsx::check(&path), Err(crate::export::program::RenderError::Invalid(_))));
    }
    let mut other = rust_xlsxwriter::Workbook::new();
    for name in ["Sessions", "Speakers", "Rooms", "Tracks", "Sponsors", "About"] {
        let sheet = other.add_worksheet().set_name(name).unwrap();
        sheet.write_string(0, 0, "Title").unwrap().write_formula(1, 0, "=1+1").unwrap();
    }
    other.save(&path).unwrap();
    let why = xlsx::check(&path).unwrap_err().to_string();
    assert!(why.contains("Sessions: the cell in row 2 and column 1 is a formula"), "{why}");
}
