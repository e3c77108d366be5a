//! Names of entries: decoded, made of one shape, and refused where they lead out of the archive.

/// Characters 128 to 255 of code page 437, the code of names that are not said to be UTF-8.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The name as text: UTF-8 where it is that, whatever its flag says, since many tools forget the flag; else code page 437.
pub(super) fn decode(raw: &[u8], unicode_name: Option<&[u8]>) -> String {
    let unicode = unicode_name.and_then(|name| std::str::from_utf8(name).ok());
    match unicode.or_else(|| std::str::from_utf8(raw).ok()) {
        Some(name) => name.to_owned(),
        None => from_cp437(raw),
    }
}

pub(super) fn from_cp437(raw: &[u8]) -> String {
    let upper: Vec<char> = CP437.chars().collect();
    raw.iter().map(|byte| if *byte < 128 { char::from(*byte) } else { upper[usize::from(*byte) - 128] }).collect()
}

/// The bytes that give a text when they are read as code page 437; none where a character is not in it.
pub(super) fn to_cp437(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|character| match u8::try_from(character) {
            Ok(byte) if byte < 128 => Some(byte),
            _ => CP437.chars().zip(128_u8..=255).find(|(upper, _)| *upper == character).map(|(_, byte)| byte),
        })
        .collect()
}

/// The bytes that give a text when they are read as Latin-1, or as Windows' superset of it, which most programs mean by that.
pub(super) fn to_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok().or_else(|| to_windows(character))).collect()
}

fn to_windows(character: char) -> Option<u8> {
    let mut text = [0; 4];
    let (bytes, _, failed) = encoding_rs::WINDOWS_1252.encode(character.encode_utf8(&mut text));
    if failed { None } else { bytes.first().copied() }
}

/// Bytes read as Windows' superset of Latin-1.
pub(super) fn from_windows(bytes: &[u8]) -> String {
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()
}

/// A name with `/` between its parts, without parts that say nothing, and without a `/` at its end.
pub(super) fn normalise(name: &str) -> String {
    let parts: Vec<&str> = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// Whether a name is that of a folder.
pub(super) fn is_folder(name: &str) -> bool {
    name.ends_with(['/', '\\'])
}

/// What makes a name one that must not be followed.
pub(super) fn danger(name: &str) -> Option<&'static str> {
    let mut start = name.chars();
    if name.is_empty() {
        Some("it is empty")
    } else if name.contains('\0') {
        Some("it contains a NUL")
    } else if name.starts_with(['/', '\\']) {
        Some("it begins at the root of a disk")
    } else if start.next().is_some_and(|first| first.is_ascii_alphabetic()) && start.next() == Some(':') {
        Some("it begins with the letter of a drive")
    } else if name.split(['/', '\\']).any(|part| part == "..") {
        Some("it has a part `..`")
    } else {
        None
    }
}

/// Whether a system wrote the entry for itself, such as `__MACOSX/` or `Thumbs.db`.
pub(super) fn is_litter(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    name.split('/').next() == Some("__MACOSX")
        || last.starts_with("._")
        || [".DS_Store", "Thumbs.db", "desktop.ini"].iter().any(|litter| last.eq_ignore_ascii_case(litter))
}

/// The one folder in which everything lies, if there is one. Names are normalised; folders are marked by `true`.
pub(super) fn common_top<'a>(names: impl Iterator<Item = (&'a str, bool)>) -> Option<&'a str> {
    let mut top = None;
    let mut files_below = false;
    for (name, is_dir) in names.filter(|(name, _)| !name.is_empty() && !is_litter(name)) {
        let first = match name.split_once('/') {
            Some((first, _)) => {
                files_below |= !is_dir;
                first
            }
            None if is_dir => name,
            None => return None,
        };
        if top.is_some_and(|top| top != first) {
            return None;
        }
        top = Some(first);
    }
    top.filter(|_| files_below)
}
