//! Every statement is one.

use std::fs;
use std::path::Path;

use eventferry::db::Sql;
use eventferry::store::{
    arrivals, events, exports, jobs, mails, media, notifications, problems, programme, records, schedules,
};

use crate::support::databases::on_both_databases;

/// The statements of each module of `src/store`, which `architecture.rs` makes sure are all there are.
fn statements() -> Vec<(&'static str, Vec<Sql>)> {
    vec![
        ("arrivals", arrivals::statements()),
        ("events", events::statements()),
        ("exports", exports::statements()),
        ("jobs", jobs::statements()),
        ("mails", mails::STATEMENTS.into_iter().cloned().collect()),
        ("media", media::statements()),
        ("notifications", notifications::STATEMENTS.into_iter().cloned().collect()),
        ("problems", problems::statements()),
        ("programme", programme::statements()),
        ("records", records::statements()),
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
