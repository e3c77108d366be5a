//! What several areas of tests use: real servers that live as long as one test.

pub(crate) mod binary;
pub(crate) mod daemon;
pub(crate) mod databases;
pub(crate) mod postgres;
pub(crate) mod smtp;
