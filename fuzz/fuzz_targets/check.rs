//! Bytes as an archive: the whole check, as an import does it before anything is written.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

#[path = "../bodies.rs"]
#[allow(dead_code)]
mod bodies;

/// The check keeps its books in files without names in a folder; several fuzzers must not share one.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("eventferry-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room for a folder");
    folder
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::check(bytes, &SCRATCH));
