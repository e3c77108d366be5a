//! The baseline on PostgreSQL: the rows that an import has left behind, written again by `COPY` in one transaction.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::{Client, NoTls};

use crate::TABLES;

/// Rows of all tables, one file for each, as `COPY` gives them.
#[derive(Debug)]
pub struct Dump {
    tables: Vec<(&'static str, PathBuf, u64)>,
}

impl Dump {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, _, rows)| rows).sum()
    }
}

/// Makes a database anew and says its address. The server writes back what it still has to, before anything is timed.
pub fn fresh(server: &str, name: &str) -> Result<String> {
    let mut client = connect(server)?;
    client.batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
    client.batch_execute(&format!("CREATE DATABASE {name}"))?;
    client.batch_execute("CHECKPOINT")?;
    let (address, _) = server.rsplit_once('/').context("the address of the server has no database in it")?;
    Ok(format!("{address}/{name}"))
}

/// Removes a database.
pub fn remove(server: &str, name: &str) -> Result<()> {
    Ok(connect(server)?.batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))?)
}

/// The server's settings that say what is durable.
pub fn durability(server: &str) -> Result<String> {
    let row = connect(server)?.query_one(
        "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), \
         current_setting('full_page_writes'), current_setting('shared_buffers')",
        &[],
    )?;
    let text = |index: usize| row.get::<_, String>(index);
    Ok(format!(
        "PostgreSQL {}, fsync {}, synchronous_commit {}, full_page_writes {}, shared_buffers {}",
        text(0),
        text(1),
        text(2),
        text(3),
        text(4)
    ))
}

/// Copies the rows of datasets and links out of a database that an import has written.
pub fn dump(url: &str, folder: &Path) -> Result<Dump> {
    let mut client = connect(url)?;
    let mut tables = Vec::new();
    for table in TABLES {
        let path = folder.join(format!("{table}.copy"));
        let mut rows = client.copy_out(&format!("COPY (SELECT * FROM {table} ORDER BY 1, 2) TO STDOUT"))?;
        io::copy(&mut rows, &mut File::create(&path)?)?;
        drop(rows);
        let count: i64 = client.query_one(&format!("SELECT count(*) FROM {table}"), &[])?.get(0);
        tables.push((table, path, u64::try_from(count)?));
    }
    Ok(Dump { tables })
}

/// Writes the rows into new tables made by the same migrations, and says how long that took.
pub fn write(dump: &Dump, url: &str, migrations: &Path) -> Result<Duration> {
    let mut client = connect(url)?;
    for migration in crate::migrations(migrations, "postgres")? {
        client.batch_execute(&fs::read_to_string(migration)?)?;
    }

    let started = Instant::now();
    let mut tx = client.transaction()?;
    for (table, path, rows) in &dump.tables {
        let mut to = tx.copy_in(&format!("COPY {table} FROM STDIN"))?;
        io::copy(&mut io::BufReader::with_capacity(1 << 16, File::open(path)?), &mut to)?;
        let written = to.finish()?;
        if written != *rows {
            bail!("the baseline wrote {written} rows into {table}, not {rows}");
        }
    }
    tx.commit()?;
    Ok(started.elapsed())
}

fn connect(url: &str) -> Result<Client> {
    Client::connect(url, NoTls).context("cannot reach PostgreSQL")
}
