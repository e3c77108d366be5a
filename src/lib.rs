#![doc = include_str!("ARCHITECTURE.md")]

pub mod clock;
pub mod config;
pub mod db;
pub mod format;
pub mod model;
pub mod signal;
