//! Programs as handlers: what they are given, what their end means, and that nothing of them is left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{about, deliveries, told, tracks};
use crate::support::daemon::{TestDaemon, with_each_database};

/// A program of these lines of shell, in a folder where it may leave notes.
struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Self { folder };
        let text = format!("#!/bin/sh\ncd {} || exit 9\n{lines}\n", script.path().display());
        // Written aside and renamed: a file that is open for writing cannot be started.
        let aside = script.path().join("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, script.program()).unwrap();
        script
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn program(&self) -> std::path::PathBuf {
        self.path().join("told")
    }

    /// A `[[handlers]]` block for it, with more keys.
    /// The time that it may take is one that never passes by itself.
    fn handler(&self, more: &str) -> String {
        self.handler_in("24h", more)
    }

    fn handler_in(&self, time: &str, more: &str) -> String {
        format!(
            "{{name = \"tickets\", kind = \"program\", path = \"{}\", datasets = [\"tracks\"], time = \"{time}\" {more}}}",
            self.program().display()
        )
    }

    fn note(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}

async fn last_error(daemon: &TestDaemon) -> String {
    let errors: Vec<Option<String>> = daemon.column("SELECT last_error FROM deliveries ORDER BY id").await;
    errors[0].clone().unwrap_or_default()
}

/// Lets time pass until the first message has failed so often.
async fn failed(daemon: &TestDaemon, attempts: u32) -> String {
    while daemon.count(&format!("deliveries WHERE attempts >= {attempts}")).await == 0 {
        daemon.clock.advance(Duration::from_secs(1));
        daemon.look().await;
    }
    last_error(daemon).await
}

/// Whether a process lives, other than as one that nobody has waited for.
fn lives(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with(['Z', 'X']))
}

