//! Archives made to break something: each has its answer, within bounds, and nothing is touched outside of its place.

mod bombs;
mod corpus;
mod entries;
mod json;
