//! `[[accounts]]`

use std::ffi::OsStr;

use lettre::Address;

use super::import::{ImportSection, ON_ERROR, ON_EXISTING};
use super::inbox::InboxSection;
use super::reader::{DEFAULT, Reader, Rule, list_of};
use crate::model::{OnError, OnExisting};

/// Keys that a block may have; asked for where one is misspelt.
pub(super) const FIELDS: [&str; 7] =
    ["name", "email", "display_name", "on_error", "on_existing", "with_handlers", "allow"];

/// Longest name, in bytes.
const NAME_BYTES: usize = 64;

/// An account with the policies that are in force for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name and that of its folder.
    pub name: String,
    /// Where its mails go; without it there are only notifications.
    pub email: Option<Address>,
    /// How it is called; its name where nothing else is set.
    pub display_name: String,
    /// What bad records do.
    pub on_error: OnError,
    /// What happens with an event that is there.
    pub on_existing: OnExisting,
    /// Whether handlers are called.
    pub with_handlers: bool,
    /// What its archives may decide.
    pub allow: Vec<Allow>,
}

/// Something that `eventferry.json` in an archive may decide where the account allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// `on_error`
    OnError,
    /// `on_existing`
    OnExisting,
    /// `event`: which event is updated.
    Event,
    /// `again`: import the same bytes again.
    Again,
    /// `with_handlers`
    WithHandlers,
}

const ALLOW: [(&str, Allow); 5] = [
    ("on_error", Allow::OnError),
    ("on_existing", Allow::OnExisting),
    ("event", Allow::Event),
    ("again", Allow::Again),
    ("with_handlers", Allow::WithHandlers),
];

const ALLOWED_BY_DEFAULT: [Allow; 3] = [Allow::OnError, Allow::Event, Allow::Again];

impl Account {
    /// Whether archives of this account may decide that.
    pub fn allows(&self, what: Allow) -> bool {
        self.allow.contains(&what)
    }
}

/// Reads all blocks; the default account comes first where no block names it.
pub(super) fn read(reader: &mut Reader, inbox: &InboxSection, import: &ImportSection) -> Vec<Account> {
    let mut accounts: Vec<Account> = Vec::new();
    for index in 0..reader.tables("accounts") {
        let block = format!("accounts[{index}]");
        let account = read_block(reader, &block, inbox, import);
        let key = format!("{block}.name");
        let namesake = accounts.iter().position(|other| other.name == account.name && !account.name.is_empty());
        if let Some(namesake) = namesake {
            let first = reader.origin(&format!("accounts[{namesake}].name"));
            let rule = Rule::new(format!("must be unique; the same name is set in {first}"), "make one block of both");
            reader.fault(&key, &rule);
        }
        accounts.push(account);
    }
    if !accounts.iter().any(|account| account.name == inbox.default_account) {
        let default = Account {
            name: inbox.default_account.clone(),
            email: None,
            display_name: inbox.default_account.clone(),
            on_error: import.on_error,
            on_existing: import.on_existing,
            with_handlers: import.with_handlers,
            allow: ALLOWED_BY_DEFAULT.to_vec(),
        };
        accounts.insert(0, default);
    }
    accounts
}

/// The rule for the name of an account.
pub(super) fn name_rule() -> Rule {
    Rule::new(
        format!(
            "must be a folder name of `a`-`z`, `0`-`9`, `.`, `_`, `-`, no dot first, at most {NAME_BYTES} characters"
        ),
        "choose such a name; `display_name` may be any text",
    )
}

/// A name that follows [`name_rule`].
pub(super) fn parse_name(text: &str) -> Option<String> {
    let fits = (1..=NAME_BYTES).contains(&text.len()) && !text.starts_with('.');
    let is_plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    (fits && is_plain).then(|| text.to_owned())
}

fn read_block(reader: &mut Reader, block: &str, inbox: &InboxSection, import: &ImportSection) -> Account {
    let key = |field: &str| format!("{block}.{field}");
    let name = reader.parsed(&key("name"), &name_rule(), parse_name);
    let name = reader.needed(&key("name"), name);
    if let Some(pattern) = inbox.ignore.iter().find(|pattern| pattern.matches(OsStr::new(&name))) {
        let rule = format!("must not be ignored: its folder matches `{}` of `inbox.ignore`", pattern.as_str());
        reader.fault(&key("name"), &Rule::new(rule, "choose another name, or take the pattern away"));
    }
    let account = Account {
        email: reader.address(&key("email")),
        display_name: reader.optional_text(&key("display_name")).unwrap_or_else(|| name.clone()),
        on_error: reader.optional_choice(&key("on_error"), &ON_ERROR).unwrap_or(import.on_error),
        on_existing: reader.optional_choice(&key("on_existing"), &ON_EXISTING).unwrap_or(import.on_existing),
        with_handlers: reader.optional_switch(&key("with_handlers")).unwrap_or(import.with_handlers),
        allow: reader.optional_choices(&key("allow"), &ALLOW).unwrap_or_else(|| ALLOWED_BY_DEFAULT.to_vec()),
        name,
    };
    reader.in_force(&key("display_name"), account.display_name.as_str(), &format!("`{}`", key("name")));
    reader.in_force(&key("on_error"), account.on_error.as_str(), "`import.on_error`");
    reader.in_force(&key("on_existing"), account.on_existing.as_str(), "`import.on_existing`");
    reader.in_force(&key("with_handlers"), account.with_handlers.to_string(), "`import.with_handlers`");
    let allowed = ALLOW.iter().filter(|(_, what)| account.allows(*what)).map(|(word, _)| *word);
    reader.in_force(&key("allow"), list_of(allowed), DEFAULT);
    account
}
