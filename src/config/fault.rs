//! What is wrong with the configuration, all of it at once.

use std::fmt;

/// One thing that is wrong, with what an admin needs to mend it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Full key, such as `queue.lease` or `accounts[0].email`; none where a whole file is at fault.
    pub key: Option<String>,
    /// The rule that is broken, as in "must be …".
    pub rule: String,
    /// The value as it was given, masked where it may hold a secret; none where there is none.
    pub value: Option<String>,
    /// Where the value came from: a file with its line, an environment variable, a flag.
    pub origin: String,
    /// What to do.
    pub remedy: String,
}

/// Every fault of a configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `None` where nothing is wrong.
    pub(super) fn of(faults: Vec<Fault>) -> Option<Self> {
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The faults: files first, then unknown keys, then values in the order of `config/default.toml`.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(formatter, "`{key}` {}", self.rule)?,
            None => write!(formatter, "{}", self.rule)?,
        }
        match &self.value {
            Some(value) => write!(formatter, "\n   given: {value}, in {}", self.origin)?,
            None => write!(formatter, "\n   in:    {}", self.origin)?,
        }
        write!(formatter, "\n   to do: {}", self.remedy)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(formatter, "the configuration has a fault")?,
            count => write!(formatter, "the configuration has {count} faults")?,
        }
        for (index, fault) in self.0.iter().enumerate() {
            write!(formatter, "\n{}. {fault}", index + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
