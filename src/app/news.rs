//! What the inbox tells people of files that are no jobs.

use std::collections::BTreeSet;
use std::path::Path;

use super::App;
use crate::db::DbError;
use crate::format::record::digest_of;
use crate::inbox::{InboxNews, Refusal};
use crate::mail::IncompleteUpload;
use crate::model::AdminTrouble;
use crate::model::words::capital;
use crate::storage::hex;
use crate::work;

/// So many that are refused at once have a mail each; one about more names as many of them, as a user of the inbox may leave any
/// number.
const NAMED: usize = 3;

impl App {
    pub(super) async fn tell(&self, news: InboxNews) -> Result<(), DbError> {
        match news {
            InboxNews::Incomplete(told) => {
                let account = self.settings.account(&told.account);
                let path = self.settings.inbox_of(&told.account).join(&told.name).display().to_string();
                let upload = IncompleteUpload {
                    public_name: &self.settings.mail.public_name,
                    display_name: account.map(|account| account.display_name.as_str()),
                    file: &told.name,
                    path: &path,
                    bytes: told.bytes,
                    reason: Some(&told.reason),
                    since: told.first_seen,
                    rejected_at: told.rejected_at,
                };
                let (settings, services) = (&self.settings, &self.services);
                work::tell_incomplete(settings, services, &self.templates, &told.account, &told.subject_key, &upload)
                    .await?;
                if account.is_some_and(|account| account.email.is_some()) {
                    tracing::info!(path, account = told.account, "an upload is incomplete; its owner is told");
                } else {
                    tracing::info!(path, account = told.account, "an upload is incomplete; its account has no `email`");
                }
                Ok(())
            }
            InboxNews::Refused(refusals) => {
                for trouble in troubles_of(&self.settings.folders().inbox, &refusals) {
                    work::tell_admin(&self.settings, &self.services, &self.templates, &trouble).await?;
                }
                for refusal in &refusals {
                    self.note_refusal(refusal);
                }
                Ok(())
            }
        }
    }

    fn note_refusal(&self, refusal: &Refusal) {
        let path = path_of(&self.settings.folders().inbox, refusal);
        let (code, (why, _)) = (refusal.code.as_str(), parts(refusal));
        if self.settings.mail.admin.is_some() {
            tracing::info!(path, code, why, "a file stays in the inbox; the admin is told");
        } else {
            tracing::info!(path, code, why, "a file stays in the inbox; `mail.admin` is not set, so nobody is told");
        }
    }
}

/// A trouble for each that is refused; one of all of them where they are many.
fn troubles_of(inbox: &Path, refusals: &[Refusal]) -> Vec<AdminTrouble> {
    if refusals.len() > NAMED {
        return vec![trouble_of_many(inbox, refusals)];
    }
    refusals.iter().map(|refusal| trouble_of_one(inbox, refusal)).collect()
}

fn trouble_of_one(inbox: &Path, refusal: &Refusal) -> AdminTrouble {
    let path = path_of(inbox, refusal);
    let (why, advice) = parts(refusal);
    AdminTrouble {
        subject_key: refusal.subject_key.clone(),
        job: None,
        title: format!("Not taken: {}", refusal.path),
        what: format!("`{path}` lies in the inbox and is not taken."),
        why: why.to_owned(),
        what_now: format!("{}. `{path}` stays as it is until then; this is told only once.", capital(advice)),
    }
}

fn trouble_of_many(inbox: &Path, refusals: &[Refusal]) -> AdminTrouble {
    let count = refusals.len();
    let named: Vec<String> =
        refusals.iter().take(NAMED).map(|refusal| format!("`{}`", path_of(inbox, refusal))).collect();
    let reasons: BTreeSet<&str> = refusals.iter().map(|refusal| parts(refusal).0).collect();
    let reasons: Vec<&str> = reasons.into_iter().take(NAMED).collect();
    AdminTrouble {
        subject_key: key_of(refusals),
        job: None,
        title: format!("Not taken: {count} files or folders"),
        what: format!(
            "{count} files or folders lie in the inbox and are not taken: {} and {} more.",
            named.join(", "),
            count - named.len()
        ),
        why: reasons.join("; "),
        what_now:
            "`eventferry status` says of each what to do. They stay as they are until then; this is told only once."
                .to_owned(),
    }
}

fn path_of(inbox: &Path, refusal: &Refusal) -> String {
    inbox.join(&refusal.path).display().to_string()
}

fn parts(refusal: &Refusal) -> (&str, &str) {
    refusal.reason.split_once("; ").unwrap_or((&refusal.reason, "look at it"))
}

/// The same for the same refusals.
fn key_of(refusals: &[Refusal]) -> String {
    let mut keys: Vec<&str> = refusals.iter().map(|refusal| refusal.subject_key.as_str()).collect();
    keys.sort_unstable();
    format!("refused:{}", hex(&digest_of(&keys.join("\n"))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;
    use crate::inbox::RefusalCode;

    fn refusal(path: &str) -> Refusal {
        Refusal {
            subject_key: format!("key of {path}"),
            path: path.to_owned(),
            code: RefusalCode::NotARegularFile,
            reason: "it is a link; remove it".to_owned(),
        }
    }

    #[test]
    fn a_few_refusals_are_told_in_full() {
        let few: Vec<Refusal> = ["a", "b", "c"].map(refusal).to_vec();
        let troubles = troubles_of(Path::new("/inbox"), &few);
        let keys: Vec<&str> = troubles.iter().map(|trouble| trouble.subject_key.as_str()).collect();
        assert_eq!(keys, ["key of a", "key of b", "key of c"]);
        assert_eq!(troubles[0].what, "`/inbox/a` lies in the inbox and is not taken.");
        assert_eq!(troubles[0].why, "it is a link");
        assert!(troubles[0].what_now.starts_with("Remove it. `/inbox/a` stays"), "{}", troubles[0].what_now);
        assert_eq!(troubles_of(Path::new("/inbox"), &[]), []);
    }

    #[test]
    fn many_refusals_are_one_mail_which_is_the_same_after_a_crash() {
        let many: Vec<Refusal> = (0..300).map(|number| refusal(&number.to_string())).collect();
        let told = |refusals: &[Refusal]| {
            let [trouble] = <[AdminTrouble; 1]>::try_from(troubles_of(Path::new("/inbox"), refusals)).unwrap();
            trouble
        };
        let trouble = told(&many);
        assert_eq!(trouble.title, "Not taken: 300 files or folders");
        assert!(
            trouble.what.ends_with("not taken: `/inbox/0`, `/inbox/1`, `/inbox/2` and 297 more."),
            "{}",
            trouble.what
        );
        assert_eq!(trouble.why, "it is a link");
        let backwards: Vec<Refusal> = many.iter().rev().cloned().collect();
        assert_eq!(told(&backwards).subject_key, trouble.subject_key);
        assert_ne!(told(&many[1..]).subject_key, trouble.subject_key);
    }
}
