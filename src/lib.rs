#![doc = include_str!("ARCHITECTURE.md")]

pub mod clock;
pub mod config;
pub mod db;
pub mod format;
pub mod fsx;
pub mod mail;
pub mod model;
pub mod outbox;
pub mod pace;
pub mod queue;
pub mod signal;
pub mod store;
