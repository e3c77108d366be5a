//! Seen, settled, incomplete.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn a_whole_archive_becomes_one_job_once_it_has_settled() {
    let setting = Setting::new().await;
    let mut running = setting.start().await;
    let zip = small_zip(b"{}");
    setting.drop_file("fossasia/summit.zip", &zip);
    assert_eq!(running.pass(1).await.settling, 1);
    assert_eq!(running.pass(1).await.settling, 1);
    assert!(setting.rows().is_empty());
    let view = running.pass(1).await;
    assert!(view.is_idle());
    assert_eq!(view.claimed, 1);

    let rows = setting.rows();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.account.as_str(), row.archive_name.as_str()), ("fossasia", "summit.zip"));
    assert_eq!((row.bytes, row.again, row.verdict), (zip.len() as u64, false, Verdict::Whole));
    assert_eq!(setting.source_of(row), zip);
    assert!(setting.names("inbox/fossasia").is_empty());
    running.pass(60).await;
    assert_eq!(setting.rows().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_was_there_before_the_start_settles_too() {
    let setting = Setting::new().await;
    setting.drop_file("old.zip", &small_zip(b"{}"));
    File::options()
        .write(true)
        .open(setting.inbox().join("old.zip"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let mut running = setting.start().await;
    assert!(setting.rows().is_empty(), "never by its age");
    running.pass(2).await;
    assert_eq!(setting.rows()[0].account, "default");
    running.stop().await;
}

#[tokio::test]
async fn a_half_upload_waits_through_pauses_and_becomes_a_job_at_its_end() {
    let setting = Setting::new().await;
    let mut running = setting.start().await;
    let zip = small_zip(&[b'x'; 1000]);
    setting.drop_file("slow.zip", &zip[..200]);
    for piece in [200..400, 400..700, 700..zip.len()] {
        running.pass(1).await;
        let view = running.pass(60).await;
        assert_eq!((view.incomplete, view.settling, view.is_idle()), (1, 0, true), "waits, and is no work");
        assert!(setting.rows().is_empty());
        setting.append("slow.zip", &zip[piece]);
    }
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(setting.rows().len(), 1);
    assert_eq!(setting.source_of(&setting.rows()[0]), zip);
    assert!(setting.news().is_empty());
    assert!(arrivals::list(&setting.database).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_archive_cut_at_any_byte_waits() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{\"id\": 1}");
    for end in 0..zip.len() {
        setting.drop_file(format!("{end}.zip"), &zip[..end]);
    }
    let mut running = setting.start().await;
    let view = running.pass(2).await;
    assert_eq!(view.incomplete, zip.len());
    running.pass(600).await;
    assert!(setting.rows().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn the_owner_of_an_incomplete_file_is_told_once_over_a_restart_and_growth_and_it_is_rejected_in_the_end() {
    let setting = Setting::new().await;
    let zip = small_zip(&[b'x'; 500]);
    setting.drop_file("pycon/half.zip", &zip[..100]);
    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(897).await;
    assert!(setting.news().is_empty());
    running.pass(1).await;
    let [InboxNews::Incomplete(told)] = &setting.news()[..] else { panic!("{:?}", setting.news()) };
    assert_eq!((told.account.as_str(), told.name.as_str(), told.bytes), ("pycon", "half.zip", 100));
    let rows = arrivals::list(&setting.database).await.unwrap();
    assert_eq!((rows[0].path.as_str(), rows[0].state), ("pycon/half.zip", ArrivalState::Incomplete));
    assert!(rows[0].told_at.is_some());
    running.stop().await;

    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(1000).await;
    setting.append("pycon/half.zip", &zip[100..200]);
    running.pass(1).await;
    running.pass(2).await;
    running.pass(2000).await;
    assert_eq!(setting.news().len(), 1);
    running.pass(84_000).await;
    assert!(setting.rows().is_empty(), "a day has passed since the start, but not since it has grown");
    running.pass(2_400).await;
    let rows = setting.rows();
    assert_eq!((rows.len(), rows[0].verdict, rows[0].bytes), (1, Verdict::Incomplete, 200));
    assert_eq!(setting.news().len(), 1);
    assert!(arrivals::list(&setting.database).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn daemons_that_look_at_one_inbox_tell_of_a_file_under_one_key_and_of_the_next_under_another() {
    let mut setting = Setting::new().await;
    let zip = small_zip(&[b'x'; 500]);
    setting.drop_file("pycon/half.zip", &zip[..100]);
    setting.drop_file("hard.zip", &zip);
    fs::hard_link(setting.inbox().join("hard.zip"), setting.root.path().join("other")).unwrap();
    let mut keys = Vec::new();
    for daemon in 0..3 {
        // One that knows nothing of what the other has seen.
        setting.database = database_in(setting.root.path(), &format!("{daemon}.db")).await;
        if daemon == 2 {
            setting.append("pycon/half.zip", &zip[100..200]);
        }
        let told_before = setting.news().len();
        let mut running = setting.start().await;
        running.pass(7).await;
        running.pass(900).await;
        running.stop().await;
        keys.push(setting.news()[told_before..].iter().flat_map(subject_keys).collect::<BTreeSet<_>>());
    }
    assert_eq!(keys[0].len(), 2, "{keys:?}");
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].intersection(&keys[2]).count(), 1, "only the one that has not changed: {keys:?}");
}

fn subject_keys(news: &InboxNews) -> Vec<String> {
    match news {
        InboxNews::Incomplete(told) => vec![told.subject_key.clone()],
        InboxNews::Refused(refusals) => refusals.iter().map(|refusal| refusal.subject_key.clone()).collect(),
    }
}

#[tokio::test]
async fn an_incomplete_file_that_is_whole_in_the_end_becomes_a_job() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    setting.drop_file("cut.zip", &zip[..30]);
    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(40_000).await;
    setting.append("cut.zip", &zip[30..]);
    running.pass(1).await;
    running.pass(2).await;
    let rows = setting.rows();
    assert_eq!((rows.len(), rows[0].verdict), (1, Verdict::Whole));
    running.stop().await;
}

#[tokio::test]
async fn an_empty_file_waits_like_an_incomplete_one_and_is_rejected_as_empty() {
    let setting = Setting::new().await;
    setting.drop_file("empty.zip", b"");
    let mut running = setting.start().await;
    running.pass(2).await;
    running.pass(898).await;
    assert!(matches!(&setting.news()[..], [InboxNews::Incomplete(told)] if told.reason.contains("empty")));
    running.pass(85_500).await;
    assert_eq!(setting.rows()[0].verdict, Verdict::Empty);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_does_not_begin_like_a_zip_becomes_a_job_that_can_fail() {
    let setting = Setting::new().await;
    setting.drop_file("letter.zip", b"Dear organisers, the programme follows.");
    let mut running = setting.start().await;
    running.pass(2).await;
    assert_eq!(setting.rows()[0].verdict, Verdict::NotZip);
    running.stop().await;
}

#[tokio::test]
async fn temporary_names_are_never_jobs_and_the_final_name_is_one() {
    let setting = Setting::new().await;
    let zip = small_zip(b"{}");
    for name in ["a.zip.filepart", ".b.zip", "c.part", "d.tmp", "~$e.zip", "Thumbs.db", "f.1a2b3c4d.partial"] {
        setting.drop_file(name, &zip);
    }
    let mut running = setting.start().await;
    assert!(running.pass(60).await.is_idle());
    assert!(setting.rows().is_empty());
    crate::fsx::rename_no_replace(&setting.inbox().join("a.zip.filepart"), &setting.inbox().join("a.zip")).unwrap();
    running.pass(1).await;
    running.pass(2).await;
    assert_eq!(setting.rows().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_forgotten() {
    let setting = Setting::new().await;
    setting.drop_file("half.zip", b"PK\x03\x04");
    let mut running = setting.start().await;
    assert_eq!(running.pass(2).await.incomplete, 1);
    assert_eq!(arrivals::list(&setting.database).await.unwrap().len(), 1);
    fs::remove_file(setting.inbox().join("half.zip")).unwrap();
    assert_eq!(running.pass(1).await.incomplete, 0);
    assert!(arrivals::list(&setting.database).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_shown_but_never_claimed() {
    let setting = Setting::new().await;
    setting.drop_file("log.zip", b"P");
    let mut running = setting.start().await;
    for _ in 0..5 {
        setting.append("log.zip", b"K");
        assert!(!running.pass(1).await.is_idle());
    }
    let rows = arrivals::list(&setting.database).await.unwrap();
    assert_eq!((rows.len(), rows[0].state), (1, ArrivalState::Arriving));
    assert!(setting.rows().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_missing_inbox_pauses_and_is_not_an_empty_one() {
    let setting = Setting::new().await;
    setting.drop_file("half.zip", b"PK\x03\x04");
    let mut running = setting.start().await;
    running.pass(2).await;
    let aside = setting.root.path().join("aside");
    crate::fsx::rename_no_replace(&setting.inbox(), &aside).unwrap();
    let view = running.pass(1).await;
    assert!(matches!(&view.health, Health::Paused(reason) if reason.contains("is missing")), "{view:?}");
    assert_eq!((view.incomplete, view.is_idle()), (1, false), "nothing is forgotten");
    crate::fsx::rename_no_replace(&aside, &setting.inbox()).unwrap();
    setting.drop_file("new.zip", &small_zip(b"{}"));
    assert_eq!(running.pass(1).await.health, Health::Good);
    running.pass(2).await;
    assert_eq!(setting.rows().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn news_that_could_not_be_kept_is_told_again() {
    let setting = Setting::new().await;
    setting.drop_file("half.zip", b"PK\x03\x04");
    let mut running = setting.start().await;
    running.pass(2).await;
    setting.set_down(true);
    let view = running.pass(900).await;
    assert!(matches!(view.health, Health::Paused(_)));
    assert!(setting.news().is_empty());
    setting.set_down(false);
    assert_eq!(running.pass(1).await.health, Health::Good);
    running.pass(60).await;
    assert_eq!(setting.news().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_page_holds_no_more_names_than_asked_for_and_pages_give_each_file_once_in_order() {
    let setting = Setting::new().await;
    for name in ["b", "a", "c", "fossasia/2", "fossasia/1", "fossasia/3", "pycon/0", "pycon/.x", "d.tmp"] {
        setting.drop_file(name, b"x");
    }
    for limit in 1..9 {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = page(&setting.folders(), after.as_ref(), limit).unwrap();
            assert!(page.sights.len() <= limit);
            keys.extend(page.sights.iter().map(|sight| sight.path.key()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(keys, ["a", "b", "c", "fossasia/1", "fossasia/2", "fossasia/3", "pycon/0"], "limit {limit}");
    }
}
