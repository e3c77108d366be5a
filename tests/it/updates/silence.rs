//! Handlers that are off cost nothing: no chunk has a statement more.

use std::sync::{Arc, Mutex};

use eventferry::model::handler::{Action, Interest, Order, Per, WhenDown};
use eventferry::pace::Audience;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::fixtures::archive::Archive;
use crate::fixtures::importing::Ferry;

/// The statements of this thread, as the layer of the database names them.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

/// The words of one event.
#[derive(Default)]
struct Words(Vec<String>);

impl Visit for Words {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "statement" || field.name() == "table" {
            self.0.push(value.to_owned());
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.lock().unwrap().push(words.0.join(" "));
    }
}

pub(super) fn tickets() -> Interest {
    Interest {
        handler: "tickets".to_owned(),
        accounts: None,
        datasets: None,
        actions: vec![Action::Created, Action::Updated, Action::Gone],
        per: Per::Record,
        order: Order::PerRecord,
        source: "eventferry".to_owned(),
        max_pending: 1_000_000,
        when_down: WhenDown::Hold,
        down_after: std::time::Duration::from_hours(1),
    }
}

/// The statements of each chunk of an import: what stands between two commits and ends with a checkpoint.
async fn chunks(audience: Audience, with_handlers: bool) -> Vec<Vec<String>> {
    let mut ferry = Ferry::on_sqlite().await;
    ferry.audience = audience;
    ferry.account.with_handlers = with_handlers;
    ferry.chunk_records = 2;
    let heard = Heard::default();
    let filter = Targets::new().with_target("eventferry::db", tracing::Level::TRACE);
    let subscriber = tracing_subscriber::registry().with(heard.clone().with_filter(filter));
    let guard = tracing::subscriber::set_default(subscriber);
    ferry.import(Archive::dash().zip()).await.assert_clean();
    drop(guard);
    let heard = heard.0.lock().unwrap().clone();
    let of_transactions = heard.split(|statement| statement == "commit").map(<[String]>::to_vec);
    of_transactions.filter(|chunk| chunk.last().is_some_and(|last| last == "write a checkpoint")).collect()
}

#[tokio::test]
async fn handlers_that_are_off_add_no_statement_to_a_chunk() {
    let nobody = chunks(Audience::nobody(), false).await;
    assert!(nobody.len() > 5, "{nobody:#?}");
    let (_sender, interests) = watch::channel(vec![tickets()].into());
    assert_eq!(chunks(Audience::new(interests.clone()), false).await, nobody, "configured, and off");
    assert_eq!(chunks(Audience::nobody(), true).await, nobody, "on, and nobody listens");

    // The recorder would hear it: with handlers every chunk that writes records has two statements more.
    let told = chunks(Audience::new(interests), true).await;
    let more: Vec<String> = told.concat().into_iter().filter(|one| one == "write rows deliveries").collect();
    assert!(!more.is_empty());
    assert!(nobody.concat().iter().all(|one| !one.contains("deliveries")));
    assert_eq!(told.concat().len(), nobody.concat().len() + 2 * more.len());
}
