//! Who is told of what: mails and notifications, as rows that commit with what they speak of.

use crate::config::{MailSection, Settings};
use crate::db::{DbError, Tx};
use crate::import::{Import, Services};
use crate::mail::{
    self, ATTACHMENT_BYTES, Addressed, AdminMail, ErrorsCsv, IncompleteUpload, JobMailContext, MailKind, Rendered,
    Templates,
};
use crate::model::job::RestingPlace;
use crate::model::{AdminTrouble, Code, JobId, Report};
use crate::outbox;
use crate::store::mails::{self, NewMail};
use crate::store::notifications::{self, NewNotification};

use super::Worker;

/// Rows that tell of something.
pub(super) struct Told {
    pub(super) mails: Vec<NewMail>,
    pub(super) notifications: Vec<NewNotification>,
}

impl Told {
    /// Writes the rows.
    ///
    /// # Errors
    /// Where the database is out of reach.
    pub(super) async fn keep(&self, tx: &mut Tx) -> Result<(), DbError> {
        for mail in &self.mails {
            mails::queue(tx, mail).await?;
        }
        for notification in &self.notifications {
            notifications::keep(tx, notification).await?;
        }
        Ok(())
    }
}

/// What the end of a job is told with.
pub(super) fn of_job(worker: &Worker, import: &Import, report: &Report, folder: &str) -> Told {
    let settings = &worker.settings;
    let folders = settings.folders();
    let results = folders.outbox.join(folder);
    let errors = results.join(outbox::ERRORS_FILE);
    let (errors_csv, attachment) = match std::fs::metadata(&errors) {
        Ok(_) if report.problem_counts.is_empty() => (ErrorsCsv::Absent, None),
        Ok(file) if file.len() <= ATTACHMENT_BYTES => {
            (ErrorsCsv::Attached, Some(format!("{folder}/{}", outbox::ERRORS_FILE)))
        }
        Ok(file) => (ErrorsCsv::TooLarge(file.len()), None),
        Err(_) => (ErrorsCsv::Absent, None),
    };
    let resting = match report.state.resting_place() {
        RestingPlace::Done => &folders.done,
        RestingPlace::Rejected => &folders.rejected,
    };
    let context = JobMailContext {
        public_name: &settings.mail.public_name,
        display_name: Some(&import.account.display_name),
        result_folder: &results.display().to_string(),
        archive_folder: Some(&resting.join(&report.account).display().to_string()),
        inbox_folder: Some(&settings.inbox_of(&report.account).display().to_string()),
        rejected_zip: results.join(outbox::REJECTED_FILE).exists(),
        errors_csv,
    };
    let Some(kind) = MailKind::of_job(report.state) else {
        return Told { mails: Vec::new(), notifications: Vec::new() };
    };
    let rendered = mail::render_job(&worker.templates, report, &context);
    let subject_key = report.job.to_string();
    let now = worker.services.clock.now();
    let notification = NewNotification {
        id: worker.services.clock.new_id(),
        subject_key: subject_key.clone(),
        kind: kind.as_str(),
        job: Some(report.job),
        account: Some(report.account.clone()),
        title: rendered.subject.clone(),
        body: report.summary.clone(),
        created_at: now,
    };
    let recipient = import.account.email.as_ref().map(ToString::to_string);
    let addressed = Addressed {
        id: worker.services.clock.new_id(),
        subject_key: &subject_key,
        kind,
        job: Some(report.job),
        account: Some(&report.account),
        recipient: recipient.as_deref(),
        switched_on: is_on(&settings.mail, kind),
        domain: domain_of(&settings.mail),
        attachment: attachment.as_deref(),
        now,
    };
    let mut told = Told { mails: vec![mail::for_queue(&addressed, rendered)], notifications: vec![notification] };
    if report.problem_counts.contains_key(&Code::Quarantined) {
        let trouble = AdminTrouble {
            subject_key: format!("quarantine {}", report.job),
            job: Some(report.job),
            title: format!("Put aside: {}", report.archive.name),
            what: format!("A file of account `{}` made the program die again and again.", report.account),
            why: report.summary.clone(),
            what_now: "Look into the log, and report the fault with the file, which lies among the rejected ones."
                .to_owned(),
        };
        let (mail, notification) = admin_rows(settings, &worker.services, &worker.templates, &trouble);
        told.mails.push(mail);
        told.notifications.push(notification);
    }
    told
}

