//! Every fail point has its visits: to fail there, to die there, and to abort there in the real program; on both databases, with the
//! picture of an undisturbed run at the end. A new point does not compile until [`scenario`] says who passes it; a scenario comes with
//! its six tests.

use std::time::Duration;

use eventferry::signal::{FailPoint, Injection};

use super::{exports, faults, handlers};
use crate::support::daemon::{Setup, TestDaemon};

/// What becomes of a daemon at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// The step fails.
    Failure,
    /// The daemon ends there, within the process of the test.
    Death,
    /// The real program, which has begun the work, aborts there.
    Abort,
}

/// Begins some work, strikes at a visit of a point (1 is the first one in it), and lets a new daemon go on where the old one is gone.
pub(super) async fn strike(
    daemon: &mut TestDaemon,
    blow: Blow,
    point: FailPoint,
    visit: u32,
    begin: impl FnOnce(&TestDaemon),
) {
    if blow == Blow::Abort {
        if daemon.is_alive() {
            daemon.stop().await;
        }
        begin(daemon);
        daemon.abort_at(point, visit).await;
        return daemon.start().await;
    }
    let visit = daemon.signals.visits(point) + visit;
    daemon.signals.inject(point, visit, if blow == Blow::Death { Injection::Die } else { Injection::Fail });
    begin(daemon);
    while daemon.signals.visits(point) < visit {
        daemon.clock.advance(Duration::from_millis(100));
        daemon.look().await;
    }
    if blow == Blow::Death {
        daemon.die().await;
        daemon.start().await;
    }
}

macro_rules! scenarios {
    ($($(#[$said:meta])* $scenario:ident in $module:ident: $each:path,)+) => {
        /// Something that a daemon does, which passes points that are visited in it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Scenario {
            $($(#[$said])* $scenario,)+
        }

        $(mod $module {
            use super::*;

            #[tokio::test]
            async fn a_failure_at_each_point_leaves_no_trace_on_sqlite() {
                $each(&points_of(Scenario::$scenario), Setup::sqlite, Blow::Failure).await;
            }

            #[tokio::test]
            async fn a_failure_at_each_point_leaves_no_trace_on_postgres() {
                $each(&points_of(Scenario::$scenario), Setup::postgres, Blow::Failure).await;
            }

            #[tokio::test]
            async fn a_death_at_each_point_leaves_no_trace_on_sqlite() {
                $each(&points_of(Scenario::$scenario), Setup::sqlite, Blow::Death).await;
            }

            #[tokio::test]
            async fn a_death_at_each_point_leaves_no_trace_on_postgres() {
                $each(&points_of(Scenario::$scenario), Setup::postgres, Blow::Death).await;
            }

            #[tokio::test]
            async fn an_abort_at_each_point_leaves_no_trace_on_sqlite() {
                $each(&points_of(Scenario::$scenario), Setup::sqlite, Blow::Abort).await;
            }

            #[tokio::test]
            async fn an_abort_at_each_point_leaves_no_trace_on_postgres() {
                $each(&points_of(Scenario::$scenario), Setup::postgres, Blow::Abort).await;
            }
        })+
    };
}

scenarios! {
    /// An archive is dropped, imported and reported.
    Import in import: faults::each_point,
    /// An event that its job has made is taken back after a cancel.
    TakingBack in taking_back: faults::each_step_back,
    /// A schedule is due.
    Export in export: exports::each_point,
    /// Handlers are told of an import.
    Messages in messages: handlers::crashes::each_point,
}

/// Where a point is visited. A scenario may visit points of others as well, where it passes them in its own way.
fn scenario(point: FailPoint) -> Scenario {
    match point {
        FailPoint::ClaimBeforeRename
        | FailPoint::ClaimAfterRename
        | FailPoint::ClaimAfterRow
        | FailPoint::Checked
        | FailPoint::ChunkBeforeCommit
        | FailPoint::ChunkAfterCommit
        | FailPoint::MediaBeforeRow
        | FailPoint::Frozen
        | FailPoint::ResultFilesBeforeManifest
        | FailPoint::ResultFilesWritten
        | FailPoint::FinalBeforeMove
        | FailPoint::MovedBeforeRow
        | FailPoint::MailBeforeSend
        | FailPoint::MailAfterSend => Scenario::Import,
        FailPoint::TakingBackAfterCommit => Scenario::TakingBack,
        FailPoint::SlotTaken | FailPoint::ExportBeforePublish | FailPoint::ExportAfterPublish => Scenario::Export,
        FailPoint::MessageBeforeSend | FailPoint::MessageAfterSend => Scenario::Messages,
    }
}

/// The points that a scenario has to visit, in their order.
pub(super) fn points_of(wanted: Scenario) -> Vec<FailPoint> {
    FailPoint::ALL.into_iter().filter(|point| scenario(*point) == wanted).collect()
}
