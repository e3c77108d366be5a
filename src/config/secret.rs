//! Secrets: how they are masked wherever a value is shown.

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Masks everything.
pub(super) fn hide(_: &str) -> String {
    MASK.to_owned()
}

/// Shows plain settings, but masks a password that somebody has pasted as part of an address.
pub(super) fn show(text: &str) -> String {
    if text.contains("://") { mask_address(text) } else { text.to_owned() }
}

/// Shows a database address without its password; masks all of it where it cannot be told what is the password.
pub(super) fn show_database(text: &str) -> String {
    if text.contains("://") {
        mask_address(text)
    } else if text == "sqlite" || text.starts_with("sqlite:") {
        text.to_owned()
    } else {
        MASK.to_owned()
    }
}

/// `scheme://user:password@host/name?password=…` with both passwords masked. The last `@` ends the log-in, because
/// passwords with an unescaped `@` are what people get wrong.
fn mask_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (Some(login), rest),
        None => (None, rest),
    };
    let login = login.map_or(String::new(), |login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@"),
        None if login.contains('?') => format!("{MASK}@"),
        None => format!("{login}@"),
    });
    let rest = match rest.split_once('?') {
        Some((place, options)) => format!("{place}?{}", mask_options(options)),
        None => rest.to_owned(),
    };
    format!("{scheme}://{login}{rest}")
}

fn mask_options(options: &str) -> String {
    let masked = options.split('&').map(|option| match option.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={MASK}"),
        _ => option.to_owned(),
    });
    masked.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_masked_however_it_is_written() {
        assert_eq!(show_database("postgres://ferry:hunter2@db/events"), "postgres://ferry:***@db/events");
        assert_eq!(show_database("postgres://ferry:hun@te/r2@db/events"), "postgres://ferry:***@db/events");
        assert_eq!(show_database("postgres://db/e?user=f&password=hunter2"), "postgres://db/e?user=f&password=***");
        assert_eq!(show_database("postgres://db/e?password=hunter2@"), "postgres://***@");
        assert_eq!(show_database("postgres://ferry@db/events"), "postgres://ferry@db/events");
        assert_eq!(show_database("host=db password=hunter2"), "***");
        assert_eq!(show_database("postgres:ferry:hunter2@db"), "***");
        assert_eq!(show_database("sqlite:/var/lib/x.db"), "sqlite:/var/lib/x.db");
        assert_eq!(show("smtp://ferry:hunter2@mail"), "smtp://ferry:***@mail");
        assert_eq!(show("mail.example.org"), "mail.example.org");
    }
}
