//! An export as the archive against what people write without it: `sqlite3 -json | zip`, and a few lines of Python.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The tables whose rows are records of an archive.
const TABLES: [&str; 9] = [
    "events",
    "social_links",
    "custom_forms",
    "microlocations",
    "sponsors",
    "speakers",
    "tracks",
    "session_types",
    "sessions",
];

/// What many write in Python: all rows of a table as a list of dictionaries, one file for each table, and a zip of them.
const PYTHON: &str = r#"
import json, os, shutil, sqlite3, sys
database, folder, archive = sys.argv[1:4]
connection = sqlite3.connect(database)
connection.row_factory = sqlite3.Row
os.makedirs(folder)
for table in sys.argv[4:]:
    rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    with open(os.path.join(folder, table), "w") as file:
        file.write(json.dumps(rows))
shutil.make_archive(archive, "zip", folder)
"#;

/// Every row as `sqlite3` prints it, zipped on its way. Both programs run at once.
pub fn sqlite_and_zip(database: &Path, folder: &Path) -> Result<Duration> {
    empty(folder)?;
    let select: Vec<String> = TABLES.iter().map(|table| format!("SELECT * FROM {table}")).collect();
    let started = Instant::now();
    let mut sqlite = Command::new("sqlite3")
        .args(["-json", "-readonly"])
        .arg(database)
        .arg(select.join("; "))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sqlite3 (Debian's package `sqlite3`)")?;
    let rows = sqlite.stdout.take().context("sqlite3 says nothing")?;
    let zipped = Command::new("zip")
        .args(["-6", "-q"])
        .arg(folder.join("rows.zip"))
        .arg("-")
        .stdin(rows)
        .status()
        .context("cannot start zip (Debian's package `zip`)")?;
    let selected = sqlite.wait()?;
    let time = started.elapsed();
    if !selected.success() || !zipped.success() {
        bail!("sqlite3 ended with {selected}, zip with {zipped}");
    }
    Ok(time)
}

/// The same rows by way of Python; the time and the most memory, in KiB.
pub fn python(database: &Path, folder: &Path) -> Result<crate::ours::Run> {
    empty(folder)?;
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON]).arg(database).arg(folder.join("files")).arg(folder.join("rows")).args(TABLES);
    crate::ours::run(&mut command, &folder.join("log"))
}

/// An empty folder.
pub fn empty(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    Ok(())
}
