//! Lengths of sessions as archives write them: `00:30`, `01.30`, `20 minutes`.

/// The length in minutes, where it can mean only one thing.
///
/// Hours and minutes with two digits after the colon or dot are clear; `0.3`, `30` and `00.2 Hour` are not.
pub fn minutes(text: &str) -> Option<i64> {
    let text = text.trim();
    hours_and_minutes(text).or_else(|| with_unit(text))
}

fn hours_and_minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once([':', '.'])?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=2).contains(&hours.len()) || minutes.len() != 2 || !digits(hours) || !digits(minutes) {
        return None;
    }
    let minutes: i64 = minutes.parse().ok()?;
    let hours: i64 = hours.parse().ok()?;
    (minutes < 60).then_some(hours * 60 + minutes)
}

fn with_unit(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: i64 = text[..digits].parse().ok().filter(|number| *number < 100_000)?;
    match text[digits..].trim().to_ascii_lowercase().as_str() {
        "min" | "mins" | "minute" | "minutes" => Some(number),
        "h" | "hour" | "hours" => Some(number * 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::minutes;

    #[test]
    fn clear_lengths_are_minutes() {
        for (text, expected) in [
            ("00:30", 30),
            ("0:30", 30),
            ("01.30", 90),
            ("00.45", 45),
            ("24.00", 1440),
            ("20 minutes", 20),
            ("2 Hours", 120),
        ] {
            assert_eq!(minutes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn unclear_lengths_are_none() {
        for text in ["00.2 Hour", "00.20 minutes", "0.3", "30", "", "1:75", "001:00", "-1:00", "999999999 h", "１:00"]
        {
            assert_eq!(minutes(text), None, "{text}");
        }
    }
}
