//! Imports dropped event archives into a database and says what became of them.
