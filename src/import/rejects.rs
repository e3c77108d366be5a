//! `rejected.zip`: what did not go in, to be corrected and dropped again.
