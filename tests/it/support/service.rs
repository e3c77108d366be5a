//! The real daemon as systemd starts it, and what it tells systemd.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::binary::eventferry;

/// A root, and the socket on which systemd would listen.
pub(crate) struct Service {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Service {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/inbox")).unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { folder, socket }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The folder in which the root lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// The command, told where systemd listens.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = eventferry(&self.root(), args);
        command.env("NOTIFY_SOCKET", self.socket_path());
        command
    }

    /// Waits until the daemon says a line, and gives every line up to it.
    pub(crate) fn said(&self, wanted: &str) -> Vec<String> {
        self.said_like(wanted, |line| line == wanted)
    }

    /// As [`Service::said`], for a line that is as wanted; `wanted` is for people.
    pub(crate) fn said_like(&self, wanted: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        while !said.iter().any(|line| is_wanted(line)) {
            let mut buffer = [0; 4096];
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted} ({error}): {said:?}"));
            said.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
        said
    }

    pub(crate) fn assert_silent(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let received =
            self.socket.recv(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        assert_eq!(received.as_ref().map_err(std::io::Error::kind), Err(ErrorKind::WouldBlock), "{received:?}");
        self.socket.set_nonblocking(false).unwrap();
    }
}
