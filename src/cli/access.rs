//! What stands between this user and a file, as far as it can be seen from outside.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use super::show;

/// The name of a user, or its number where it has none.
pub(super) fn user_name(id: u32) -> String {
    let user = nix::unistd::User::from_uid(id.into()).ok().flatten();
    user.map_or_else(|| format!("#{id}"), |user| user.name)
}

/// Why a SQLite database cannot be opened at this path, and what to do; none where nothing is to be seen.
pub(super) fn obstacle_to_database(file: &Path) -> Option<String> {
    let folder = file.parent()?;
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => Some(format!(
            "`{}` is a folder; let `database.url` name a file, as in `sqlite:{}`",
            show::path(file),
            show::path(&file.join("eventferry.db"))
        )),
        // SQLite keeps its log and the log's index beside the file.
        Ok(_) => [file.to_owned(), beside(file, "-wal"), beside(file, "-shm"), folder.to_owned()]
            .iter()
            .find_map(|path| obstacle_to_writing(path)),
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => obstacle_to_writing(folder),
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!(
            "the folder `{}` is not there; make it, mount what carries it, or correct `database.url`",
            show::path(folder)
        )),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Some(format!("`{}` is not a folder; correct `database.url`", show::path(folder)))
        }
        Err(_) => folder.ancestors().find(|above| above.is_dir()).and_then(obstacle_to_writing),
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn obstacle_to_writing(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let wanted = Access::READ_OK | Access::WRITE_OK;
    let wanted = if metadata.is_dir() { wanted | Access::EXEC_OK } else { wanted };
    let shown = show::path(path);
    match rustix::fs::access(path, wanted) {
        Err(Errno::ACCESS) if metadata.uid() == rustix::process::geteuid().as_raw() => {
            Some(format!("its own user may not read and write `{shown}`; give the right back: `chmod u+rwX {shown}`"))
        }
        Err(Errno::ACCESS) => {
            let owner = user_name(metadata.uid());
            Some(format!(
                "`{shown}` belongs to the user `{owner}`, and this one may not read and write it; run it as that user: \
                 `sudo -u {owner} eventferry …`"
            ))
        }
        Err(Errno::ROFS) => {
            Some(format!("`{shown}` lies on a file system that can only be read; mount it so that it can be written"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn a_path_that_can_be_no_database_is_told_with_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str| obstacle_to_database(&folder.path().join(name));
        assert!(told("").unwrap().contains("is a folder; let `database.url` name a file"));
        assert!(told("missing/x.db").unwrap().contains("missing` is not there; make it"));
        assert_eq!(told("x.db"), None);
        fs::File::create(folder.path().join("x.db")).unwrap();
        assert_eq!(told("x.db"), None);
        assert!(told("x.db/y.db").unwrap().contains("x.db` is not a folder"));
    }
}
