//! What every database must do with jobs.

use chrono::TimeDelta;
use eventferry::clock::Timestamp;
use eventferry::db::{Arg, Database, Sql};
use eventferry::model::{JobId, JobState};
use eventferry::store::jobs::{
    self, Blame, CancelRequested, Cancellation, CheckpointUpdate, ClaimRequest, ClaimedJob, Ending, Filter, Frozen,
    Insertion, JobKind, JobView, Lease, LeaseError, Lookup, MustEnd, NewJob, OwnerId, SourceState, SourceTurn,
};
use uuid::Uuid;

use crate::support::databases::{TestDatabase, on_both_databases};

/// Ids that sort by their number.
fn id(number: u128) -> JobId {
    JobId(Uuid::from_u128(0x0193_5000_0000_7000_8000_0000_0000_0000 + number))
}

fn owner(number: u128) -> OwnerId {
    OwnerId(Uuid::from_u128(number))
}

fn start() -> Timestamp {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + TimeDelta::seconds(seconds)
}

fn new_job(number: u128, account: &str) -> NewJob {
    NewJob {
        id: id(number),
        kind: JobKind::Import,
        account: account.to_owned(),
        archive_name: format!("archive-{number}.zip"),
        archive_bytes: 1000 + u64::try_from(number).unwrap(),
        source_key: None,
        again: false,
        retry_of: None,
        with_handlers: None,
        created_at: start(),
    }
}

fn of_source(number: u128, key: &str) -> NewJob {
    NewJob { source_key: Some(key.to_owned()), ..new_job(number, "a") }
}

fn request(owner_number: u128) -> ClaimRequest {
    ClaimRequest {
        owner: owner(owner_number),
        per_account: 2,
        strikes: 5,
        attempts: 3,
        now: start(),
        horizon: after(3600),
    }
}

async fn insert(database: &Database, job: NewJob) -> Insertion {
    jobs::insert(database, &job).await.unwrap()
}

async fn claim(database: &Database, request: &ClaimRequest) -> (Lease, ClaimedJob) {
    jobs::claim_next(database, request).await.unwrap().expect("there is a job to claim")
}

async fn claimed_ids(database: &Database, request: &ClaimRequest) -> Vec<JobId> {
    let mut ids = Vec::new();
    while let Some((lease, _)) = jobs::claim_next(database, request).await.unwrap() {
        ids.push(lease.job);
    }
    ids
}

async fn job(database: &Database, number: u128) -> JobView {
    match jobs::get(database, &id(number).to_string()).await.unwrap() {
        Lookup::Found(view) => *view,
        other => panic!("job {number} is {other:?}"),
    }
}

async fn end(database: &Database, lease: &Lease, state: JobState) -> Option<JobId> {
    let mut tx = database.begin().await.unwrap();
    let freed = jobs::finish(&mut tx, lease, &ending(state)).await.unwrap();
    tx.commit().await.unwrap();
    freed
}

fn ending(state: JobState) -> Ending {
    Ending {
        state,
        summary: "it is over".to_owned(),
        result_folder: Some("outbox/a/x".to_owned()),
        finished_at: after(60),
    }
}

fn checkpoint_at(done: u64) -> CheckpointUpdate {
    CheckpointUpdate {
        stage: "importing sessions".to_owned(),
        stage_done: done,
        stage_total: 371,
        checkpoint: r#"{"b": 1,  "a": [2]}"#.to_owned(),
        event_id: Some(7),
        event_created: true,
    }
}

async fn checkpoint(database: &Database, lease: &Lease, done: u64) -> Result<CancelRequested, LeaseError> {
    let mut tx = database.begin().await.unwrap();
    let requested = jobs::checkpoint(&mut tx, lease, &checkpoint_at(done)).await?;
    tx.commit().await.unwrap();
    Ok(requested)
}

fn is_fenced<T: std::fmt::Debug>(result: &Result<T, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::Fenced(_)))
}

