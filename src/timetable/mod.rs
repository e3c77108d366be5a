//! When something is due: cron expressions, and the instants at which they fire in a time zone.

pub mod due;
pub mod expression;
