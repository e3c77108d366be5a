//! The event's own forms: which fields they ask for, and which records leave them empty.

use eventferry::model::{Code, JobState};
use serde_json::json;

use super::import;
use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;
use crate::support::databases::on_both_databases;

on_both_databases! {
    async fn forms_in_texts_become_one_row_per_field(database: TestDatabase) {
        let ferry = Ferry::on(database);
        let imported = ferry.import(Archive::underscore().zip()).await;
        imported.assert_clean();
        assert_eq!(imported.dataset("custom_forms").created, 5);
        let flag = |column: &str| format!("CASE WHEN {column} THEN 'yes' ELSE 'no' END");
        let shown = format!("form, field_identifier, {}, {}", flag("is_required"), flag("is_included"));
        assert_eq!(
            ferry.rows(&shown, "custom_forms").await,
            [
                "session|slides|no|yes",
                "session|title|yes|yes",
                "session|track|yes|yes",
                "speaker|name|yes|yes",
                "speaker|photo|no|yes",
            ]
        );
    }
}

fn form(fields: &[(&str, &str, bool, bool)]) -> serde_json::Value {
    fields
        .iter()
        .enumerate()
        .map(|(index, (form, field, included, required))| {
            json!({
                "id": index + 1, "form": form, "field_identifier": field, "is_included": included,
                "is_required": required, "type": "text",
            })
        })
        .collect()
}

#[tokio::test]
async fn a_required_field_that_records_leave_empty_is_told_once_per_field() {
    let (ferry, imported) = import(
        Archive::flat()
            .file(
                "forms",
                form(&[
                    ("session", "short-abstract", true, true),
                    ("session", "slides", true, true),
                    ("session", "language", true, true),
                    ("speaker", "photo", true, true),
                    ("speaker", "email", true, true),
                    // Not asked for, not required, nobody's.
                    ("speaker", "mobile", false, true),
                    ("speaker", "website", true, false),
                    ("attendee", "phone", true, true),
                    ("speaker", "shoe-size", true, true),
                ]),
            )
            .set("speakers", "/2/email", "  "),
    )
    .await;
    assert_eq!(imported.state(), JobState::Succeeded);
    let mut told: Vec<String> = imported
        .all(Code::FormFieldMissing)
        .iter()
        .map(|problem| {
            let count: String = problem.message.chars().filter(char::is_ascii_digit).collect();
            format!("{} {} {count}", problem.file.clone().unwrap(), problem.field.clone().unwrap())
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["sessions short_abstract 4", "sessions slides_url 3", "speakers email 1", "speakers photo_url 2"]
    );
    assert_eq!(imported.codes(), [("FORM_FIELD_MISSING", 4)].into());
    assert_eq!(ferry.count("custom_forms").await, 9);
    assert_eq!(ferry.count("speakers").await, 3, "they are in all the same");
}

#[tokio::test]
async fn a_form_that_is_no_json_is_an_error_and_the_rest_goes_in() {
    let archive = Archive::underscore().set("forms", "/0/session_form", "{\"title\": ");
    let (ferry, imported) = import(archive).await;
    assert_eq!(imported.state(), JobState::Partial);
    let problem = imported.only(Code::FieldType);
    assert_eq!(
        (problem.file.as_deref(), problem.position, problem.field.as_deref()),
        (Some("forms"), Some(1), Some("session_form"))
    );
    assert_eq!(ferry.count("sessions").await, 4);
    assert_eq!(imported.dataset("custom_forms").rejected, imported.dataset("custom_forms").read);
}

#[tokio::test]
async fn what_else_stands_in_a_form_is_kept() {
    let archive = Archive::underscore().set(
        "forms",
        "/0/session_form",
        r#"{"title": {"include": 1, "require": 1, "hint": "short"}}"#,
    );
    let (ferry, imported) = import(archive).await;
    imported.assert_clean();
    let extra: String = ferry.value("SELECT CAST(extra AS TEXT) FROM custom_forms WHERE form = 'session'").await;
    assert!(extra.contains(r#""hint":"short""#), "{extra}");
}
