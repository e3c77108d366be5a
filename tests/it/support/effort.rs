//! How much is tried: CI and people run a short form; `tests/reliability --long` asks for the long one.

/// Set to `long` for the long form.
const EFFORT: &str = "EVENTFERRY_TEST_EFFORT";

/// Whether everything is to be tried that there is.
pub(crate) fn is_long() -> bool {
    std::env::var(EFFORT).is_ok_and(|effort| effort == "long")
}
