//! Numbers and clauses in texts for people.

use std::any::Any;

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with what it counts: `1 record`, `2 records`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number with what it counts: `1 record`, `2,000 records`.
pub(crate) fn counted_grouped(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// The same text with a capital in front.
pub(crate) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// What a panic has said.
pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
        .unwrap_or_else(|| "it said nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1_000, "record", "records"), "1000 records");
        assert_eq!(counted_grouped(1_000, "record", "records"), "1,000 records");
        assert_eq!(counted_grouped(1, "record", "records"), "1 record");
    }

    #[test]
    fn a_capital_is_put_in_front_whatever_the_letter() {
        assert_eq!(
            ["", "checking", "übung", "ß", "7 records"].map(capital),
            ["", "Checking", "Übung", "SS", "7 records"]
        );
    }
}
