//! Finding the file that a path in the data means.

use unicode_normalization::UnicodeNormalization;

use super::names;

/// Tries the path as it is written, then in the forms into which tools turn it; percent-encoding is the last.
pub(super) fn find(path: &str, lookup: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
    let path = names::normalise(path);
    find_forms(&path, lookup).or_else(|| find_forms(&names::normalise(&percent_decoded(&path)?), lookup))
}

fn find_forms(path: &str, lookup: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
    if let Some(index) = lookup(path) {
        return Some(index);
    }
    if path.is_ascii() {
        return None;
    }
    let composed: String = path.nfc().collect();
    let decomposed: String = path.nfd().collect();
    [path, &composed, &decomposed].into_iter().find_map(|form| lookup(form).or_else(|| find_misread(form, lookup)))
}

/// One of the two, path or name, was UTF-8 and was read as something older.
fn find_misread(path: &str, lookup: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
    let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    lookup(&names::from_cp437(path.as_bytes()))
        .or_else(|| lookup(&latin1(path.as_bytes())))
        .or_else(|| lookup(&names::from_windows(path.as_bytes())))
        .or_else(|| lookup(&String::from_utf8(names::to_cp437(path)?).ok()?))
        .or_else(|| lookup(&String::from_utf8(names::to_latin1(path)?).ok()?))
        .or_else(|| lookup(&names::from_cp437(&names::to_latin1(path)?)))
}

/// The path with `%41` made `A`; none where nothing is encoded or the bytes are no UTF-8.
fn percent_decoded(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = digits.and_then(|[high, low]| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        });
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).ok().filter(|decoded| decoded != path)
}
