//! Every statement is one.

use std::fs;
use std::path::Path;

use eventferry::db::Sql;
use eventferry::store::{
    arrivals, deliveries, events, exports, handlers, jobs, mails, media, notifications, problems, programme, records,
    remembered, schedules,
};

use crate::support::databases::{TestDatabase, on_both_databases};

/// The statements of each module of `src/store`, which `architecture.rs` makes sure are all there are.
fn statements() -> Vec<(&'static str, Vec<Sql>)> {
    vec![
        ("arrivals", arrivals::statements()),
        ("deliveries", deliveries::STATEMENTS.into_iter().cloned().collect()),
        ("events", events::statements()),
        ("exports", exports::statements()),
        ("handlers", handlers::STATEMENTS.into_iter().cloned().collect()),
        ("jobs", jobs::statements()),
        ("mails", mails::STATEMENTS.into_iter().cloned().collect()),
        ("media", media::statements()),
        ("notifications", notifications::STATEMENTS.into_iter().cloned().collect()),
        ("problems", problems::statements()),
        ("programme", programme::statements()),
        ("records", records::statements()),
        ("remembered", remembered::STATEMENTS.into_iter().cloned().collect()),
        ("schedules", schedules::statements()),
    ]
}

#[test]
fn no_module_of_the_store_is_missing_here() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/mod.rs")).unwrap();
    let mut modules: Vec<&str> =
        source.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    modules.sort_unstable();
    let listed: Vec<&str> = statements().into_iter().map(|(module, _)| module).collect();
    assert_eq!(listed, modules);
}

on_both_databases! {
    async fn every_statement_can_be_prepared(database: TestDatabase) {
        let mut refused = Vec::new();
        for (module, statements) in statements() {
            assert!(!statements.is_empty(), "{module}");
            for statement in statements {
                if let Err(error) = database.prepare(&statement).await {
                    refused.push(format!("{module}: {error}"));
                }
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }

    async fn what_is_no_statement_cannot_be_prepared(database: TestDatabase) {
        for text in ["SELEC 1", "SELECT 1 FROM no_such_table", "SELECT no_such_column FROM jobs"] {
            let prepared = database.prepare(&Sql::same("nonsense", text)).await;
            assert!(prepared.unwrap_err().to_string().contains("nonsense"), "{text}");
        }
    }
}

/// A daemon that is frozen in the middle of a chunk holds locks that every other one waits for.
#[tokio::test]
async fn postgres_ends_a_transaction_that_stands_still_and_not_a_snapshot() {
    let database = TestDatabase::postgres().await;
    let limit = Sql::same("ask for a limit", "SELECT current_setting('idle_in_transaction_session_timeout')");
    for (mut tx, expected) in
        [(database.begin().await.unwrap(), "30s"), (database.begin_snapshot().await.unwrap(), "0")]
    {
        let found: String = tx.fetch_all(&limit, &[]).await.unwrap()[0].get(0).unwrap();
        assert_eq!(found, expected);
        tx.rollback().await.unwrap();
    }
}
