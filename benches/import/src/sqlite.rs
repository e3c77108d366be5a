//! The baseline on SQLite: the rows that an import has left behind, written again by one prepared statement per table in
//! one transaction.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::TABLES;

/// What `src/db/mod.rs` sets on the connection that writes.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA wal_autocheckpoint = 10000; PRAGMA cache_size = -12288; PRAGMA temp_store = MEMORY;";

/// Rows of all tables, in a file.
#[derive(Debug)]
pub struct Dump {
    path: PathBuf,
    tables: Vec<(&'static str, usize, u64)>,
}

impl Dump {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, _, rows)| rows).sum()
    }
}

/// Copies the rows of datasets and links out of a database that an import has written.
pub fn dump(database: &Path, path: &Path) -> Result<Dump> {
    let from = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut tables = Vec::new();
    for table in TABLES {
        let mut select = from.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))?;
        let width = select.column_count();
        let mut rows = select.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            for column in 0..width {
                match row.get_ref(column)? {
                    ValueRef::Null => file.write_all(&[0])?,
                    ValueRef::Integer(number) => {
                        file.write_all(&[1])?;
                        file.write_all(&number.to_le_bytes())?;
                    }
                    ValueRef::Real(number) => {
                        file.write_all(&[2])?;
                        file.write_all(&number.to_le_bytes())?;
                    }
                    ValueRef::Text(text) => {
                        file.write_all(&[3])?;
                        file.write_all(&u32::try_from(text.len())?.to_le_bytes())?;
                        file.write_all(text)?;
                    }
                    ValueRef::Blob(_) => bail!("{table} holds a blob"),
                }
            }
            count += 1;
        }
        tables.push((table, width, count));
    }
    file.flush()?;
    Ok(Dump { path: path.to_owned(), tables })
}

/// Writes the rows into new tables made by the same migrations, and says how long that took, the closing included.
pub fn write(dump: &Dump, database: &Path, migrations: &Path) -> Result<Duration> {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", database.display()));
    }
    let mut to = Connection::open(database)?;
    to.execute_batch(PRAGMAS)?;
    for migration in crate::migrations(migrations, "sqlite")? {
        to.execute_batch(&fs::read_to_string(migration)?)?;
    }
    let mut file = BufReader::with_capacity(1 << 20, File::open(&dump.path)?);
    let mut text = Vec::new();

    let started = Instant::now();
    let tx = to.transaction()?;
    for (table, width, rows) in &dump.tables {
        let places = vec!["?"; *width].join(", ");
        let mut insert = tx.prepare(&format!("INSERT INTO {table} VALUES ({places})"))?;
        for _ in 0..*rows {
            for column in 1..=*width {
                let mut number = [0; 8];
                match byte(&mut file)? {
                    0 => insert.raw_bind_parameter(column, rusqlite::types::Null)?,
                    1 => {
                        file.read_exact(&mut number)?;
                        insert.raw_bind_parameter(column, i64::from_le_bytes(number))?;
                    }
                    2 => {
                        file.read_exact(&mut number)?;
                        insert.raw_bind_parameter(column, f64::from_le_bytes(number))?;
                    }
                    _ => {
                        file.read_exact(&mut number[..4])?;
                        let length = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
                        text.resize(usize::try_from(length)?, 0);
                        file.read_exact(&mut text)?;
                        insert.raw_bind_parameter(column, std::str::from_utf8(&text)?)?;
                    }
                }
            }
            insert.raw_execute()?;
        }
    }
    tx.commit()?;
    to.close().map_err(|(_, error)| error)?;
    let time = started.elapsed();

    let to = Connection::open(database)?;
    for (table, _, rows) in &dump.tables {
        let written: i64 = to.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        if u64::try_from(written)? != *rows {
            bail!("the baseline wrote {written} rows into {table}, not {rows}");
        }
    }
    Ok(time)
}

fn byte(file: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}
