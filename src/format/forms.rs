//! The forms of an event: older archives put all fields of a form into one text that is itself JSON.

use std::fmt::Write as _;

use super::record::RawRecord;
use super::value;
use crate::model::catalogue::fold;
use crate::model::{Code, Problem};

/// The keys that hold a whole form, and what its records are for.
const FORMS: &[(&str, &str)] = &[("session_form", "session"), ("speaker_form", "speaker")];

/// Whether an object of the file holds whole forms rather than one field.
pub fn is_whole(raw: &RawRecord<'_>) -> bool {
    FORMS.iter().any(|(key, _)| raw.get(key).is_some())
}

/// One object per field, as the current server writes them; ids are made of the form's id, the form and the field. Each holds what
/// stands beside the forms, so that a few KiB could become gigabytes: there are at most `most` of them.
///
/// # Errors
/// The problem of the form that cannot be read, or has too many fields.
pub fn fields(raw: &RawRecord<'_>, most: usize) -> Result<Vec<String>, Problem> {
    let id = raw.get("id").and_then(|raw| value::id(raw).ok().flatten()).unwrap_or_else(|| "form".to_owned());
    let mut fields = Vec::new();
    for (key, form) in FORMS {
        let Some(given) = raw.get(key) else { continue };
        if value::shape(given) == value::Shape::Null {
            continue;
        }
        let bad = || {
            Problem::new(
                Code::FieldType,
                format!("`{key}` is no list of form fields"),
                "it must be a text that holds JSON such as `{\"title\":{\"include\":1,\"require\":1}}`",
            )
            .in_field(*key)
            .with_value(&value::shown(given))
        };
        let text = value::text(given).map_err(|_| bad())?;
        if text.trim().is_empty() {
            continue;
        }
        let form_fields = RawRecord::parse(&text).map_err(|_| bad())?;
        if fields.len() + form_fields.entries.len() > most {
            return Err(Problem::new(
                Code::LimitRecordBytes,
                format!(
                    "`{key}` brings the form to more than {most} fields, each of which is kept with the whole form"
                ),
                "leave fields out, or shorten what stands beside the forms",
            )
            .in_field(*key));
        }
        for (name, settings) in &form_fields.entries {
            let settings = RawRecord::parse(settings).map_err(|_| bad())?;
            fields.push(one(&id, form, &fold(name), &settings, raw));
        }
    }
    Ok(fields)
}

fn one(id: &str, form: &str, name: &str, settings: &RawRecord<'_>, whole: &RawRecord<'_>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut object = format!(
        "{{\"id\":{},\"form\":{},\"field_identifier\":{}",
        text(&format!("{id}/{form}/{name}")),
        text(form),
        text(name)
    );
    let beside = whole.entries.iter().filter(|(key, _)| {
        let folded = fold(key);
        folded != "id" && !FORMS.iter().any(|(form, _)| *form == folded)
    });
    for (key, value) in settings.entries.iter().chain(beside) {
        // Writing to a `String` cannot fail.
        let _ = write!(object, ",{}:{value}", text(key));
    }
    object.push('}');
    object
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    #[test]
    fn a_form_in_a_text_becomes_one_object_per_field() {
        let raw = r#"{"id": 7, "session-form": "{\"short-abstract\":{\"include\":1,\"require\":0}}", "note": [1]}"#;
        let raw = RawRecord::parse(raw).unwrap();
        assert!(is_whole(&raw));
        assert_eq!(
            fields(&raw, 1).unwrap(),
            [
                r#"{"id":"7/session/short_abstract","form":"session","field_identifier":"short_abstract","include":1,"require":0,"note":[1]}"#
            ]
        );
    }

    #[test]
    fn a_form_that_is_no_json_is_said() {
        let raw = RawRecord::parse(r#"{"speaker_form": "{title"}"#).unwrap();
        assert_eq!(fields(&raw, 9).unwrap_err().code, Code::FieldType);
    }

    #[test]
    fn no_more_fields_are_made_of_a_form_than_allowed() {
        let raw = r#"{"session_form": "{\"a\":{},\"b\":{}}", "speaker_form": "{\"c\":{}}"}"#;
        let raw = RawRecord::parse(raw).unwrap();
        assert_eq!(fields(&raw, 3).unwrap().len(), 3);
        for most in [2, 1, 0] {
            assert_eq!(fields(&raw, most).unwrap_err().code, Code::LimitRecordBytes, "{most}");
        }
    }
}
