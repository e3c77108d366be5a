//! Claimed, interrupted, recovered.

use super::*;

/// The promise of a claim: one row, its archive in the work folder, nothing in the inbox.
fn assert_claimed_once(setting: &Setting, zip: &[u8]) {
    let rows = setting.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].account.as_str(), rows[0].archive_name.as_str()), ("fossasia", "event.zip"));
    assert_eq!(setting.source_of(&rows[0]), zip);
    assert_eq!(setting.names("work"), [OsStr::new(&rows[0].job.to_string())]);
    assert!(setting.names("inbox/fossasia").is_empty());
}

#[tokio::test]
async fn a_death_at_any_point_of_a_claim_leaves_one_job() {
    for point in [FailPoint::ClaimBeforeRename, FailPoint::ClaimAfterRename, FailPoint::ClaimAfterRow] {
        let setting = Setting::new().await;
        let zip = small_zip(b"{}");
        setting.drop_file("fossasia/event.zip", &zip);
        setting.signals.inject(point, 1, Injection::Die);
        let running = setting.start().await;
        running.clock.advance(Duration::from_secs(2));
        let injected = Injected { point, injection: Injection::Die };
        assert_eq!(running.task.await.unwrap(), Err(injected), "{point:?}");
        assert_eq!(setting.names("work").len(), 1, "{point:?}");

        let mut running = setting.start().await;
        running.pass(2).await;
        assert_claimed_once(&setting, &zip);
        running.pass(60).await;
        assert_claimed_once(&setting, &zip);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_failing_disk_at_any_point_of_a_claim_pauses_and_the_next_scan_goes_on() {
    for point in [FailPoint::ClaimBeforeRename, FailPoint::ClaimAfterRename, FailPoint::ClaimAfterRow] {
        let setting = Setting::new().await;
        let zip = small_zip(b"{}");
        setting.drop_file("fossasia/event.zip", &zip);
        setting.signals.inject(point, 1, Injection::Fail);
        let mut running = setting.start().await;
        running.pass(2).await;
        assert_eq!(running.pass(1).await.health, Health::Good);
        running.pass(2).await;
        assert_claimed_once(&setting, &zip);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_database_that_is_down_leaves_one_archive_in_the_work_folder_and_claims_no_more() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    for name in ["a.zip", "b.zip", "c.zip"] {
        setting.drop_file(name, &zip);
    }
    let mut running = setting.start().await;
    setting.set_down(true);
    for _ in 0..4 {
        let view = running.pass(2).await;
        assert!(matches!(view.health, Health::Paused(_)));
        assert!(!view.is_idle());
    }
    assert_eq!(setting.names("work").len(), 1);
    setting.set_down(false);
    let view = running.pass(1).await;
    assert_eq!(view.claimed, 3);
    assert_eq!(setting.rows().len(), 3);
    running.stop().await;
}

#[tokio::test]
async fn an_archive_without_its_note_is_imported_for_the_default_account_with_a_sentence() {
    for note in [None, Some(&b"{\"version\": 1, \"job\""[..]), Some(b""), Some(b"{\"version\": 99}")] {
        let setting = Setting::new().await;
        let job = JobId(setting.clock.new_id());
        let folder = setting.work().join(job.to_string());
        fs::create_dir(&folder).unwrap();
        File::create(folder.join("source.zip")).unwrap().write_all(b"PK").unwrap();
        if let Some(note) = note {
            File::create(folder.join("claim.json")).unwrap().write_all(note).unwrap();
        }
        let running = setting.start().await;
        let rows = setting.rows();
        assert_eq!((rows.len(), rows[0].job, rows[0].account.as_str()), (1, job, "default"));
        assert!(rows[0].remark.as_ref().is_some_and(|remark| remark.contains("default account")));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_claim_without_its_archive_is_taken_back_and_other_things_are_left_alone() {
    let setting = Setting::new().await;
    let folders: Vec<PathBuf> =
        (0..3).map(|_| setting.work().join(JobId(setting.clock.new_id()).to_string())).collect();
    let foreign = setting.work().join("notes");
    for folder in folders.iter().chain([&foreign]) {
        fs::create_dir(folder).unwrap();
    }
    File::create(folders[1].join("claim.json")).unwrap().write_all(b"{").unwrap();
    File::create(folders[2].join("scratch")).unwrap();
    let running = setting.start().await;
    assert!(!folders[0].exists() && !folders[1].exists());
    assert!(folders[2].join("scratch").exists() && foreign.exists());
    assert!(setting.rows().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_claim_that_another_process_is_working_on_is_left_alone() {
    let setting = Setting::new().await;
    setting.drop_file("event.zip", &small_zip(b"{}"));
    let path = InboxPath::new(None, "event.zip");
    let now = Moment::now(&setting.clock);
    let identity = crate::fsx::FileIdentity::of_path(&setting.inbox().join("event.zip")).unwrap();
    let candidate = Candidate { path, identity, verdict: Verdict::Whole, seen: now.wall };
    let job = JobId(setting.clock.new_id());
    let held = take(&setting.folders(), &candidate, job, now, &Signals::default()).unwrap();
    let mut known = HashSet::new();
    let adopted = recover(&setting.folders(), &setting.hooks(), &mut known, now).await.unwrap();
    assert!(adopted.is_empty() && setting.rows().is_empty());
    drop(held);
    assert_eq!(recover(&setting.folders(), &setting.hooks(), &mut known, now).await.unwrap(), [job]);
    assert_eq!(setting.rows()[0].archive_name, "event.zip");
}

#[tokio::test]
async fn a_file_that_changed_after_the_look_stays_in_the_inbox() {
    let setting = Setting::new().await;
    let full = setting.inbox().join("event.zip");
    setting.drop_file("event.zip", &small_zip(b"{}"));
    let identity = crate::fsx::FileIdentity::of_path(&full).unwrap();
    setting.append("event.zip", b"more");
    let now = Moment::now(&setting.clock);
    let candidate =
        Candidate { path: InboxPath::new(None, "event.zip"), identity, verdict: Verdict::Whole, seen: now.wall };
    let job = JobId(setting.clock.new_id());
    let error = take(&setting.folders(), &candidate, job, now, &Signals::default()).unwrap_err();
    assert!(matches!(error, ClaimError::Changed), "{error}");
    fs::remove_file(&full).unwrap();
    let error = take(&setting.folders(), &candidate, job, now, &Signals::default()).unwrap_err();
    assert!(matches!(error, ClaimError::Gone), "{error}");
    assert!(setting.names("work").is_empty());
}

#[tokio::test]
async fn a_move_of_which_both_names_are_there_is_finished() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    setting.drop_file("fossasia/event.zip", &zip);
    setting.signals.inject(FailPoint::ClaimAfterRename, 1, Injection::Die);
    let running = setting.start().await;
    running.clock.advance(Duration::from_secs(2));
    assert!(running.task.await.unwrap().is_err());
    // As a crash leaves it on a file system that moves by link and unlink.
    let job = setting.work().join(&setting.names("work")[0]);
    fs::hard_link(job.join("source.zip"), setting.inbox().join("fossasia/event.zip")).unwrap();
    let mut running = setting.start().await;
    running.pass(5).await;
    assert_claimed_once(&setting, &zip);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_a_command_brings_is_copied_and_stays() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    let original = setting.root.path().join("mine.zip");
    File::create(&original).unwrap().write_all(&zip).unwrap();
    let (job, old) = (JobId(setting.clock.new_id()), JobId(setting.clock.new_id()));
    let order = CopyOrder {
        job,
        account: "pycon",
        archive_name: Some("theirs.zip"),
        again: true,
        retry_of: Some(old),
        with_handlers: None,
    };
    let held = copy_in(&setting.work(), &original, &order, Moment::now(&setting.clock)).unwrap();
    let claimed = held.claimed.clone();
    assert_eq!((claimed.account.as_str(), claimed.archive_name.as_str(), claimed.again), ("pycon", "theirs.zip", true));
    assert_eq!(claimed.retry_of, Some(old));
    assert_eq!((setting.source_of(&claimed), fs::read(&original).unwrap()), (zip.clone(), zip));
    held.release();
    let mut known = HashSet::new();
    let now = Moment::now(&setting.clock);
    assert_eq!(recover(&setting.folders(), &setting.hooks(), &mut known, now).await.unwrap(), [job]);
    assert_eq!(setting.rows(), [claimed], "also where the command died before the row");
}

#[tokio::test]
async fn what_is_no_file_is_not_copied_and_nothing_is_left_of_the_try() {
    let setting = Setting::new().await;
    let order = CopyOrder {
        job: JobId(setting.clock.new_id()),
        account: "pycon",
        archive_name: None,
        again: false,
        retry_of: None,
        with_handlers: None,
    };
    let now = Moment::now(&setting.clock);
    assert!(copy_in(&setting.work(), setting.root.path(), &order, now).is_err());
    assert!(copy_in(&setting.work(), Path::new("/dev/null"), &order, now).is_err());
    assert!(copy_in(&setting.work(), &setting.root.path().join("missing"), &order, now).is_err());
    assert!(setting.names("work").is_empty());
}

#[tokio::test]
async fn a_half_copy_of_a_dead_command_is_removed() {
    let setting = Setting::new().await;
    let original = setting.root.path().join("mine.zip");
    File::create(&original).unwrap().write_all(b"PK").unwrap();
    let job = JobId(setting.clock.new_id());
    let order =
        CopyOrder { job, account: "pycon", archive_name: None, again: false, retry_of: None, with_handlers: None };
    drop(copy_in(&setting.work(), &original, &order, Moment::now(&setting.clock)).unwrap());
    let folder = setting.work().join(job.to_string());
    fs::remove_file(folder.join("source.zip")).unwrap();
    File::create(folder.join(".eventferry-tmp-1-1")).unwrap().write_all(b"P").unwrap();
    let running = setting.start().await;
    assert!(setting.names("work").is_empty() && original.exists() && setting.rows().is_empty());
    running.stop().await;
}
