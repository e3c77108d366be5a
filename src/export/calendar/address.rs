//! Web addresses as the schemas accept them.

use std::net::Ipv6Addr;

/// The address with everything encoded that RFC 3986 does not allow as it is; none where it does not begin with
/// `http://` or `https://` and a host.
pub(super) fn web(text: &str) -> Option<String> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") || rest.contains(char::is_control) {
        return None;
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let authority = authority_of(authority)?;
    // Browsers read a backslash there as the beginning of the path; encoded it would belong to the host.
    let rest = rest.replacen('\\', "/", usize::from(rest.starts_with('\\')));
    let (before, fragment) = match rest.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (rest.as_str(), None),
    };
    let mut address = format!("{scheme}://{authority}");
    encode(&mut address, before, b"-._~!$&'()*+,;=:@/?");
    if let Some(fragment) = fragment {
        address.push('#');
        encode(&mut address, fragment, b"-._~!$&'()*+,;=:@/?");
    }
    Some(address)
}

fn authority_of(text: &str) -> Option<String> {
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']')?;
            inner.parse::<Ipv6Addr>().ok()?;
            (format!("[{inner}]"), after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = place.split_once(':').unwrap_or((place, ""));
            let mut encoded = String::new();
            encode(&mut encoded, host, b"-._~!$&'()*+,;=");
            (encoded, port)
        }
    };
    if host.is_empty() || (!port.is_empty() && port.parse::<u16>().is_err()) {
        return None;
    }
    let mut authority = String::new();
    if let Some(user) = user {
        encode(&mut authority, user, b"-._~!$&'()*+,;=:");
        authority.push('@');
    }
    authority.push_str(&host);
    if !port.is_empty() {
        authority.push(':');
        authority.push_str(port.trim_start_matches('+'));
    }
    Some(authority)
}

/// Appends what is a letter, a digit, encoded already or among `plain`, and the rest encoded.
fn encode(into: &mut String, text: &str, plain: &[u8]) {
    let bytes = text.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        let is_encoded = *byte == b'%'
            && bytes.get(place + 1..place + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if byte.is_ascii_alphanumeric() || plain.contains(byte) || is_encoded {
            into.push(char::from(*byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}
