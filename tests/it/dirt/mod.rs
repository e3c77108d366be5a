//! The dirt that real archives contain, each kind with the outcome that people were promised.

mod dialects;
mod forms;
mod layout;
mod media;
mod records;
mod references;
mod values;

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::{Ferry, Imported};

/// Imports an archive into a fresh SQLite database.
async fn import(archive: Archive) -> (Ferry, Imported) {
    let ferry = Ferry::on_sqlite().await;
    let imported = ferry.import(archive.zip()).await;
    (ferry, imported)
}
