#![doc = include_str!("ARCHITECTURE.md")]

pub mod archive;
pub mod clock;
pub mod config;
pub mod db;
pub mod format;
pub mod fsx;
pub mod import;
pub mod inbox;
pub mod mail;
pub mod model;
pub mod outbox;
pub mod pace;
pub mod queue;
pub mod signal;
pub mod storage;
pub mod store;
