//! Lengths of time and sizes as people write them.

use std::time::Duration;

const TIME_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
    ("", 1),
];

/// Reads `100ms`, `30s`, `15m`, `24h`, `400d`, `2w` and sums such as `1h30m`; `0` needs no unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut milliseconds = 0_u64;
    loop {
        let (number, unit, tail) = number_and_unit(rest)?;
        let (_, factor) = TIME_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
        rest = tail;
        if rest.is_empty() {
            return Some(Duration::from_millis(milliseconds));
        }
    }
}

/// Reads `4MiB`, `10 GiB`, `4MB` and plain bytes, in capital or small letters.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, rest) = number_and_unit(text.trim())?;
    let (_, factor) = SIZE_UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    if rest.is_empty() { number.checked_mul(factor) } else { None }
}

/// Writes a length of time in the largest unit that leaves no remainder; milliseconds are the finest.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = largest_unit(milliseconds, &TIME_UNITS).unwrap_or(("s", 1000));
    format!("{}{unit}", milliseconds / factor)
}

/// Writes a size in the largest unit that leaves no remainder.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, factor) = largest_unit(bytes, &SIZE_UNITS).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

fn largest_unit(amount: u64, units: &[(&'static str, u64)]) -> Option<(&'static str, u64)> {
    units.iter().copied().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor))
}

fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_need_a_unit_and_add_up() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("2s", 2000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("400d", 34_560_000_000),
            ("1h30m", 5_400_000),
            ("1 h 30 m", 5_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-2s", "1.5h", "2 minutes", "2s3", "99999999999999999999s", "9999999999999999w"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_counted_in_the_unit_they_name() {
        for (text, bytes) in
            [("4MiB", 4_194_304), ("10 gib", 10_737_418_240), ("4MB", 4_000_000), ("17", 17), ("17B", 17), ("0", 0)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "4M", "4 apples", "-1", "1.5GiB", "1GiB2", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_in_their_largest_whole_unit() {
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_secs(3600)), "1h");
        assert_eq!(show_duration(Duration::ZERO), "0s");
        assert_eq!(show_size(4_194_304), "4MiB");
        assert_eq!(show_size(1500), "1500B");
        assert_eq!(show_size(0), "0B");
    }
}
