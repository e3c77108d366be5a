//! What a daemon may leave, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use eventferry::fsx::TEMPORARY_PREFIX;
use eventferry::model::JobState;
use eventferry::storage::hex;
use eventferry::store::jobs::{JobKind, JobView, SourceState};
use eventferry::work;
use sha2::{Digest, Sha256};

use super::{TestDaemon, names, walk};

impl TestDaemon {
    /// Waits until nothing is left to do, stops the daemon, and makes sure that it has left nothing but what it should.
    pub(crate) async fn finish(self) {
        self.finish_but_for(&[]).await;
    }

    /// As [`TestDaemon::finish`], with files that stay in the inbox.
    pub(crate) async fn finish_but_for(mut self, staying: &[&str]) {
        if self.life.is_none() {
            self.start().await;
        }
        self.idle_but_for(staying).await;
        self.sweep().await;
        self.stop().await;
        let mut wrong = Vec::new();
        self.look_at_jobs(&mut wrong).await;
        self.look_at_folders(&mut wrong, staying).await;
        self.look_at_mails(&mut wrong).await;
        assert!(wrong.is_empty(), "left over or missing:\n{}", wrong.join("\n"));
        self.database.close().await;
        self.is_finished = true;
    }

    /// Does what the daemon does now and then.
    pub(crate) async fn sweep(&self) {
        let app = self.life().app.clone();
        self.in_life(async move { work::sweep(&app.settings, &app.services).await.unwrap() }).await;
    }

    /// Each job has one final row, one set of result files, and its archive in one place.
    async fn look_at_jobs(&self, wrong: &mut Vec<String>) {
        let jobs = self.jobs().await;
        let mut sources = BTreeSet::new();
        let mut folders = BTreeSet::new();
        for job in &jobs {
            let id = job.id;
            if !job.state.is_final() {
                wrong.push(format!("job {id} is {}", job.state));
                continue;
            }
            if job.kind == JobKind::Export.as_str() {
                if (&job.source_state, &job.source_path) != (&SourceState::Moved, &None) {
                    wrong.push(format!("the export {id} has an archive: {:?}", job.source_path));
                }
                continue;
            }
            let place = match job.state {
                JobState::Failed | JobState::Cancelled => "rejected",
                _ => "done",
            };
            match (&job.source_state, &job.source_path) {
                (SourceState::Moved, Some(path)) => {
                    let is_right =
                        path.starts_with(&format!("{place}/{}/", job.account)) && path.contains(&id.to_string());
                    if !is_right {
                        wrong.push(format!("the archive of the {} job {id} lies at `{path}`", job.state));
                    }
                    sources.insert(path.clone());
                }
                other => wrong.push(format!("the archive of job {id} is {other:?}")),
            }
            let Some(folder) = &job.result_folder else {
                wrong.push(format!("job {id} has no results"));
                continue;
            };
            folders.insert(format!("outbox/{folder}"));
            self.look_at_results(wrong, job, &format!("outbox/{folder}"));
        }
        let kept: BTreeSet<String> = [self.files("done"), self.files("rejected")].concat().into_iter().collect();
        if kept != sources {
            wrong.push(format!("done and rejected hold {kept:#?} and not {sources:#?}"));
        }
        for file in self.files("outbox") {
            if file == "outbox/.eventferry-reserve" {
                continue;
            }
            if file.split('/').nth(2) == Some("exports") {
                self.look_at_export(wrong, &file);
                continue;
            }
            let is_latest = file.split('/').nth(2) == Some("latest");
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            if !is_latest && !folders.contains(folder) {
                wrong.push(format!("`{file}` belongs to no job"));
            }
        }
        let claims = self.count("jobs WHERE owner IS NOT NULL OR source_turn OR blocked_on IS NOT NULL").await;
        if claims > 0 {
            wrong.push(format!("{claims} jobs have ended and still hold something"));
        }
    }

