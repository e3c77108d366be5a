//! Whether the inbox is still the one that was there at the start, or the empty folder under an unmounted file system.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the file system that carries the inbox is mounted.
#[derive(Clone, Debug, Default)]
pub(super) struct Mount {
    root: Option<PathBuf>,
}

impl Mount {
    /// Looks at the inbox: `Err` says why it is not to be trusted and what to do.
    pub(super) fn check(&mut self, inbox: &Path) -> Result<(), String> {
        let shown = inbox.display();
        if !inbox.is_dir() {
            return Err(format!(
                "the inbox `{shown}` is missing; create it, or mount the file system on which it lies"
            ));
        }
        let root = mount_root(inbox).map_err(|error| format!("the inbox `{shown}` cannot be looked at: {error}"))?;
        self.judge(root).map_err(|missing| {
            format!(
                "the file system at `{}` is not mounted, so what lies in `{shown}` now is not the inbox; mount it, or \
                 restart eventferry if this is the inbox from now on",
                missing.display()
            )
        })
    }

    /// A mount point nearer to `/` than before means that the file system below was taken away; the same one or a deeper
    /// one is a file system that carries the inbox, whatever its device number is now.
    fn judge(&mut self, root: PathBuf) -> Result<(), PathBuf> {
        match &self.root {
            Some(known) if known.starts_with(&root) && *known != root => Err(known.clone()),
            _ => {
                self.root = Some(root);
                Ok(())
            }
        }
    }
}

/// The highest folder above `folder` on the same file system.
fn mount_root(folder: &Path) -> io::Result<PathBuf> {
    let mut root = folder.canonicalize()?;
    let device = root.metadata()?.dev();
    while let Some(parent) = root.parent() {
        if parent.metadata()?.dev() != device {
            break;
        }
        root = parent.to_owned();
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn an_unmounted_file_system_pauses_and_any_device_mounted_there_again_resumes() {
        let mut mount = Mount::default();
        assert_eq!(mount.judge(PathBuf::from("/srv/ferry")), Ok(()));
        assert_eq!(mount.judge(PathBuf::from("/srv/ferry")), Ok(()));
        assert_eq!(mount.judge(PathBuf::from("/")), Err(PathBuf::from("/srv/ferry")));
        assert_eq!(mount.judge(PathBuf::from("/srv")), Err(PathBuf::from("/srv/ferry")));
        assert_eq!(mount.judge(PathBuf::from("/srv/ferry")), Ok(()));
    }

    #[test]
    fn a_file_system_mounted_after_the_start_is_the_inbox_from_then_on() {
        let mut mount = Mount::default();
        assert_eq!(mount.judge(PathBuf::from("/")), Ok(()));
        assert_eq!(mount.judge(PathBuf::from("/srv/ferry")), Ok(()));
        assert_eq!(mount.judge(PathBuf::from("/")), Err(PathBuf::from("/srv/ferry")));
    }

    #[test]
    fn a_missing_inbox_is_no_empty_inbox() {
        let root = tempfile::tempdir().unwrap();
        let inbox = root.path().join("inbox");
        let mut mount = Mount::default();
        assert!(mount.check(&inbox).unwrap_err().contains("is missing"));
        std::fs::create_dir(&inbox).unwrap();
        assert_eq!(mount.check(&inbox), Ok(()));
    }
}
