//! A database of its own for each test, in the throwaway PostgreSQL that `tests/run` starts.

use std::env;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the cluster: `postgres://user:password@host:port/postgres`, a superuser's.
const CLUSTER: &str = "EVENTFERRY_TEST_POSTGRES";

/// Names the `psql` of the same version.
const PSQL: &str = "EVENTFERRY_TEST_PSQL";

/// An empty database. It is dropped with this value, whoever is still connected.
#[derive(Debug)]
pub(crate) struct PostgresDatabase {
    name: String,
}

impl PostgresDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// Where `tests/run` has not started a cluster.
    pub(crate) fn create() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{made}", process::id());
        // A test that was killed leaves its database behind, and process ids come again.
        run(&url_of("postgres"), &drop_statement(&name)).unwrap_or_else(|error| panic!("{error}"));
        run(&url_of("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0"))
            .unwrap_or_else(|error| panic!("{error}"));
        Self { name }
    }

    /// Where it is, with user and password.
    pub(crate) fn url(&self) -> String {
        url_of(&self.name)
    }

    /// Runs SQL from outside of the code under test and gives what `psql` prints: a line per row, `|` between columns.
    pub(crate) fn sql(&self, text: &str) -> String {
        run(&self.url(), text).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let dropped = run(&url_of("postgres"), &drop_statement(&self.name));
        // A second panic would hide why the test failed.
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}

fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
}

fn url_of(database: &str) -> String {
    let cluster = setting(CLUSTER);
    let (server, _) = cluster.rsplit_once('/').expect("a cluster's URL ends with the name of a database");
    format!("{server}/{database}")
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("this test needs PostgreSQL, and `{name}` is not set: start the tests with `tests/run`")
    })
}

fn run(url: &str, statement: &str) -> Result<String, String> {
    let output = Command::new(setting(PSQL))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", url, "--command", statement])
        .env("PGOPTIONS", "--client-min-messages=warning")
        .output()
        .map_err(|error| format!("cannot start psql: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("psql refused `{statement}`: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn each_test_has_a_database_of_its_own() {
    let one = PostgresDatabase::create();
    let other = PostgresDatabase::create();
    one.sql("CREATE TABLE mine (word text)");
    one.sql("INSERT INTO mine VALUES ('a'), ('b')");
    assert_eq!(one.sql("SELECT word, length(word) FROM mine ORDER BY word"), "a|1\nb|1\n");
    assert_eq!(other.sql("SELECT count(*) FROM information_schema.tables WHERE table_name = 'mine'"), "0\n");
}

#[test]
fn a_database_is_gone_after_its_test_though_somebody_is_still_connected() {
    let watcher = PostgresDatabase::create();
    let database = PostgresDatabase::create();
    let name = database.name.clone();
    let mut guest = Command::new(setting(PSQL))
        .args(["--no-psqlrc", "--quiet", "--dbname", &database.url()])
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .stderr(process::Stdio::null())
        .spawn()
        .unwrap();
    // An answer shows that the guest is connected.
    let mut questions = guest.stdin.take().unwrap();
    std::io::Write::write_all(&mut questions, b"\\echo here\n").unwrap();
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(guest.stdout.take().unwrap()), &mut answer).unwrap();
    assert_eq!(answer, "here\n");

    drop(database);

    assert_eq!(watcher.sql(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), "0\n");
    drop(questions);
    guest.wait().unwrap();
}
