//! Measures `eventferry` against raw writing of the same rows; `benches/README.md` says how to run and read it.

mod archive;
mod daemon;
mod export;
mod handlers;
mod ours;
mod postgresql;
mod sqlite;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use archive::Made;
use ours::Run;

/// The tables of datasets and links, in the order in which their rows refer to each other.
pub const TABLES: [&str; 10] = [
    "events",
    "social_links",
    "custom_forms",
    "microlocations",
    "sponsors",
    "speakers",
    "tracks",
    "session_types",
    "sessions",
    "session_speakers",
];

/// The least share of the baseline's speed.
const LEAST_RATIO: f64 = 0.30;

/// The most memory of an import, in KiB.
const MOST_MEMORY: u64 = 64 * 1024;

/// How many times as fast as `sqlite3 -json | zip -6` an export is at least, and how many times as fast as Python.
const LEAST_EXPORT_RATIOS: (f64, f64) = (1.3, 4.0);

/// The longest time from the rename to the first byte read.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The largest share of a core while idle.
const LARGEST_IDLE_SHARE: f64 = 0.001;

/// Where things are.
struct Bench {
    binary: PathBuf,
    migrations: PathBuf,
    folder: PathBuf,
    server: Option<String>,
    repeat: Option<u32>,
    failed: bool,
}

/// What is measured with the numbers that follow.
enum Kind {
    Import,
    Export,
    Handlers,
}

fn main() -> ExitCode {
    match run() {
        Ok(bench) if bench.failed => ExitCode::from(1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches/run: {error:?}");
            ExitCode::from(2)
        }
    }
}

/// `eventferry-bench BINARY MIGRATIONS FOLDER WHAT…`, as `benches/run` calls it.
fn run() -> Result<Bench> {
    let mut args = env::args().skip(1);
    let mut next = || args.next().context("use `benches/run`");
    let mut bench = Bench {
        binary: next()?.into(),
        migrations: next()?.into(),
        folder: next()?.into(),
        server: env::var("EVENTFERRY_BENCH_POSTGRES").ok().filter(|url| !url.is_empty()),
        repeat: env::var("EVENTFERRY_BENCH_REPEAT").ok().map(|text| text.parse()).transpose()?,
        failed: false,
    };
    fs::create_dir_all(&bench.folder)?;
    println!("{}", machine());
    if let Some(server) = &bench.server {
        println!("{}", postgresql::durability(server)?);
    }
    let mut kind = Kind::Import;
    for what in args {
        match what.as_str() {
            "daemon" => bench.daemon()?,
            "import" => kind = Kind::Import,
            "export" => kind = Kind::Export,
            "handlers" => kind = Kind::Handlers,
            number => {
                let sessions = number.parse().with_context(|| {
                    format!(
                        "`{number}` is neither a number of sessions nor `import`, `export`, `handlers` or `daemon`"
                    )
                })?;
                match kind {
                    Kind::Import => bench.import(sessions)?,
                    Kind::Export => bench.export(sessions)?,
                    Kind::Handlers => bench.handlers(sessions)?,
                }
            }
        }
    }
    Ok(bench)
}

impl Bench {
    fn import(&mut self, sessions: u64) -> Result<()> {
        let path = self.folder.join(format!("{sessions}.zip"));
        let made = archive::write(&path, sessions, 7)?;
        println!(
            "\n{} sessions: {} rows, {} bytes of JSON a session, {:.1} MiB zipped",
            grouped(sessions),
            grouped(made.rows),
            made.session_bytes / sessions,
            mebibytes(made.bytes)
        );
        let repeat = self.repeat.unwrap_or(if sessions <= 200_000 { 3 } else { 1 });
        self.sqlite(&path, &made, repeat)?;
        if self.server.is_some() {
            self.postgresql(&path, &made, repeat)?;
        }
        Ok(())
    }