/// Tells the admin of something, once.
///
/// # Errors
/// Where the database is out of reach; the same call may be made again.
pub async fn tell_admin(
    settings: &Settings,
    services: &Services,
    templates: &Templates,
    trouble: &AdminTrouble,
) -> Result<(), DbError> {
    let (mail, notification) = admin_rows(settings, services, templates, trouble);
    let mut tx = services.database.begin().await?;
    mails::queue(&mut tx, &mail).await?;
    notifications::keep(&mut tx, &notification).await?;
    tx.commit().await
}

/// The rows with which the admin is told; kept in the transaction of what they tell of.
pub fn admin_rows(
    settings: &Settings,
    services: &Services,
    templates: &Templates,
    trouble: &AdminTrouble,
) -> (NewMail, NewNotification) {
    let now = services.clock.now();
    let rendered = mail::render_admin(
        templates,
        &AdminMail {
            public_name: &settings.mail.public_name,
            title: &trouble.title,
            what: &trouble.what,
            why: &trouble.why,
            what_now: &trouble.what_now,
            since: now,
        },
    );
    let recipient = settings.mail.admin.as_ref().map(ToString::to_string);
    rows(
        settings,
        services,
        MailKind::Admin,
        &trouble.subject_key,
        trouble.job,
        None,
        recipient.as_deref(),
        rendered,
        &trouble.what,
    )
}

/// A file that does not get whole, told to its owner.
///
/// # Errors
/// Where the database is out of reach; the same call may be made again.
pub async fn tell_incomplete(
    settings: &Settings,
    services: &Services,
    templates: &Templates,
    account: &str,
    subject_key: &str,
    upload: &IncompleteUpload<'_>,
) -> Result<(), DbError> {
    let rendered = mail::render_incomplete_upload(templates, upload);
    let recipient = settings.account(account).and_then(|account| account.email.as_ref()).map(ToString::to_string);
    let body = format!("`{}` is not whole yet.", upload.file);
    let (mail, notification) = rows(
        settings,
        services,
        MailKind::IncompleteUpload,
        subject_key,
        None,
        Some(account),
        recipient.as_deref(),
        rendered,
        &body,
    );
    let mut tx = services.database.begin().await?;
    mails::queue(&mut tx, &mail).await?;
    notifications::keep(&mut tx, &notification).await?;
    tx.commit().await
}

#[expect(clippy::too_many_arguments, reason = "two rows have as many columns")]
pub(super) fn rows(
    settings: &Settings,
    services: &Services,
    kind: MailKind,
    subject_key: &str,
    job: Option<JobId>,
    account: Option<&str>,
    recipient: Option<&str>,
    rendered: Rendered,
    body: &str,
) -> (NewMail, NewNotification) {
    let now = services.clock.now();
    let notification = NewNotification {
        id: services.clock.new_id(),
        subject_key: subject_key.to_owned(),
        kind: kind.as_str(),
        job,
        account: account.map(str::to_owned),
        title: rendered.subject.clone(),
        body: body.to_owned(),
        created_at: now,
    };
    let addressed = Addressed {
        id: services.clock.new_id(),
        subject_key,
        kind,
        job,
        account,
        recipient,
        switched_on: is_on(&settings.mail, kind),
        domain: domain_of(&settings.mail),
        attachment: None,
        now,
    };
    (mail::for_queue(&addressed, rendered), notification)
}

fn is_on(mail: &MailSection, kind: MailKind) -> bool {
    match kind {
        MailKind::Imported => mail.send.imported,
        MailKind::ImportFailed => mail.send.import_failed,
        MailKind::Partial => mail.send.partial,
        MailKind::Exported => mail.send.exported,
        MailKind::ExportUnchanged => mail.send.export_unchanged,
        MailKind::ExportFailed => mail.send.export_failed,
        MailKind::IncompleteUpload => mail.send.incomplete_upload,
        MailKind::Admin => mail.send.admin,
        MailKind::Digest | MailKind::Test => true,
    }
}

fn domain_of(mail: &MailSection) -> &str {
    mail.from.as_ref().map_or("localhost", |from| from.domain())
}
