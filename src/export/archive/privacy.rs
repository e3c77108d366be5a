//! What a public archive leaves out.

use serde_json::Value;

use crate::model::Dataset;
use crate::model::catalogue::fold;

/// Fields that are for the organisers only.
const FIELDS: &[(Dataset, &[&str])] = &[
    (Dataset::Event, &["email"]),
    (Dataset::Speakers, &["email", "mobile", "address", "gender", "heard_from", "sponsorship_required"]),
    (Dataset::Sessions, &["comments"]),
];

/// What makes an unknown key private wherever it stands in it.
const PARTS: &[&str] = &[
    "mail",
    "phone",
    "mobile",
    "whatsapp",
    "address",
    "street",
    "postal",
    "postcode",
    "zipcode",
    "birth",
    "passport",
    "gender",
    "dietary",
    "allerg",
    "emergency",
    "comment",
    "password",
    "secret",
    "bank",
];

/// What makes an unknown key private as a word of its own.
const WORDS: &[&str] = &["tel", "cell", "fax", "sex", "age", "zip", "iban", "token"];

/// Whether a field is for the organisers only.
pub(super) fn is_private_field(dataset: Dataset, field: &str) -> bool {
    FIELDS.iter().any(|(of, fields)| *of == dataset && fields.contains(&field))
}

/// Whether what a key of the archive's own holds may be personal: by the key, by a key within, or as it looks like an
/// e-mail address.
pub(super) fn may_be_private(dataset: Dataset, key: &str, raw: &str) -> bool {
    is_private_field(dataset, &fold(key)) || is_private_key(key) || has_private_part(raw)
}

/// Whether JSON holds something that may be personal.
pub(super) fn has_private_part(raw: &str) -> bool {
    match raw.as_bytes().first() {
        Some(b'"' | b'{' | b'[') => serde_json::from_str(raw).map_or(true, |value| is_private_value(&value)),
        _ => false,
    }
}

fn is_private_value(value: &Value) -> bool {
    match value {
        Value::String(text) => is_like_mail(text),
        Value::Array(list) => list.iter().any(is_private_value),
        Value::Object(object) => object.iter().any(|(key, value)| is_private_key(key) || is_private_value(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_private_key(key: &str) -> bool {
    let low = key.to_lowercase();
    let joined: String = low.chars().filter(|character| character.is_alphanumeric()).collect();
    PARTS.iter().any(|part| joined.contains(part))
        || low.split(|character: char| !character.is_alphanumeric()).any(|word| WORDS.contains(&word))
}

fn is_like_mail(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let host = text[at + 1..].split(char::is_whitespace).next().unwrap_or_default();
        before && host.chars().next().is_some_and(char::is_alphanumeric) && host.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_private_by_their_words_and_by_what_they_hold() {
        let speaker = |key, raw| may_be_private(Dataset::Speakers, key, raw);
        for key in ["E-Mail", "contact-email", "Phone No.", "mobile2", "home_address", "tel", "Dietary needs", "Gender"]
        {
            assert!(speaker(key, "1"), "{key}");
        }
        for key in ["cancelled", "page", "hotel", "version", "sessions", "faxes_read"] {
            assert!(!speaker(key, "1"), "{key}");
        }
        assert!(speaker("creator", r#"{"a":[{"Mobile":1}]}"#));
        assert!(speaker("creator", r#""write to tova@example.org""#));
        assert!(speaker("creator", r#""\u0061\u0040b.example""#));
        assert!(!speaker("creator", r#""@tova, tova@home""#));
        assert!(may_be_private(Dataset::Sessions, "Comments", "1"));
    }
}
