mod build;
mod faults;
mod finding;
mod mutation;
mod reading;
mod wholeness;
mod writing;
