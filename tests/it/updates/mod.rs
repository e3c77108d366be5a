//! What an archive does to an event that is there: which one is meant, what changes, and what is left alone.

mod events;
mod links;
mod pace;
mod policies;
mod records;
mod silence;
mod stops;
mod supplements;
mod taking_back;