on_both_databases! {
    async fn every_statement_is_one(database: TestDatabase) {
        for statement in jobs::statements() {
            database.prepare(&statement).await.unwrap();
        }
    }

    async fn a_new_job_is_queued_and_stays_as_it_is_when_inserted_again(database: TestDatabase) {
        let job_seven = NewJob { again: true, retry_of: Some(id(3)), ..new_job(7, "a") };
        assert_eq!(insert(&database, job_seven.clone()).await, Insertion::New { blocked_on: None });
        let before = job(&database, 7).await;
        let other = NewJob { archive_name: "other.zip".to_owned(), ..job_seven };
        assert_eq!(insert(&database, other).await, Insertion::Known);
        assert_eq!(job(&database, 7).await, before);
        assert_eq!(before, JobView {
            id: id(7),
            kind: "import".to_owned(),
            account: "a".to_owned(),
            state: JobState::Queued,
            archive_name: "archive-7.zip".to_owned(),
            archive_bytes: 1007,
            archive_sha256: None,
            source_key: None,
            again: true,
            retry_of: Some(id(3)),
            with_handlers: None,
            related_job: None,
            created_at: start(),
            run_at: start(),
            started_at: None,
            finished_at: None,
            attempts: 0,
            outages: 0,
            strikes: 0,
            cancel_requested: false,
            last_trouble: None,
            waits_for: None,
            waits_since: None,
            blocked_on: None,
            stage: None,
            stage_done: 0,
            stage_total: 0,
            event_id: None,
            event_created: false,
            summary: None,
            result_folder: None,
            source_state: SourceState::Held,
            source_path: None,
            is_held: false,
            waits_detail: None,
        });
    }

    async fn a_claim_gives_the_oldest_job_once(database: TestDatabase) {
        for number in [2, 1, 3] {
            insert(&database, new_job(number, "a")).await;
        }
        let request = ClaimRequest { per_account: 9, now: after(5), ..request(1) };
        let (lease, claimed) = claim(&database, &request).await;
        assert_eq!(lease, Lease { job: id(1), owner: owner(1), epoch: 1 });
        assert_eq!(claimed.job.state, JobState::Running);
        assert_eq!(claimed.job.started_at, Some(after(5)));
        assert_eq!((claimed.checkpoint, claimed.outcome, claimed.must_end), (None, None, None));
        assert_eq!(claimed_ids(&database, &request).await, [id(2), id(3)]);
        assert_eq!(claimed_ids(&database, &ClaimRequest { owner: owner(2), ..request }).await, []);
    }

    async fn the_account_with_the_fewest_running_jobs_comes_first_and_then_the_one_served_least_recently(database: TestDatabase) {
        for (number, account) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")] {
            insert(&database, new_job(number, account)).await;
        }
        let at = |seconds| ClaimRequest { per_account: 9, now: after(seconds), ..request(1) };
        // Nobody was served yet: the oldest job. Then those without a running job, the oldest first.
        assert_eq!(claim(&database, &at(1)).await.0.job, id(1));
        let (of_b, _) = claim(&database, &at(2)).await;
        assert_eq!(of_b.job, id(4));
        assert_eq!(claim(&database, &at(3)).await.0.job, id(6));
        // `b` runs nothing.
        end(&database, &of_b, JobState::Succeeded).await;
        assert_eq!(claim(&database, &at(4)).await.0.job, id(5));
        // `a`, `b` and `c` run one each; `a` was served first, and `c` and `b` have nothing left.
        insert(&database, new_job(7, "c")).await;
        assert_eq!(claim(&database, &at(5)).await.0.job, id(2));
        assert_eq!(claim(&database, &at(6)).await.0.job, id(7));
        assert_eq!(claim(&database, &at(7)).await.0.job, id(3));
    }

    async fn a_process_runs_only_so_many_jobs_of_one_account(database: TestDatabase) {
        for number in 1..=4 {
            insert(&database, new_job(number, "a")).await;
        }
        insert(&database, new_job(5, "b")).await;
        assert_eq!(claimed_ids(&database, &request(1)).await, [id(1), id(5), id(2)]);
        assert_eq!(claimed_ids(&database, &request(2)).await, [id(3), id(4)]);
    }

    async fn a_job_is_not_claimed_before_it_is_due(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        jobs::retry_later(&database, &lease, "no answer", after(30), after(0)).await.unwrap();
        let at = |seconds| ClaimRequest { now: after(seconds), horizon: after(seconds + 3600), ..request(1) };
        assert_eq!(claimed_ids(&database, &at(29)).await, []);
        assert_eq!(claimed_ids(&database, &at(30)).await, [id(1)]);
    }

    async fn a_wall_clock_that_was_set_back_holds_up_no_job(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let yesterday = ClaimRequest { now: after(-86_400), horizon: after(-86_400 + 3600), ..request(1) };
        assert_eq!(claimed_ids(&database, &yesterday).await, [id(1)]);
    }

    async fn a_job_of_a_kind_that_is_not_known_is_left_alone(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        database.execute(&Sql::same("rename", "UPDATE jobs SET kind = 'levitate'"), &[]).await.unwrap();
        assert_eq!(claimed_ids(&database, &request(1)).await, []);
        assert_eq!(jobs::queued(&database).await.unwrap(), 0);
        assert_eq!(job(&database, 1).await.kind, "levitate");
    }

    async fn two_daemons_claim_each_job_once(database: TestDatabase) {
        for number in 0..20 {
            insert(&database, new_job(number, if number % 2 == 0 { "a" } else { "b" })).await;
        }
        let other = database.open_again().await;
        let (many, few) = (ClaimRequest { per_account: 99, ..request(1) }, ClaimRequest { per_account: 99, ..request(2) });
        let (mine, theirs) = tokio::join!(claimed_ids(&database, &many), claimed_ids(&other, &few));
        let mut all = [mine, theirs].concat();
        all.sort();
        assert_eq!(all, (0..20).map(id).collect::<Vec<_>>());
    }

    async fn a_checkpoint_is_kept_byte_for_byte_with_the_progress(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        assert_eq!(checkpoint(&database, &lease, 240).await.unwrap(), CancelRequested(false));
        let view = job(&database, 1).await;
        assert_eq!(view.progress().as_deref(), Some("Importing sessions (240/371)"));
        assert_eq!((view.event_id, view.event_created), (Some(7), true));

        jobs::release(&database, &lease, after(1)).await.unwrap();
        let (_, claimed) = claim(&database, &ClaimRequest { now: after(1), ..request(2) }).await;
        assert_eq!(claimed.checkpoint.as_deref(), Some(r#"{"b": 1,  "a": [2]}"#));
        assert_eq!(claimed.job.started_at, Some(start()));
    }

    async fn a_checkpoint_that_is_rolled_back_never_was(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        let mut tx = database.begin().await.unwrap();
        jobs::checkpoint(&mut tx, &lease, &checkpoint_at(240)).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(job(&database, 1).await.progress(), None);
    }

    async fn progress_without_a_checkpoint_leaves_strikes_alone(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        jobs::strike(&database, &lease, "it fell over", start()).await.unwrap();
        let (lease, _) = claim(&database, &request(1)).await;
        assert_eq!(
            jobs::note_progress(&database, &lease, "checking", 1, 0).await.unwrap(),
            CancelRequested(false)
        );
        assert_eq!(job(&database, 1).await.strikes, 1);
        assert_eq!(job(&database, 1).await.progress().as_deref(), Some("Checking"));
        checkpoint(&database, &lease, 1).await.unwrap();
        assert_eq!(job(&database, 1).await.strikes, 0);
    }

    async fn every_late_update_is_refused_and_changes_nothing(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        insert(&database, new_job(2, "a")).await;
        let (frozen_daemon, _) = claim(&database, &request(1)).await;
        let seen = jobs::running_of_others(&database, owner(2)).await.unwrap();
        assert!(jobs::rescue(&database, &seen[0], Blame::Strike).await.unwrap());
        let (holder, _) = claim(&database, &request(2)).await;
        assert_eq!((holder.job, holder.epoch), (id(1), 2));
        let before = job(&database, 1).await;

        let late = &frozen_daemon;
        assert!(is_fenced(&checkpoint(&database, late, 9).await));
        assert!(is_fenced(&jobs::note_progress(&database, late, "checking", 0, 0).await));
        assert!(is_fenced(&jobs::release(&database, late, after(1)).await));
        assert!(is_fenced(&jobs::snooze(&database, late, "x", after(9), after(1)).await));
        assert!(is_fenced(&jobs::retry_later(&database, late, "x", after(9), after(1)).await));
        assert!(is_fenced(&jobs::strike(&database, late, "x", after(9)).await));
        assert!(is_fenced(&jobs::block_on(&database, late, id(2), after(1)).await));
        assert!(is_fenced(&jobs::take_source_turn(&database, late, "key").await));
        let mut tx = database.begin().await.unwrap();
        assert!(is_fenced(&jobs::freeze(&mut tx, late, &frozen()).await));
        assert!(is_fenced(&jobs::finish(&mut tx, late, &ending(JobState::Succeeded)).await));
        tx.commit().await.unwrap();
        assert_eq!(jobs::beat(&database, late.owner).await.unwrap(), []);
        assert!(!jobs::is_held(&database, late).await.unwrap());

        assert_eq!(job(&database, 1).await, before);
        assert!(jobs::is_held(&database, &holder).await.unwrap());
        checkpoint(&database, &holder, 9).await.unwrap();
    }

    async fn a_soft_stop_uses_up_nothing(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        jobs::release(&database, &lease, after(1)).await.unwrap();
        let view = job(&database, 1).await;
        assert_eq!((view.state, view.attempts, view.outages, view.strikes), (JobState::Queued, 0, 0, 0));
    }

    async fn an_outage_pauses_since_its_begin_and_uses_up_no_attempt(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        for round in 0..4 {
            let (lease, _) = claim(&database, &ClaimRequest { now: after(round * 10), ..request(1) }).await;
            assert_eq!(job(&database, 1).await.waits_for, None);
            jobs::snooze(&database, &lease, "the disk is full", after(round * 10 + 10), after(round * 10 + 1)).await.unwrap();
        }
        let view = job(&database, 1).await;
        assert_eq!((view.state, view.attempts, view.outages), (JobState::Paused, 0, 4));
        assert_eq!((view.waits_for.as_deref(), view.waits_since), (Some("the disk is full"), Some(after(1))));

        let (lease, _) = claim(&database, &ClaimRequest { now: after(40), ..request(1) }).await;
        checkpoint(&database, &lease, 1).await.unwrap();
        jobs::snooze(&database, &lease, "the disk is full", after(60), after(50)).await.unwrap();
        let view = job(&database, 1).await;
        assert_eq!((view.outages, view.waits_since), (1, Some(after(50))));
    }

    async fn a_job_that_has_used_up_its_attempts_is_handed_out_to_be_ended(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        for attempt in 0..3 {
            let (lease, claimed) = claim(&database, &request(1)).await;
            assert_eq!(claimed.must_end, None, "attempt {attempt}");
            jobs::retry_later(&database, &lease, &format!("trouble {attempt}"), start(), start()).await.unwrap();
            assert_eq!(job(&database, 1).await.waits_for, Some(format!("trouble {attempt}")));
        }
        let (_, claimed) = claim(&database, &request(1)).await;
        assert_eq!(claimed.must_end, Some(MustEnd::Exhausted { reason: "trouble 2".to_owned() }));
    }

    async fn a_job_whose_process_died_five_times_is_handed_out_to_be_ended(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        for death in 0..5 {
            let (_, claimed) = claim(&database, &request(1)).await;
            assert_eq!(claimed.must_end, None, "death {death}");
            let seen = jobs::running_of_others(&database, owner(2)).await.unwrap();
            assert!(jobs::rescue(&database, &seen[0], Blame::Strike).await.unwrap());
        }
        let (_, claimed) = claim(&database, &request(1)).await;
        assert_eq!(claimed.must_end, Some(MustEnd::Quarantined { strikes: 5 }));
    }

    async fn a_death_after_a_soft_stop_is_no_strike(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        claim(&database, &request(1)).await;
        let seen = jobs::running_of_others(&database, owner(2)).await.unwrap();
        assert!(jobs::rescue(&database, &seen[0], Blame::None).await.unwrap());
        let view = job(&database, 1).await;
        assert_eq!((view.state, view.strikes), (JobState::Queued, 0));
    }

    async fn a_sign_of_life_prevents_the_rescue(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        assert_eq!(jobs::running_of_others(&database, owner(1)).await.unwrap(), []);
        let seen = jobs::running_of_others(&database, owner(2)).await.unwrap();
        assert_eq!(jobs::beat(&database, owner(1)).await.unwrap(), [(id(1), lease.epoch)]);
        assert!(!jobs::rescue(&database, &seen[0], Blame::Strike).await.unwrap());
        let seen = jobs::running_of_others(&database, owner(2)).await.unwrap();
        checkpoint(&database, &lease, 1).await.unwrap();
        assert!(!jobs::rescue(&database, &seen[0], Blame::Strike).await.unwrap());
        assert!(jobs::is_held(&database, &lease).await.unwrap());
    }

    async fn imports_of_one_source_run_in_the_order_of_their_arrival(database: TestDatabase) {
        for number in 1..=3 {
            let blocked_on = (number > 1).then(|| id(number - 1));
            assert_eq!(insert(&database, of_source(number, "k")).await, Insertion::New { blocked_on });
        }
        assert_eq!(
            insert(&database, NewJob { account: "b".to_owned(), ..of_source(4, "k") }).await,
            Insertion::New { blocked_on: None }
        );
        assert_eq!(insert(&database, of_source(5, "other")).await, Insertion::New { blocked_on: None });
        let view = job(&database, 2).await;
        assert_eq!(view.state, JobState::Blocked);
        assert_eq!(
            view.waits_for,
            Some(format!("job {} (`archive-1.zip`), an import into the same event", id(1)))
        );
        assert_eq!((view.waits_since, view.blocked_on), (Some(start()), Some(id(1))));

        let request = ClaimRequest { per_account: 9, ..request(1) };
        let (first, _) = claim(&database, &request).await;
        assert_eq!(first.job, id(1));
        assert_eq!(claimed_ids(&database, &request).await, [id(4), id(5)]);
        assert_eq!(end(&database, &first, JobState::Failed).await, Some(id(2)));
        assert_eq!(job(&database, 3).await.state, JobState::Blocked);
        let (second, _) = claim(&database, &request).await;
        assert_eq!(second.job, id(2));
        assert_eq!(claimed_ids(&database, &request).await, []);
        assert_eq!(end(&database, &second, JobState::Succeeded).await, Some(id(3)));
        assert_eq!(claimed_ids(&database, &request).await, [id(3)]);
    }

    async fn a_running_job_that_learns_its_source_waits_for_the_earlier_ones(database: TestDatabase) {
        for number in 1..=3 {
            insert(&database, new_job(number, "a")).await;
        }
        let request = ClaimRequest { per_account: 9, ..request(1) };
        let (first, _) = claim(&database, &request).await;
        let (second, _) = claim(&database, &request).await;
        let (third, _) = claim(&database, &request).await;

        // The third learns it first and has the turn; nobody else gets it before the third has ended.
        assert_eq!(jobs::take_source_turn(&database, &third, "k").await.unwrap(), SourceTurn::Granted);
        assert_eq!(jobs::take_source_turn(&database, &first, "k").await.unwrap(), SourceTurn::BlockedOn(id(3)));
        jobs::block_on(&database, &first, id(3), after(1)).await.unwrap();
        assert_eq!(jobs::take_source_turn(&database, &second, "k").await.unwrap(), SourceTurn::BlockedOn(id(1)));
        jobs::block_on(&database, &second, id(1), after(1)).await.unwrap();
        assert_eq!(jobs::take_source_turn(&database, &third, "k").await.unwrap(), SourceTurn::Granted);

        // A new claim of the third keeps the turn.
        jobs::release(&database, &third, start()).await.unwrap();
        let (third, _) = claim(&database, &request).await;
        assert_eq!(jobs::take_source_turn(&database, &third, "k").await.unwrap(), SourceTurn::Granted);

        assert_eq!(end(&database, &third, JobState::Succeeded).await, Some(id(1)));
        let (first, _) = claim(&database, &request).await;
        assert_eq!(jobs::take_source_turn(&database, &first, "k").await.unwrap(), SourceTurn::Granted);
        assert_eq!(end(&database, &first, JobState::Succeeded).await, Some(id(2)));
    }

    async fn those_who_wait_for_one_job_line_up_behind_the_oldest(database: TestDatabase) {
        for number in 1..=4 {
            insert(&database, new_job(number, "a")).await;
        }
        let request = ClaimRequest { per_account: 9, ..request(1) };
        let mut leases = Vec::new();
        for _ in 1..=4 {
            leases.push(claim(&database, &request).await.0);
        }
        for late in [3, 1, 2] {
            jobs::block_on(&database, &leases[late], id(1), after(5)).await.unwrap();
        }
        assert_eq!(end(&database, &leases[0], JobState::Succeeded).await, Some(id(2)));
        for waiting in [3, 4] {
            let view = job(&database, waiting).await;
            assert_eq!((view.state, view.blocked_on, view.waits_since), (JobState::Blocked, Some(id(2)), Some(after(5))));
            assert!(view.waits_for.unwrap().contains("archive-2.zip"));
        }
    }

    async fn a_job_does_not_wait_for_one_that_has_ended_meanwhile(database: TestDatabase) {
        for number in 1..=2 {
            insert(&database, new_job(number, "a")).await;
        }
        let (first, _) = claim(&database, &request(1)).await;
        let (second, _) = claim(&database, &request(1)).await;
        end(&database, &first, JobState::Succeeded).await;
        jobs::block_on(&database, &second, id(1), after(1)).await.unwrap();
        assert_eq!(job(&database, 2).await.state, JobState::Queued);
    }

    async fn a_job_that_was_cancelled_while_it_ran_waits_for_nobody(database: TestDatabase) {
        for number in 1..=2 {
            insert(&database, new_job(number, "a")).await;
        }
        claim(&database, &request(1)).await;
        let (second, _) = claim(&database, &request(1)).await;
        jobs::cancel(&database, id(2), after(1)).await.unwrap();
        jobs::block_on(&database, &second, id(1), after(1)).await.unwrap();
        let view = job(&database, 2).await;
        assert_eq!((view.state, view.blocked_on), (JobState::Queued, None));
    }

    async fn a_job_that_waits_for_nothing_is_freed_by_the_sweep(database: TestDatabase) {
        for number in 1..=3 {
            insert(&database, of_source(number, "k")).await;
        }
        assert_eq!(jobs::free_stranded(&database).await.unwrap(), 0);
        database.execute(&Sql::same("lose", "DELETE FROM jobs WHERE id = $1"), &[Arg::from(id(1))]).await.unwrap();
        assert_eq!(jobs::free_stranded(&database).await.unwrap(), 1);
        let view = job(&database, 2).await;
        assert_eq!((view.state, view.blocked_on, view.waits_for), (JobState::Queued, None, None));
        assert_eq!(job(&database, 3).await.blocked_on, Some(id(2)));
    }

    async fn jobs_that_wait_are_handed_out_at_once_to_be_cancelled(database: TestDatabase) {
        for number in 1..=3 {
            insert(&database, of_source(number, &format!("k{}", number.min(2)))).await;
        }
        insert(&database, new_job(4, "b")).await;
        let (paused, _) = claim(&database, &request(1)).await;
        jobs::snooze(&database, &paused, "the disk is full", after(600), start()).await.unwrap();
        assert_eq!(job(&database, 3).await.state, JobState::Blocked);
        for number in 1..=4 {
            assert_eq!(jobs::cancel(&database, id(number), after(1)).await.unwrap(), Cancellation::Requested);
            let view = job(&database, number).await;
            assert_eq!((view.state, view.cancel_requested, view.waits_for), (JobState::Queued, true, None));
        }
        let now = ClaimRequest { per_account: 9, now: after(1), ..request(1) };
        assert_eq!(claimed_ids(&database, &now).await.len(), 4);
    }

    async fn a_running_job_sees_at_its_next_checkpoint_that_it_is_cancelled(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        assert_eq!(jobs::cancel(&database, id(1), after(1)).await.unwrap(), Cancellation::Requested);
        assert_eq!(jobs::cancel(&database, id(1), after(2)).await.unwrap(), Cancellation::Requested);
        assert_eq!(job(&database, 1).await.state, JobState::Running);
        assert_eq!(checkpoint(&database, &lease, 1).await.unwrap(), CancelRequested(true));
        assert_eq!(
            jobs::note_progress(&database, &lease, "checking", 0, 0).await.unwrap(),
            CancelRequested(true)
        );
        let mut tx = database.begin().await.unwrap();
        assert_eq!(jobs::freeze(&mut tx, &lease, &frozen()).await.unwrap(), CancelRequested(true));
    }

    async fn nobody_cancels_a_job_whose_outcome_is_frozen_or_that_has_ended_or_that_is_not_there(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        let mut tx = database.begin().await.unwrap();
        assert_eq!(jobs::freeze(&mut tx, &lease, &frozen()).await.unwrap(), CancelRequested(false));
        tx.commit().await.unwrap();
        assert_eq!(jobs::cancel(&database, id(1), after(1)).await.unwrap(), Cancellation::TooLate);
        jobs::release(&database, &lease, start()).await.unwrap();
        assert_eq!(jobs::cancel(&database, id(1), after(1)).await.unwrap(), Cancellation::TooLate);
        let (lease, claimed) = claim(&database, &request(1)).await;
        assert_eq!(claimed.outcome.as_deref(), Some(r#"{"state":  "partial"}"#));
        end(&database, &lease, JobState::Partial).await;
        assert_eq!(jobs::cancel(&database, id(1), after(1)).await.unwrap(), Cancellation::Ended(JobState::Partial));
        assert_eq!(jobs::cancel(&database, id(2), after(1)).await.unwrap(), Cancellation::Unknown);
    }

    async fn an_outcome_is_frozen_once(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        let mut tx = database.begin().await.unwrap();
        jobs::freeze(&mut tx, &lease, &frozen()).await.unwrap();
        assert!(is_fenced(&jobs::freeze(&mut tx, &lease, &frozen()).await));
    }

    async fn an_ended_job_keeps_the_time_of_its_outcome_and_waits_to_be_moved(database: TestDatabase) {
        insert(&database, new_job(1, "a")).await;
        let (lease, _) = claim(&database, &request(1)).await;
        let mut tx = database.begin().await.unwrap();
        jobs::freeze(&mut tx, &lease, &frozen()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(jobs::sources_to_move(&database, None, None, 10).await.unwrap(), []);
        assert_eq!(end(&database, &lease, JobState::Partial).await, None);

        let view = job(&database, 1).await;
        assert_eq!((view.state, view.finished_at), (JobState::Partial, Some(after(50))));
        assert_eq!(view.summary.as_deref(), Some("it is over"));
        assert_eq!(view.result_folder.as_deref(), Some("outbox/a/x"));
        assert_eq!(view.archive_sha256.as_deref(), Some("00ff"));
        assert_eq!(view.source_state, SourceState::Leaving);
        assert_eq!(jobs::state_of(&database, id(1)).await.unwrap(), Some(JobState::Partial));

        let to_move = jobs::sources_to_move(&database, None, None, 10).await.unwrap();
        assert_eq!(to_move.len(), 1);
        assert_eq!((to_move[0].job, to_move[0].state, to_move[0].finished_at), (id(1), JobState::Partial, after(50)));
        jobs::mark_moved(&database, id(1), Some("done/a/archive-1.zip")).await.unwrap();
        jobs::mark_moved(&database, id(1), Some("elsewhere")).await.unwrap();
        assert_eq!(jobs::sources_to_move(&database, None, None, 10).await.unwrap(), []);
        let view = job(&database, 1).await;
        assert_eq!((view.source_state, view.source_path.as_deref()), (SourceState::Moved, Some("done/a/archive-1.zip")));
    }

    async fn jobs_are_listed_newest_first_by_account_and_state(database: TestDatabase) {
        for (number, account) in [(1, "a"), (2, "b"), (3, "a"), (4, "a")] {
            insert(&database, new_job(number, account)).await;
        }
        let (lease, _) = claim(&database, &request(1)).await;
        end(&database, &lease, JobState::Failed).await;
        claim(&database, &request(1)).await;

        let listed = async |filter: Filter| {
            jobs::list(&database, &filter).await.unwrap().iter().map(|view| view.id).collect::<Vec<_>>()
        };
        let all = Filter { limit: 9, ..Filter::default() };
        assert_eq!(listed(all.clone()).await, [id(4), id(3), id(2), id(1)]);
        assert_eq!(listed(Filter { limit: 2, ..all.clone() }).await, [id(4), id(3)]);
        assert_eq!(listed(Filter { account: Some("b".to_owned()), ..all.clone() }).await, [id(2)]);
        let two = vec![JobState::Failed, JobState::Running];
        assert_eq!(listed(Filter { states: two.clone(), ..all.clone() }).await, [id(2), id(1)]);
        assert_eq!(listed(Filter { states: two, account: Some("a".to_owned()), ..all }).await, [id(1)]);

        let counted = |counts: Vec<(JobState, u64)>| counts.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
        assert_eq!(
            counted(jobs::counts(&database, None).await.unwrap()),
            [(JobState::Queued, 2), (JobState::Running, 1), (JobState::Failed, 1)]
        );
        assert_eq!(
            counted(jobs::counts(&database, Some("a")).await.unwrap()),
            [(JobState::Queued, 2), (JobState::Failed, 1)]
        );
        assert_eq!(jobs::counts(&database, Some("nobody")).await.unwrap().len(), 9);
        assert_eq!(jobs::unfinished(&database).await.unwrap(), 3);
        assert_eq!(jobs::queued(&database).await.unwrap(), 2);
    }

    async fn the_beginning_of_an_id_is_enough_where_it_names_one_job(database: TestDatabase) {
        for number in [0x10, 0x1f, 0x20] {
            insert(&database, new_job(number, "a")).await;
        }
        let whole = id(0x20).to_string().to_uppercase();
        let beginning = &whole[..whole.len() - 1];
        assert!(matches!(jobs::get(&database, beginning).await.unwrap(), Lookup::Found(view) if view.id == id(0x20)));
        assert!(matches!(jobs::get(&database, &whole).await.unwrap(), Lookup::Found(_)));
        let shared = &id(0x10).to_string()[..whole.len() - 1];
        assert_eq!(jobs::get(&database, shared).await.unwrap(), Lookup::Ambiguous(vec![id(0x10), id(0x1f)]));
        for nothing in ["", "0193_", "%", "ffff", "x'; DROP TABLE jobs"] {
            assert_eq!(jobs::get(&database, nothing).await.unwrap(), Lookup::Unknown, "{nothing}");
        }
        assert_eq!(jobs::state_of(&database, id(0x30)).await.unwrap(), None);
    }
}

fn frozen() -> Frozen {
    Frozen {
        outcome: r#"{"state":  "partial"}"#.to_owned(),
        finished_at: after(50),
        archive_sha256: Some("00ff".to_owned()),
        related_job: None,
    }
}

const TAKE_IDS: Sql = Sql::same("take ids", "UPDATE id_counters SET next_id = next_id + 1 WHERE name = 'sessions'");

/// A chunk takes ids and then writes its job's checkpoint, or the other way round. A sign of life that held one job while it
/// waited for the other closed the circle.
#[tokio::test]
async fn a_sign_of_life_never_locks_out_two_chunks_on_postgres() {
    let database = TestDatabase::postgres().await;
    for number in [1, 2] {
        insert(&database, new_job(number, "a")).await;
    }
    let (first, _) = claim(&database, &request(1)).await;
    let (second, _) = claim(&database, &request(1)).await;
    let mut chunk_of_first = database.begin().await.unwrap();
    chunk_of_first.execute(&TAKE_IDS, &[]).await.unwrap();
    let mut chunk_of_second = database.begin().await.unwrap();
    jobs::checkpoint(&mut chunk_of_second, &second, &checkpoint_at(1)).await.unwrap();
    let beating = tokio::spawn({
        let database = Database::clone(&database);
        async move { jobs::beat(&database, owner(1)).await }
    });
    let waiting = Sql::same(
        "look for a lock",
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    while database.fetch_all(&waiting, &[]).await.unwrap()[0].get::<i64>(0).unwrap() == 0 {}
    let first_ends = async {
        jobs::checkpoint(&mut chunk_of_first, &first, &checkpoint_at(1)).await.unwrap();
        chunk_of_first.commit().await.unwrap();
    };
    let second_ends = async {
        chunk_of_second.execute(&TAKE_IDS, &[]).await.unwrap();
        chunk_of_second.commit().await.unwrap();
    };
    tokio::join!(first_ends, second_ends);
    assert_eq!(beating.await.unwrap().unwrap(), [(id(1), first.epoch), (id(2), second.epoch)]);
}