    /// A file of an export stands in the list of its run with its hash, or is a link to a run.
    fn look_at_export(&self, wrong: &mut Vec<String>, file: &str) {
        let parts: Vec<&str> = file.splitn(6, '/').collect();
        let &[_, account, _, event, run, ref name @ ..] = parts.as_slice() else {
            return wrong.push(format!("`{file}` belongs to no export"));
        };
        let runs = self.root().join("outbox").join(account).join("exports").join(event);
        if run.starts_with("latest") {
            if !runs.join(run).join("export.json").is_file() {
                wrong.push(format!("`{file}` leads to no run"));
            }
            return;
        }
        let sums = fs::read_to_string(runs.join(run).join("SHA256SUMS")).unwrap_or_default();
        let is_listed = match name {
            ["SHA256SUMS" | "export.json"] => true,
            [name] => {
                let hash = hex(&Sha256::digest(fs::read(runs.join(run).join(name)).unwrap()));
                sums.lines().any(|line| line == format!("{hash}  {name}"))
            }
            _ => false,
        };
        if !is_listed {
            wrong.push(format!("`{file}` is in no list of its run with the bytes that it has"));
        }
    }

    fn look_at_results(&self, wrong: &mut Vec<String>, job: &JobView, folder: &str) {
        let files: Vec<String> =
            self.files(folder).iter().map(|file| file.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        let without_rejected: Vec<&String> = files.iter().filter(|name| *name != "rejected.zip").collect();
        if without_rejected != ["errors.csv", "report.txt", "result.json"] {
            wrong.push(format!("the results of job {} are {files:?}", job.id));
        }
        if files.len() > without_rejected.len() && job.state != JobState::Partial {
            wrong.push(format!("the {} job {} has a rejected.zip", job.state, job.id));
        }
    }

    /// Nothing lies in the work folder, no temporary anywhere, and the media store is what the table says.
    async fn look_at_folders(&self, wrong: &mut Vec<String>, staying: &[&str]) {
        for file in self.files("work") {
            wrong.push(format!("`{file}` is left over"));
        }
        for name in names(&self.root().join("work")) {
            wrong.push(format!("the folder `work/{name}` is left over"));
        }
        walk(&self.root(), &mut |path| {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())) {
                wrong.push(format!("the temporary `{}` is left over", path.display()));
            }
        });
        let stays: BTreeSet<String> = staying.iter().map(|name| (*name).to_owned()).collect();
        let inbox = self.in_inbox();
        if inbox != stays {
            wrong.push(format!("the inbox holds {inbox:?} and not {stays:?}"));
        }
        let arrivals = self.count("arrivals").await;
        if arrivals > i64::try_from(stays.len()).unwrap() {
            wrong.push(format!("{arrivals} arrivals are remembered, {} files are there", stays.len()));
        }
        let hashes: Vec<String> = self.column("SELECT DISTINCT sha256 FROM media WHERE state = 'stored'").await;
        let expected: BTreeSet<String> = hashes.iter().map(|hash| format!("media/{}/{hash}", &hash[..2])).collect();
        let stored: BTreeSet<String> = self.files("media").into_iter().collect();
        if stored != expected {
            wrong.push(format!("the media store holds {stored:#?}, the table names {expected:#?}"));
        }
        let pending = self.count("media WHERE state NOT IN ('stored', 'missing', 'remote')").await;
        if pending > 0 {
            wrong.push(format!("{pending} media rows are undecided"));
        }
    }

    /// Each job has one row of mail and one notification; each mail that was sent is one file.
    async fn look_at_mails(&self, wrong: &mut Vec<String>) {
        for job in self.jobs().await {
            let about = |table: &str| format!("{table} WHERE job_id = '{}' AND kind <> 'admin'", job.id);
            let (mails, told) = (self.count(&about("mails")).await, self.count(&about("notifications")).await);
            if (mails, told) != (1, 1) {
                wrong.push(format!("job {} has {mails} mails and {told} notifications", job.id));
            }
        }
        let undelivered = self.count("deliveries WHERE state = 'pending'").await;
        if undelivered > 0 {
            wrong.push(format!("{undelivered} messages to handlers are undelivered"));
        }
        let waiting = self.count("mails WHERE state NOT IN ('sent', 'no_address', 'off', 'digest')").await;
        if waiting > 0 {
            wrong.push(format!("{waiting} mails were not sent"));
        }
        let mut sent: Vec<String> = self.column("SELECT message_id FROM mails WHERE state = 'sent'").await;
        let mut written: Vec<String> = self.files("mail").iter().map(|file| self.message_id(file)).collect();
        sent.sort();
        written.sort();
        if sent != written {
            wrong.push(format!("the mails {written:#?} were written, {sent:#?} sent"));
        }
    }

    fn message_id(&self, file: &str) -> String {
        let text = String::from_utf8_lossy(&fs::read(self.root().join(file)).unwrap()).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Message-ID: ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("`{file}` has no Message-ID"))
    }
}
