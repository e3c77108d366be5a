//! Texts of every kind.

use calamine::Reader;
use proptest::prelude::*;

use super::*;

fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,20}",
        3 => "[=+@\\-\t\r\n ＝＋－＠\u{feff}\u{a0}']{1,3}[a-z(),;\"0-9]{0,6}",
        3 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}a\r\n]{0,12}",
        2 => "[\",;\r\n\t|']{0,8}",
        1 => proptest::sample::select(vec![
            "_x0041_".to_owned(), "_x000D_x000A_".to_owned(), "]]>".to_owned(), "<b>&amp;</b>".to_owned(), "=cmd()".to_owned(),
            "+49 721".to_owned(), "http://example.org/".to_owned(), "file:///etc/passwd".to_owned(), "{=1+1}".to_owned(),
            "שלום \u{202e}עולם".to_owned(), "👩‍👩‍👧 e\u{301}".to_owned(), "TRUE".to_owned(), "1e9".to_owned(), "007".to_owned(),
            "#REF!".to_owned(), "\u{10ffff}".to_owned(), " ".to_owned(), "x".repeat(300),
        ]),
        2 => any::<String>(),
    ]
}

prop_compose! {
    fn odd_session()(texts in proptest::collection::vec(odd_text(), 8)) -> Session {
        let [source_id, title, subtitle, state, language, comments, slides, name] = texts.try_into().unwrap();
        Session {
            source_id,
            title,
            subtitle: Some(subtitle),
            state: Some(state),
            language: Some(language),
            comments: Some(comments),
            slides_url: Some(slides),
            speakers: vec![SpeakerName { uuid: Uuid::nil(), id: 0, name, organisation: None }],
            ..session(0)
        }
    }
}

/// A text as both formats carry it, said in another way than the code does.
fn carried(text: &str) -> String {
    let mut carried = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => carried.push('\n'),
            '\t' | '\n' => carried.push(character),
            '\0'..' ' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {}
            character => carried.push(character),
        }
    }
    carried
}

/// The columns that the odd texts stand in, with those texts.
fn texts_of(session: &Session) -> [(usize, String); 7] {
    let name = &session.speakers[0].name;
    let given = |text: &Option<String>| carried(text.as_deref().unwrap());
    [
        (0, carried(&session.source_id)),
        (1, carried(&session.title)),
        (2, given(&session.subtitle)),
        (3, given(&session.state)),
        (11, given(&session.language)),
        (13, given(&session.slides_url)),
        (10, if name.trim().is_empty() { String::new() } else { carried(name) }),
    ]
}

fn source_of(sessions: &[Session]) -> Fake {
    let sessions = sessions.to_vec();
    Fake::new(programme(Privacy::Private)).with_sessions(i64::try_from(sessions.len()).unwrap(), move |number| {
        Ok(sessions[usize::try_from(number).unwrap()].clone())
    })
}

proptest! {
    // Each case is a file with many texts, since each starts a Python.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn python_reads_every_text_from_csv_as_it_was_and_none_as_a_formula(
        sessions in proptest::collection::vec(odd_session(), 100..200),
    ) {
        let rows = read_by_python("csv", &csv_of_sessions(&source_of(&sessions)).0);
        prop_assert_eq!(rows.as_array().unwrap().len(), sessions.len() + 1);
        for (row, session) in sessions.iter().enumerate() {
            for (column, text) in texts_of(session) {
                let found = rows[row + 1][column].as_str().unwrap();
                prop_assert!(!found.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{:?}", found);
                let harmless = found == text;
                prop_assert!(harmless || found == format!("'{text}"), "{:?} became {:?}", text, found);
            }
        }
    }

    #[test]
    fn openpyxl_reads_every_text_from_the_workbook_as_it_was_and_none_as_a_formula(
        sessions in proptest::collection::vec(odd_session(), 100..200),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let book = read_by_python("xlsx", &workbook(&source_of(&sessions), folder.path()).0);
        let rows = &book["sheets"][0]["rows"];
        for (row, session) in sessions.iter().enumerate() {
            for (column, text) in texts_of(session) {
                let cell = &rows[row + 1][column];
                if text.is_empty() {
                    prop_assert!(cell.is_null());
                    continue;
                }
                prop_assert_eq!(&cell["is"], "s", "{:?}", text);
                prop_assert_eq!(cell["value"].as_str().unwrap(), text.as_str());
            }
        }
    }
}

proptest! {
    #[test]
    fn csv_of_any_texts_is_valid(sessions in proptest::collection::vec(odd_session(), 0..8)) {
        let (_, rendered) = csv_of_sessions(&source_of(&sessions));
        prop_assert_eq!(rendered.sessions, u64::try_from(sessions.len()).unwrap());
    }
}

#[test]
fn a_text_is_cut_where_a_cell_is_full_and_never_inside_of_a_character() {
    let characters = ["a", "é", "漢", "😀"];
    let most = |character: &str| 32_767 / character.encode_utf16().count();
    let sessions = characters.iter().flat_map(|character| {
        let lengths = [most(character) - 1, most(character), most(character) + 1];
        lengths.map(|length| Session { title: character.repeat(length), ..session(0) })
    });
    let source = source_of(&sessions.collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let (_, rendered) = workbook(&source, folder.path());
    assert_eq!(rendered.notes.count(NoteCode::TextCut), 4);

    let mut book: calamine::Xlsx<_> = calamine::open_workbook(folder.path().join("event.xlsx")).unwrap();
    let titles = book.worksheet_range("Sessions").unwrap();
    let lengths: Vec<(String, usize)> = (1..=12)
        .map(|row| titles.get_value((row, 1)).unwrap().to_string())
        .map(|title| (title.chars().take(1).collect(), title.chars().count()))
        .collect();
    let expected: Vec<(String, usize)> = characters
        .iter()
        .flat_map(|character| [1, 0, 0].map(|less| ((*character).to_owned(), most(character) - less)))
        .collect();
    assert_eq!(lengths, expected);

    let (csv, of_csv) = csv_of_sessions(&source);
    assert_eq!(of_csv.notes.count(NoteCode::TextCut), 0);
    assert!(String::from_utf8(csv).unwrap().contains(&"😀".repeat(16_384)), "CSV carries all of it");
}
