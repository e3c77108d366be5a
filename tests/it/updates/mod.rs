//! What an archive does to an event that is there: which one is meant, what changes, and what is left alone.

mod events;
mod links;
mod policies;
mod records;
mod stops;
mod supplements;