with_each_database! {
    async fn a_program_gets_one_line_of_json_and_only_the_environment_that_it_may_see(setup: Setup) {
        let script = Script::new("cat >> said\nenv | sort > environment\nprintf '%s\\n' \"$*\" > arguments");
        let more = ", arguments = [\"--from\", \"two words\"], environment = [\"PATH\"], concurrency = 1";
        let daemon = told(setup, &script.handler(more)).start().await;
        daemon.import("berlin", "rails.zip", tracks(3).zip()).await;
        let said = script.note("said");
        let messages: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: BTreeSet<String> = messages.iter().map(about).collect();
        assert_eq!(told, BTreeSet::from(["1", "2", "3"].map(|id| format!("created tracks {id}"))));
        let environment = script.note("environment");
        let names: BTreeSet<&str> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        // What the shell sets by itself is none of ours.
        let ours: BTreeSet<&str> = names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
        assert_eq!(ours, BTreeSet::from(["EVENTFERRY_HANDLER", "EVENTFERRY_MESSAGE", "PATH"]));
        assert!(environment.contains("EVENTFERRY_HANDLER=tickets"));
        assert_eq!(script.note("arguments"), "--from two words\n");
        assert_eq!(deliveries(&daemon, "delivered").await, 3);
        daemon.finish().await;
    }

    async fn its_exit_status_says_done_later_or_failed(setup: Setup) {
        let script = Script::new(
            "echo x >> runs\ncase $(wc -l < runs) in\n1) echo 'no room for it' >&2; exit 75;;\n2) echo no >&2; exit 3;;\n\
             3) kill -TERM $$;;\nesac",
        );
        let daemon = told(setup, &script.handler(", later_after = \"2m\"")).start().await;
        let begun = daemon.clock.now();
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        let error = failed(&daemon, 1).await;
        assert!(daemon.clock.now() - begun >= chrono::TimeDelta::minutes(2));
        assert_eq!(error, "it ended with status 3; it said: no");
        assert_eq!(failed(&daemon, 2).await, "it was killed by signal 15");
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        assert_eq!(script.note("runs").lines().count(), 4);
        daemon.finish().await;
    }

    async fn one_that_hangs_is_killed_with_everything_that_it_has_started(setup: Setup) {
        // One child in its group, and one that has left it.
        let script = Script::new(
            "[ -e hung ] && exit 0\necho $$ > program\n(sleep 1000 & echo $! > child)\n\
             setsid sh -c 'echo $$ > stray; sleep 1000' &\nwhile [ ! -s stray ]; do :; done\ntouch hung\nsleep 1000",
        );
        let daemon = told(setup, &script.handler_in("30s", "")).start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        while !script.path().join("hung").exists() {
            tokio::task::yield_now().await;
        }
        let family = ["program", "child", "stray"].map(|name| script.note(name));
        assert!(family.iter().all(|process| lives(process)), "{family:?}");
        assert_eq!(failed(&daemon, 1).await, "it did not end within 30 s and was killed");
        for process in &family {
            while lives(process) {
                tokio::task::yield_now().await;
            }
        }
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        daemon.finish().await;
    }

    async fn one_that_is_at_work_is_not_killed_by_a_reload(setup: Setup) {
        let script = Script::new("echo x >> runs\nwhile [ ! -e go ]; do sleep 0.02; done");
        let mut daemon = told(setup, &script.handler("")).start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        while script.note("runs").is_empty() {
            tokio::task::yield_now().await;
        }
        daemon.reload(&[]);
        for _ in 0..30 {
            daemon.clock.advance(Duration::from_secs(1));
            daemon.look().await;
        }
        fs::write(script.path().join("go"), "").unwrap();
        daemon.idle().await;
        assert_eq!((script.note("runs").lines().count(), deliveries(&daemon, "delivered").await), (1, 1));
        daemon.finish().await;
    }

    async fn children_that_outlive_a_program_are_killed_when_it_ends(setup: Setup) {
        let script = Script::new("sleep 1000 &\necho $! > child\nsetsid sh -c 'echo $$ > stray; sleep 1000' &\nwhile [ ! -s stray ]; do :; done");
        let daemon = told(setup, &script.handler("")).start().await;
        daemon.import("berlin", "rails.zip", tracks(1).zip()).await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        for name in ["child", "stray"] {
            while lives(&script.note(name)) {
                tokio::task::yield_now().await;
            }
        }
        daemon.finish().await;
    }

    async fn one_that_prints_a_gigabyte_or_takes_too_much_memory_is_stopped(setup: Setup) {
        let script = Script::new(
            "echo x >> runs\ncase $(wc -l < runs) in\n1) echo loud; head -c 1000000000 /dev/zero; echo $? > printed;;\n\
             2) python3 -c 'x = bytearray(300_000_000)'; exit $?;;\nesac",
        );
        let daemon = told(setup, &script.handler(", output = \"64KiB\", memory = \"100MiB\"")).start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        let error = failed(&daemon, 1).await;
        assert!(error.starts_with("it printed more than 65536 bytes and was killed"), "{error}");
        assert_eq!(script.note("printed"), "", "it did not come to its end");
        let error = failed(&daemon, 2).await;
        assert!(error.starts_with("it ended with status 1; it said: ") && error.contains("MemoryError"), "{error}");
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        daemon.finish().await;
    }

    async fn one_that_is_missing_or_no_program_is_said_and_the_message_waits(setup: Setup) {
        let script = Script::new("exit 0");
        let daemon = told(setup, &script.handler("")).start().await;
        let program = script.program();
        fs::rename(&program, script.path().join("elsewhere")).unwrap();
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        let error = failed(&daemon, 1).await;
        assert!(error.contains("cannot be started: No such file or directory"), "{error}");
        fs::create_dir(&program).unwrap();
        let mut attempts = 1;
        while !failed(&daemon, attempts).await.ends_with("is not a file") {
            attempts += 1;
        }
        fs::remove_dir(&program).unwrap();
        fs::rename(script.path().join("elsewhere"), &program).unwrap();
        daemon.idle().await;
        assert_eq!(deliveries(&daemon, "delivered").await, 1);
        daemon.finish().await;
    }

    async fn it_runs_as_the_user_it_is_meant_for_where_the_daemon_may_choose(setup: Setup) {
        let script = Script::new("id -un; [ $(id -un) = nobody ]");
        fs::set_permissions(script.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = told(setup, &script.handler(", user = \"nobody\"")).start().await;
        daemon.drop_file("berlin", "rails.zip", tracks(1).zip());
        if rustix::process::geteuid().is_root() {
            daemon.idle().await;
            assert_eq!(deliveries(&daemon, "delivered").await, 1);
            assert_eq!(daemon.count("deliveries WHERE attempts > 0").await, 0);
        } else {
            let error = failed(&daemon, 1).await;
            assert!(error.contains("only a daemon that runs as root can do so"), "{error}");
            daemon.idle().await;
        }
        daemon.finish().await;
    }
}
