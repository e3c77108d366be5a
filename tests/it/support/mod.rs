//! What several areas of tests use: real servers that live as long as one test.

pub(crate) mod binary;
pub(crate) mod child;
pub(crate) mod daemon;
pub(crate) mod databases;
pub(crate) mod effort;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod service;
pub(crate) mod smtp;
