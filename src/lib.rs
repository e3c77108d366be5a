#![doc = include_str!("ARCHITECTURE.md")]

pub mod clock;
pub mod db;
pub mod model;
pub mod pace;
pub mod queue;
pub mod signal;
pub mod store;