    fn sqlite(&mut self, path: &Path, made: &Made, repeat: u32) -> Result<()> {
        let (root, raw) = (self.folder.join("sqlite"), self.folder.join("raw.db"));
        let (mut runs, mut baselines, mut dump) = (Vec::new(), Vec::new(), None);
        for _ in 0..repeat {
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root)?;
            runs.push(ours::import(&self.binary, path, &root, None)?);
            if dump.is_none() {
                dump = Some(sqlite::dump(&root.join("eventferry.db"), &self.folder.join("rows.dump"))?);
            }
            let dump = dump.as_ref().context("no rows")?;
            expect_rows(dump.rows(), made)?;
            baselines.push(sqlite::write(dump, &raw, &self.migrations)?);
        }
        self.tell("SQLite", made, &runs, &baselines);
        let _ = fs::remove_dir_all(&root);
        let _ = fs::remove_file(&raw);
        Ok(())
    }

    fn postgresql(&mut self, path: &Path, made: &Made, repeat: u32) -> Result<()> {
        let server = self.server.clone().context("no server")?;
        let root = self.folder.join("postgresql");
        let (mut runs, mut baselines, mut dump) = (Vec::new(), Vec::new(), None);
        for _ in 0..repeat {
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root)?;
            let url = postgresql::fresh(&server, "eventferry_bench_ours")?;
            runs.push(ours::import(&self.binary, path, &root, Some(&url))?);
            if dump.is_none() {
                dump = Some(postgresql::dump(&url, &self.folder)?);
            }
            let dump = dump.as_ref().context("no rows")?;
            expect_rows(dump.rows(), made)?;
            let url = postgresql::fresh(&server, "eventferry_bench_raw")?;
            baselines.push(postgresql::write(dump, &url, &self.migrations)?);
        }
        self.tell("PostgreSQL", made, &runs, &baselines);
        postgresql::remove(&server, "eventferry_bench_ours")?;
        postgresql::remove(&server, "eventferry_bench_raw")?;
        let _ = fs::remove_dir_all(&root);
        Ok(())
    }

    /// Everything is told to a receiver that answers at once; beside it, an import without handlers, and a bare client.
    fn handlers(&mut self, sessions: u64) -> Result<()> {
        let path = self.folder.join(format!("{sessions}.zip"));
        archive::write(&path, sessions, 7)?;
        let root = self.folder.join("handlers");
        let (mut told, mut silent, mut bare, mut messages) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..self.repeat.unwrap_or(3) {
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root)?;
            silent.push(ours::import(&self.binary, &path, &root, None)?.time);
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root)?;
            let receiver = handlers::Receiver::start()?;
            told.push(handlers::import(&self.binary, &path, &root, &receiver)?);
            let bodies = bodies_of(&root.join("eventferry.db"))?;
            messages = bodies.len() as u64;
            if receiver.taken() != messages {
                bail!("{} requests for {messages} messages", receiver.taken());
            }
            bare.push(handlers::send(&bodies, &receiver)?);
        }
        let _ = fs::remove_dir_all(&root);
        let times: Vec<Duration> = told.iter().map(|run| run.time).collect();
        let (told_in, silent_in, bare_in) = (median(&times), median(&silent), median(&bare));
        let speed = |time: Duration| grouped((messages as f64 / time.as_secs_f64()) as u64);
        let peak = told.iter().map(|run| run.peak_kib).max().unwrap_or(0);
        println!(
            "\n{} sessions, {} messages, {} at a time   (load {})",
            grouped(sessions),
            grouped(messages),
            handlers::CONCURRENCY,
            load()
        );
        println!(
            "    import, all told      {:>8.2} s  {:>9} messages/s  peak {:.1} MiB",
            told_in.as_secs_f64(),
            speed(told_in),
            mebibytes(peak * 1024)
        );
        println!("    import, handlers off  {:>8.2} s", silent_in.as_secs_f64());
        println!("    bare client           {:>8.2} s  {:>9} messages/s", bare_in.as_secs_f64(), speed(bare_in));
        println!("    ratio {:.3} to the bare client", bare_in.as_secs_f64() / told_in.as_secs_f64());
        Ok(())
    }

    fn tell(&mut self, database: &str, made: &Made, runs: &[Run], baselines: &[Duration]) {
        let times: Vec<Duration> = runs.iter().map(|run| run.time).collect();
        let (ours, raw) = (median(&times), median(baselines));
        let peak = runs.iter().map(|run| run.peak_kib).max().unwrap_or(0);
        let speed = |time: Duration| grouped((made.rows as f64 / time.as_secs_f64()) as u64);
        let all = |times: &[Duration]| {
            times.iter().map(|time| format!("{:.2}", time.as_secs_f64())).collect::<Vec<_>>().join(" ")
        };
        println!("  {database}   (load {})", load());
        println!("    import    {:>8.2} s  {:>9} rows/s  ({})", ours.as_secs_f64(), speed(ours), all(&times));
        println!("    raw       {:>8.2} s  {:>9} rows/s  ({})", raw.as_secs_f64(), speed(raw), all(baselines));
        let ratio = raw.as_secs_f64() / ours.as_secs_f64();
        self.judge(&format!("    ratio     {ratio:>8.3}"), ratio >= LEAST_RATIO, &format!("at least {LEAST_RATIO:.2}"));
        self.judge(&format!("    memory    {:>8.1} MiB", peak as f64 / 1024.0), peak < MOST_MEMORY, "under 64 MiB");
    }

    fn export(&mut self, sessions: u64) -> Result<()> {
        let path = self.folder.join(format!("{sessions}.zip"));
        let made = archive::write(&path, sessions, 7)?;
        let (root, out) = (self.folder.join("export"), self.folder.join("exported"));
        export::empty(&root)?;
        ours::import(&self.binary, &path, &root, None)?;
        let database = root.join("eventferry.db");
        let (mut runs, mut zips, mut pythons) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.repeat.unwrap_or(if sessions <= 200_000 { 3 } else { 1 }) {
            export::empty(&out)?;
            runs.push(ours::export(&self.binary, &root, &out)?);
            zips.push(export::sqlite_and_zip(&database, &out)?);
            pythons.push(export::python(&database, &out)?);
        }
        let best = |runs: &[Run]| runs.iter().map(|run| run.time).min().unwrap_or_default().as_secs_f64();
        let peak = |runs: &[Run]| runs.iter().map(|run| run.peak_kib).max().unwrap_or(0);
        let (ours, python) = (best(&runs), best(&pythons));
        let zip = zips.iter().min().copied().unwrap_or_default().as_secs_f64();
        let speed = |time: f64| grouped((sessions as f64 / time) as u64);
        println!(
            "\nExport of {} sessions and {} other records   (load {})",
            grouped(sessions),
            grouped(made.rows - sessions * 3),
            load()
        );
        println!("    archive                {ours:>8.2} s  {:>9} sessions/s", speed(ours));
        println!("    sqlite3 -json | zip -6 {zip:>8.2} s  {:>9} sessions/s", speed(zip));
        println!(
            "    Python                 {python:>8.2} s  {:>9} sessions/s  {:.0} MiB",
            speed(python),
            peak(&pythons) as f64 / 1024.0
        );
        let (least_zip, least_python) = LEAST_EXPORT_RATIOS;
        self.judge(&format!("    over zip  {:>8.2}", zip / ours), zip / ours >= least_zip, &format!("at least {least_zip}"));
        self.judge(
            &format!("    over Python {:>6.2}", python / ours),
            python / ours >= least_python,
            &format!("at least {least_python}"),
        );
        let memory = peak(&runs);
        self.judge(&format!("    memory    {:>8.1} MiB", memory as f64 / 1024.0), memory < MOST_MEMORY, "under 64 MiB");
        let _ = fs::remove_dir_all(&root);
        let _ = fs::remove_dir_all(&out);
        Ok(())
    }

    fn daemon(&mut self) -> Result<()> {
        let seen = daemon::measure(&self.binary, &self.folder)?;
        let worst = seen.first_byte.last().copied().unwrap_or(Duration::MAX);
        let median = seen.first_byte[seen.first_byte.len() / 2];
        println!("\nDaemon   (load {})", load());
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        self.judge(
            &format!("    from the rename to the first byte read: median {:.2} ms, worst {:.2} ms", millis(median), millis(worst)),
            worst < LONGEST_WAIT,
            "under 50 ms",
        );
        self.judge(
            &format!("    idle for a minute: {:.4} % of a core", seen.idle_share * 100.0),
            seen.idle_share < LARGEST_IDLE_SHARE,
            "under 0.1 %",
        );
        Ok(())
    }

    fn judge(&mut self, line: &str, is_good: bool, bound: &str) {
        self.failed |= !is_good;
        println!("{line}  {} ({bound})", if is_good { "PASS" } else { "FAIL" });
    }
}

/// Bodies that were delivered, read back from what ours has written.
fn bodies_of(database: &Path) -> Result<Vec<String>> {
    let database = rusqlite::Connection::open(database)?;
    let mut statement = database.prepare("SELECT body FROM deliveries WHERE state = 'delivered' ORDER BY id")?;
    let bodies = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(bodies)
}

/// The middle one, or what lies between the middle two.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    match (times.get(times.len().saturating_sub(1) / 2), times.get(times.len() / 2)) {
        (Some(one), Some(other)) => (*one + *other) / 2,
        _ => Duration::ZERO,
    }
}

fn expect_rows(rows: u64, made: &Made) -> Result<()> {
    if rows != made.rows {
        bail!("the import left {rows} rows behind, not {}", made.rows);
    }
    Ok(())
}

/// The migrations of a database, in their order.
pub fn migrations(folder: &Path, database: &str) -> Result<Vec<PathBuf>> {
    let ending = format!(".{database}.sql");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(&ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1)).unwrap_or(" ?");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    let total: u64 = total.unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores,{model}, {:.1} GiB; load {}", total as f64 / 1024.0 / 1024.0, load())
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
